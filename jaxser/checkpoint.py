"""Checkpoints by Orbax: the state, the selected parameters, and the host's record of where the run stands."""

from pathlib import Path

import jax
import orbax.checkpoint as ocp


class Checkpoints:
    """The last two checkpoints below a folder; a save is whole or absent."""

    def __init__(self, folder: Path):
        # Synchronous: the state is donated to the next chunk, and on CPU a background save would read it while it is overwritten.
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
        self.manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def save(self, epoch: int, arrays, record: dict) -> None:
        """Saves after `epoch` epochs."""
        parts = ocp.args.Composite(arrays=ocp.args.StandardSave(arrays), record=ocp.args.JsonSave(record))
        self.manager.save(epoch, args=parts)

    def restore(self, like) -> tuple[int, object, dict] | None:
        """(epoch, arrays, record) of the newest checkpoint, placed as the arrays `like`; None where there is none."""
        epoch = self.manager.latest_step()
        if epoch is None:
            return None
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        found = self.manager.restore(
            epoch, args=ocp.args.Composite(arrays=ocp.args.StandardRestore(abstract), record=ocp.args.JsonRestore())
        )
        return epoch, found['arrays'], found['record']

    def close(self) -> None:
        """Ends the manager's threads."""
        self.manager.close()
