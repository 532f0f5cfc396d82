"""Checkpoints by Orbax: the states, the selected parameters, and the record of the selection.

A checkpoint contains the SHA-256 of its arrays and its record, and is compared with it when it is
restored: a flipped bit would otherwise be other parameters, without any error. Checkpoints of
earlier versions have no SHA-256.
"""

import contextlib
import functools
import hashlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from data_pipelines.errors import UserError
from jaxser import distributed
from jaxser.training.parallel import Layout

DAMAGED_FOLDER = 'damaged'  # next to the folder of the checkpoints


class Restored(NamedTuple):
    """A checkpoint: after how many epochs it was saved, its arrays, and its record."""

    epoch: int
    arrays: dict
    record: dict


class DamagedCheckpoint(Exception):
    """A checkpoint that cannot be read, or is not as it was saved; the message says why."""


class Checkpoints:
    """The last two checkpoints in a folder; a checkpoint is complete or absent."""

    def __init__(self, folder):
        import orbax.checkpoint as ocp  # takes half a second, which a UserError need not wait for

        self.args = ocp.args
        self.folder = folder
        # Synchronous: the state is donated to the next chunk. On CPU a save in the background would
        # read it while it is overwritten.
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
        self.manager = ocp.CheckpointManager(folder, options=options)

    def save(self, epoch: int, arrays: dict, record: dict, layout: Layout) -> None:
        """Saves a checkpoint after `epoch` epochs; each process saves its devices' arrays."""
        lead = [layout.D, layout.R]
        host = {
            'lead': lead,
            'parts': sorted(arrays),
            'record': record,
            'record_sha256': hash_json([lead, record]),
            'sha256': gather_digests(digest_rows(arrays), layout.D),
        }
        content = self.args.Composite(
            arrays=self.args.StandardSave(arrays), host=self.args.JsonSave(host)
        )
        with _without_further_errors():
            self.manager.save(epoch, args=content)

    def restore(self, template: dict, layout: Layout) -> Restored | None:
        """Returns the newest checkpoint that is not damaged; None if there are no checkpoints.

        `template` has arrays, or their shapes, for every name that may have been saved; a
        checkpoint has those that were. The arrays are put on the devices of `layout`, which may be
        other devices than at the save. Damaged checkpoints are named, and stay where they are: see
        `set_aside`. UserError if all are damaged.
        """
        for epoch in sorted(self.manager.all_steps(), reverse=True):
            try:
                return self._restore_epoch(epoch, template, layout)
            except DamagedCheckpoint as error:
                distributed.log(
                    f'The checkpoint {self.folder / str(epoch)} is damaged ({error}). It is not '
                    'used; the disk or a copy is the likely cause.'
                )
        if self.newest_epoch() is not None:
            raise UserError(
                f'All checkpoints in {self.folder} are damaged. Copy the folder from a backup; or '
                f'remove {self.folder.parent}: the same command as before trains these runs again.'
            )
        return None

    def newest_epoch(self) -> int | None:
        """Returns the number of the newest checkpoint, damaged or not; None without one."""
        return self.manager.latest_step()

    def set_aside(self, epoch: int) -> None:
        """Moves the checkpoints after `epoch` to the folder `damaged`, so that training can save.

        Without this, those that training saves again would be older than the damaged ones.
        """
        target = self.folder.parent / DAMAGED_FOLDER
        newer = [step for step in self.manager.all_steps() if step > epoch]
        distributed.wait_for_all('damaged checkpoints')
        if distributed.is_main_process():
            for step in newer:
                if (target / str(step)).exists():
                    (target / str(step)).rmtree()
                target.mkdir(parents=True, exist_ok=True)
                (self.folder / str(step)).rename(target / str(step))
        distributed.wait_for_all('damaged checkpoints are moved')
        self.manager.reload()

    def _restore_epoch(self, epoch: int, template: dict, layout: Layout) -> Restored:
        with _damage_as_error():
            json_only = self.args.Composite(host=self.args.JsonRestore())
            host = self.manager.restore(epoch, args=json_only)['host']
            D, R = host['lead']  # of the layout at the save
            record = host['record']
            if host.get('record_sha256') not in (None, hash_json([[D, R], record])):
                raise DamagedCheckpoint('its record is not as it was saved')
            # Checkpoints of earlier versions have all parts.
            template = {part: template[part] for part in host.get('parts', template)}

            def empty(x_DxR):
                return np.empty((D, R, *x_DxR.shape[2:]), x_DxR.dtype)

            arrays_only = self.args.Composite(
                arrays=self.args.StandardRestore(jax.tree.map(empty, template))
            )
            arrays = self.manager.restore(epoch, args=arrays_only)['arrays']
            if 'sha256' in host:
                _check_digests(arrays, host['sha256'])

        def regroup(x_DxR):
            x_N = x_DxR.reshape(-1, *x_DxR.shape[2:])[: layout.count]
            return layout.group_by_device(x_N)

        arrays = layout.put_runs_on_devices(jax.tree.map(regroup, arrays))
        return Restored(epoch, arrays, record)

    def close(self) -> None:
        """Ends the threads of the manager."""
        self.manager.close()


