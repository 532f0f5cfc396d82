"""Checkpoints by Orbax: the state, the selected parameters, and the host's record of where the runs stand."""

import jax
import numpy as np

from jaxser.training.parallel import Layout


class Checkpoints:
    """The last two checkpoints below a folder; a save is whole or absent."""

    def __init__(self, folder):
        import orbax.checkpoint as ocp  # half a second that a refusal need not wait for

        self.args = ocp.args
        # Synchronous: the state is donated to the next chunk, and on CPU a background save would read it while it is overwritten.
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
        self.manager = ocp.CheckpointManager(folder, options=options)

    def save(self, epoch: int, arrays, record: dict, layout: Layout) -> None:
        """Saves after `epoch` epochs, every process what is on its devices."""
        host = {'lead': [layout.D, layout.R], 'record': record}
        parts = self.args.Composite(
            arrays=self.args.StandardSave(arrays), host=self.args.JsonSave(host)
        )
        self.manager.save(epoch, args=parts)

    def restore(self, template, layout: Layout) -> tuple[int, object, dict] | None:
        """(epoch, arrays, record) of the newest checkpoint, None where there is none.

        The arrays come back on the devices of `layout`, which may be others than those that saved them; `template` is their tree.
        """
        epoch = self.manager.latest_step()
        if epoch is None:
            return None
        host = self.manager.restore(epoch, args=self.args.Composite(host=self.args.JsonRestore()))[
            'host'
        ]
        on_host = jax.tree.map(lambda x: np.empty((*host['lead'], *x.shape[2:]), x.dtype), template)
        found = self.manager.restore(
            epoch, args=self.args.Composite(arrays=self.args.StandardRestore(on_host))
        )['arrays']
        by_run = jax.tree.map(
            lambda x: layout.group_by_device(x.reshape(-1, *x.shape[2:])[: layout.count]), found
        )
        return epoch, layout.put_runs_on_devices(by_run), host['record']

    def close(self) -> None:
        """Ends the manager's threads."""
        self.manager.close()
