"""Worker processes that decode utterances and compute their features."""

import collections
import concurrent.futures
import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool

from data_pipelines.corpora import Utterance
from data_pipelines.errors import UserError
from data_pipelines.features.decode import Rejection
from data_pipelines.features.upstream import FeatureSpec

# Utterances sent to a worker at once. A message costs 0.3 ms, so one for each would be slow.
CHUNK_SIZE = 8

CHUNKS_AHEAD = 4  # chunks submitted ahead of the results, for each worker

# Not every system has the last two.
CRASH_SIGNALS = {
    signal.SIGSEGV,
    signal.SIGABRT,
    signal.SIGFPE,
    signal.SIGILL,
    getattr(signal, 'SIGBUS', signal.SIGSEGV),
}
KILL_SIGNAL = getattr(signal, 'SIGKILL', 9)


@contextlib.contextmanager
def run_workers(
    utterances: list[Utterance], spec: FeatureSpec, workers: int
) -> Iterator[Iterator[tuple[Utterance, dict | Rejection]]]:
    """Context of an iterator over (utterance, `spec.process_utterance(utterance)`), in order.

    The worker processes start at once, so that they import librosa while TensorFlow is imported
    here, and work some utterances ahead. If a decoder crashes its process, no other utterance is
    lost: unfinished utterances are computed again. An utterance that also ends a process of its own
    is rejected. A UserError if the system refuses to start processes.
    """
    pool = _WorkerPool(utterances, spec, workers)
    try:
        pool.fill()
        yield pool.results()
    finally:
        pool.shutdown()


class _WorkerPool:
    """A process pool that is replaced when one of its processes dies."""

    def __init__(self, utterances: list[Utterance], spec: FeatureSpec, workers: int):
        self.spec = spec
        self.workers = workers
        self.chunks = split_chunks(utterances)
        self.pending: collections.deque = collections.deque()  # (chunk, future), oldest first
        self.executor = start_pool(workers)

    def fill(self) -> None:
        """Submits the first chunks, CHUNKS_AHEAD for each worker."""
        for chunk in itertools.islice(self.chunks, CHUNKS_AHEAD * self.workers):
            self.submit(chunk)

    def submit(self, chunk: list[Utterance]) -> None:
        """Submits a chunk."""
        try:
            with _errors_of_the_system():
                future = self.executor.submit(process_utterances, chunk, self.spec)
        except BrokenProcessPool as error:
            # A worker died since the last result. `results` finds that out from the future.
            future = concurrent.futures.Future()
            future.set_exception(error)
        self.pending.append((chunk, future))

    def results(self) -> Iterator[tuple[Utterance, dict | Rejection]]:
        """Yields each utterance with its result."""
        while self.pending:
            chunk, future = self.pending.popleft()
            try:
                chunk_results = future.result()
            except BrokenProcessPool:
                chunk_results = process_one_by_one(chunk, self.spec)
                self.restart()
            next_chunk = next(self.chunks, None)
            if next_chunk is not None:
                self.submit(next_chunk)
            yield from zip(chunk, chunk_results)

    def restart(self) -> None:
        """Starts new processes, and submits the unfinished chunks again."""
        chunks = [chunk for chunk, _ in self.pending]
        self.pending.clear()
        self.executor.shutdown()
        self.executor = start_pool(self.workers)
        for chunk in chunks:
            self.submit(chunk)

    def shutdown(self) -> None:
        """Ends the processes; chunks that were not begun are dropped."""
        self.executor.shutdown(cancel_futures=True)


def split_chunks(utterances: list[Utterance]) -> Iterator[list[Utterance]]:
    """Yields the utterances in lists of CHUNK_SIZE."""
    for start in range(0, len(utterances), CHUNK_SIZE):
        yield utterances[start : start + CHUNK_SIZE]


def process_utterances(utterances: list[Utterance], spec: FeatureSpec) -> list[dict | Rejection]:
    """Returns `spec.process_utterance` of each utterance."""
    return [spec.process_utterance(utterance) for utterance in utterances]


def process_one_by_one(utterances: list[Utterance], spec: FeatureSpec) -> list[dict | Rejection]:
    """Returns `spec.process_utterance` of each utterance, or why its worker process ended.

    There is one process, which is replaced when an utterance ends it.
    """
    results: list[dict | Rejection] = []
    others = set(multiprocessing.active_children())
    executor = start_pool(1)
    try:
        for utterance in utterances:
            with _errors_of_the_system():
                future = executor.submit(process_utterances, [utterance], spec)
            processes = set(multiprocessing.active_children()) - others
            try:
                results += future.result()
            except BrokenProcessPool:
                executor.shutdown()
                results.append(Rejection(_describe_death(processes)))
                executor = start_pool(1)
    finally:
        executor.shutdown(cancel_futures=True)
    return results


def _describe_death(processes: set[multiprocessing.Process]) -> str:
    """Returns why these worker processes ended, as the reason for a rejection."""
    codes = {process.exitcode for process in processes if process.exitcode is not None}
    signals = {-code for code in codes}
    if KILL_SIGNAL in signals:
        return 'its worker process was killed, probably because the memory was full'
    if signals & CRASH_SIGNALS:
        return 'unreadable: its decoder crashed'
    return f'unreadable: its worker process ended with the status {max(codes, default="?")}'


def start_pool(workers: int) -> concurrent.futures.ProcessPoolExecutor:
    """Starts worker processes. They are spawned: with TensorFlow's threads, a fork may hang."""
    context = multiprocessing.get_context('spawn')
    with _errors_of_the_system():
        return concurrent.futures.ProcessPoolExecutor(workers, context, initialize_worker)


@contextlib.contextmanager
def _errors_of_the_system() -> Iterator[None]:
    """Context that turns the system's refusal to start worker processes into a UserError."""
    try:
        yield
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise UserError(
            f'Worker processes cannot be started ({reason}). They need shared memory that can be '
            'written (/dev/shm; in a container, mount it with --shm-size=1g or --tmpfs /dev/shm), '
            'and room for more processes and open files (ulimit -u, ulimit -n).'
        ) from error


def initialize_worker() -> None:
    """Prepares a worker process.

    It uses one thread, ignores Ctrl-C, which the parent handles, and ends when the parent does.
    """
    import numpy  # noqa: F401 (the limit applies to libraries that are loaded)
    import threadpoolctl

    # One thread is faster, and the last bit of a matrix product depends on the number of threads.
    threadpoolctl.threadpool_limits(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """Waits until the parent process has ended, and ends this one."""
    multiprocessing.parent_process().join()
    os._exit(1)