@contextlib.contextmanager
def _damage_as_error() -> Iterator[None]:
    """Turns what Orbax and TensorStore raise for damaged files into DamagedCheckpoint."""
    try:
        with _without_further_errors():
            yield
    except (DamagedCheckpoint, MemoryError, PermissionError):
        raise
    except Exception as error:  # damage can raise anything: of JSON, Zarr, compression, trees
        reason = ' '.join(str(error).split())[:200]
        raise DamagedCheckpoint(f'{type(error).__name__}: {reason}') from error


@contextlib.contextmanager
def _without_further_errors() -> Iterator[None]:
    """Context in which a failing checkpoint raises its first error and logs no others.

    On a full disk, or with a damaged file, the other tasks and threads of Orbax and TensorStore
    fail, too. They log stack traces, some of them after the first error has been raised. After an
    error, the context therefore stays in effect until a later one ends without an error.
    """
    previous_hook = sys.unraisablehook
    if getattr(previous_hook, 'func', None) is _ignore_closed_loop:  # from a failed checkpoint
        (previous_hook,) = previous_hook.args
    sys.unraisablehook = functools.partial(_ignore_closed_loop, previous_hook)
    for name, is_shown in LOG_FILTERS.items():
        logging.getLogger(name).addFilter(is_shown)
    yield
    sys.unraisablehook = previous_hook
    for name, is_shown in LOG_FILTERS.items():
        logging.getLogger(name).removeFilter(is_shown)


def _ignore_closed_loop(hook: Callable, unraisable) -> None:
    """Calls `hook`, except for what a task does after its event loop was closed."""
    if str(unraisable.exc_value) != 'Event loop is closed':
        hook(unraisable)


def _is_no_thread_error(record: logging.LogRecord) -> bool:
    return 'SignalingThread' not in record.getMessage()


def _is_critical(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.CRITICAL


LOG_FILTERS = {'absl': _is_no_thread_error, 'asyncio': _is_critical}


def hash_json(value) -> str:
    """Returns the SHA-256 of a value as JSON has it."""
    value = json.loads(json.dumps(value))  # as it is read: tuples are lists, and keys are texts
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def digest_rows(arrays) -> dict[int, bytes]:
    """Returns the SHA-256 of each device's rows, by the index on the axis D.

    Those of other processes are left out.
    """
    hashes: dict[int, hashlib._Hash] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(arrays):
        for d, row in _rows_of(leaf):
            row = np.ascontiguousarray(row)
            head = f'{jax.tree_util.keystr(path)} {row.dtype} {row.shape}'
            digest = hashes.setdefault(d, hashlib.sha256())
            digest.update(head.encode())
            digest.update(row.reshape(-1).view(np.uint8))
    return {d: digest.digest() for d, digest in hashes.items()}


def _rows_of(leaf):
    """Yields (d, array_R...) of a NumPy array, or of this process's part of a JAX array."""
    if not isinstance(leaf, jax.Array) or jax.process_count() == 1:
        yield from enumerate(np.asarray(leaf))
        return
    for shard in leaf.addressable_shards:
        if shard.replica_id == 0:
            yield from enumerate(np.asarray(shard.data), start=shard.index[0].start or 0)


def gather_digests(digests: dict[int, bytes], D: int) -> list[str]:
    """Returns the digests of all D devices, of which each process has its own."""
    digest_Dx32 = np.zeros((D, 32), np.uint8)
    for d, digest in digests.items():
        digest_Dx32[d] = np.frombuffer(digest, np.uint8)
    if jax.process_count() > 1:
        digest_Dx32 = multihost_utils.process_allgather(digest_Dx32).max(0)
    return [row.tobytes().hex() for row in digest_Dx32]


def _check_digests(arrays, expected: list[str]) -> None:
    digests = digest_rows(arrays)
    if [digests[d].hex() for d in sorted(digests)] != expected:
        raise DamagedCheckpoint('the SHA-256 of its arrays is not the one that was saved with them')
