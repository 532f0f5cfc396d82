"""Checkpoints by Orbax: the states, the selected parameters, and the record of the selection."""

import jax
import numpy as np

from jaxser.training.parallel import Layout


class Checkpoints:
    """The last two checkpoints in a folder; a checkpoint is complete or absent."""

    def __init__(self, folder):
        import orbax.checkpoint as ocp  # takes half a second, which a UserError need not wait for

        self.args = ocp.args
        # Synchronous: the state is donated to the next chunk. On CPU a save in the background would
        # read it while it is overwritten.
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
        self.manager = ocp.CheckpointManager(folder, options=options)

    def save(self, epoch: int, arrays, record: dict, layout: Layout) -> None:
        """Saves a checkpoint after `epoch` epochs; each process saves its devices' arrays."""
        host = {'lead': [layout.D, layout.R], 'record': record}
        content = self.args.Composite(
            arrays=self.args.StandardSave(arrays), host=self.args.JsonSave(host)
        )
        self.manager.save(epoch, args=content)

    def restore(self, template, layout: Layout) -> tuple[int, object, dict] | None:
        """Returns (epoch, arrays, record) of the newest checkpoint, None if there is none.

        `template` is a tree of arrays, or of their shapes, like the one that was saved. The arrays
        are put on the devices of `layout`, which may be other devices than at the save.
        """
        epoch = self.manager.latest_step()
        if epoch is None:
            return None
        json_only = self.args.Composite(host=self.args.JsonRestore())
        host = self.manager.restore(epoch, args=json_only)['host']
        D, R = host['lead']  # of the layout at the save

        def empty(x_DxR):
            return np.empty((D, R, *x_DxR.shape[2:]), x_DxR.dtype)

        def regroup(x_DxR):
            x_N = x_DxR.reshape(-1, *x_DxR.shape[2:])[: layout.count]
            return layout.group_by_device(x_N)

        arrays_only = self.args.Composite(
            arrays=self.args.StandardRestore(jax.tree.map(empty, template))
        )
        arrays = self.manager.restore(epoch, args=arrays_only)['arrays']
        arrays = layout.put_runs_on_devices(jax.tree.map(regroup, arrays))
        return epoch, arrays, host['record']

    def close(self) -> None:
        """Ends the threads of the manager."""
        self.manager.close()
