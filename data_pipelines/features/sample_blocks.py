"""Collects decoded samples block by block, within the memory that is available.

A small compressed file may hold hours of silence in many channels. Without a limit the system
would kill the process, and with it the work on all other files.
"""

import re
from pathlib import Path

import numpy as np

from data_pipelines.features.rejection import Rejection

MAX_BYTES = 3 << 30  # of decoded samples of one file: two hours of stereo at 48 kHz
FIRST_CHECKED_BYTES = 1 << 26  # smaller files are decoded without a look at the memory
# How often the samples are in memory at once: blocks, joined, one channel, resampled.
MEMORY_FACTOR = 3


class SampleBlocks:
    """Blocks of samples of one file, each float32 of shape (time, channels)."""

    def __init__(self):
        self.frames = 0
        self._blocks: list[np.ndarray] = []
        self._bytes = 0
        self._next_check = FIRST_CHECKED_BYTES

    def add(self, block: np.ndarray, rate: int) -> None:
        """Adds a block; raises a Rejection if all samples take too much memory."""
        self.check_room(len(block), block.shape[1], rate)
        if self._blocks and block.shape[1] != self._blocks[0].shape[1]:
            raise Rejection('unreadable: the number of its channels changes')
        self._blocks.append(block)
        self.frames += len(block)
        self._bytes += block.nbytes

    def check_room(self, frames: int, channels: int, rate: int) -> None:
        """Raises a Rejection if so many further frames would take too much memory."""
        total = self._bytes + 4 * frames * channels
        if total < self._next_check:
            return
        limit = min(MAX_BYTES, self._bytes + available_bytes() // MEMORY_FACTOR)
        if total > limit:
            raise Rejection(
                f'too long for the memory, or its header is wrong: {channels} channel(s) of '
                f'{(self.frames + frames) / rate / 60:.0f} minutes or more'
            )
        self._next_check = min(max(2 * self._next_check, total), MAX_BYTES)

    def join(self) -> np.ndarray:
        """Returns all samples, float32 of shape (time, channels), and forgets the blocks."""
        blocks, self._blocks = self._blocks, []
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def available_bytes() -> int:
    """Returns how many bytes of memory this process may still use, as far as the system says."""
    limits = [MAX_BYTES * MEMORY_FACTOR]
    match = re.search(r'^MemAvailable:\s+(\d+) kB', _read('/proc/meminfo'), re.MULTILINE)
    if match:
        limits.append(1024 * int(match[1]))
    limits.append(_address_space_left())
    group = Path('/sys/fs/cgroup')
    for limit, usage in (
        ('memory.max', 'memory.current'),
        ('memory/memory.limit_in_bytes', 'memory/memory.usage_in_bytes'),
    ):
        texts = _read(group / limit).strip(), _read(group / usage).strip()
        if texts[0].isdigit() and texts[1].isdigit():
            statistics = _read((group / limit).parent / 'memory.stat')
            # The cache of files counts as used, but is given up when memory is needed.
            cached = re.search(r'^(?:total_)?inactive_file (\d+)', statistics, re.MULTILINE)
            limits.append(int(texts[0]) - int(texts[1]) + (int(cached[1]) if cached else 0))
    return max(min(limits), 0)


def _address_space_left() -> int:
    """Returns how many bytes the limit of the shell (ulimit -v) still allows."""
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    except (ImportError, OSError):  # not on Windows
        return MAX_BYTES * MEMORY_FACTOR
    used = re.search(r'^VmSize:\s+(\d+) kB', _read('/proc/self/status'), re.MULTILINE)
    if limit == resource.RLIM_INFINITY or not used:
        return MAX_BYTES * MEMORY_FACTOR
    return limit - 1024 * int(used[1])


def _read(path: str | Path) -> str:
    """Returns the text of a file of the system, or '' where there is none."""
    try:
        return Path(path).read_text()
    except OSError:
        return ''
