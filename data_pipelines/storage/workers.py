"""TODO: data_pipelines.storage.workers."""

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
from data_pipelines.features.decode import Rejection
from data_pipelines.features.log_mel import LogMel
from data_pipelines.features.upstream import EncoderInput, EncoderStates

CHUNK_SIZE = 8  # utterances that go to a worker at once: fewer messages, each of which costs 0.3 ms


@contextlib.contextmanager
def run_workers(
    utterances: list[Utterance], spec: LogMel | EncoderStates | EncoderInput, workers: int
) -> Iterator[Iterator[tuple[Utterance, dict | Rejection]]]:
    """Each utterance, in order, with `spec.heard` of it, from worker processes that are some utterances ahead.

    They start at once, so that they import librosa while TensorFlow is imported here, and get `CHUNK` utterances at a time. A
    decoder that takes its process down costs the other utterances nothing: what was under way is done again, and what dies twice,
    alone the second time, is rejected.
    """
    pool, pending = start_pool(workers), collections.deque()
    chunks = (utterances[at : at + CHUNK_SIZE] for at in range(0, len(utterances), CHUNK_SIZE))

    def submit(chunk: list[Utterance]) -> None:
        try:
            future = pool.submit(process_utterances, chunk, spec)
        except (
            BrokenProcessPool
        ) as e:  # since the last result: let it be found where results are taken
            future = concurrent.futures.Future()
            future.set_exception(e)
        pending.append((chunk, future))

    def results() -> Iterator[tuple[Utterance, dict | Rejection]]:
        nonlocal pool
        while pending:
            chunk, future = pending.popleft()
            try:
                done = future.result()
            except BrokenProcessPool:
                done = process_one_by_one(chunk, spec)
                again = [c for c, _ in pending]
                pending.clear()
                pool.shutdown()
                pool = start_pool(workers)
                for c in again:
                    submit(c)
            for c in itertools.islice(chunks, 1):
                submit(c)
            yield from zip(chunk, done)

    try:
        for c in itertools.islice(chunks, 4 * workers):
            submit(c)
        yield results()
    finally:
        pool.shutdown(cancel_futures=True)


def process_utterances(
    utterances: list[Utterance], spec: LogMel | EncoderStates | EncoderInput
) -> list[dict | Rejection]:
    """`spec.heard` of some utterances."""
    return [spec.process_utterance(u) for u in utterances]


def process_one_by_one(
    utterances: list[Utterance], spec: LogMel | EncoderStates | EncoderInput
) -> list[dict | Rejection]:
    """`several`, by a process that is replaced whenever an utterance takes it down."""
    done, pool = [], start_pool(1)
    try:
        for u in utterances:
            try:
                done += pool.submit(process_utterances, [u], spec).result()
            except BrokenProcessPool:
                done.append(Rejection('unreadable: its decoder crashed'))
                pool.shutdown()
                pool = start_pool(1)
    finally:
        pool.shutdown(cancel_futures=True)
    return done


def start_pool(workers: int) -> concurrent.futures.ProcessPoolExecutor:
    """Fresh processes: a fork of one that runs TensorFlow's threads may hang."""
    return concurrent.futures.ProcessPoolExecutor(
        workers, multiprocessing.get_context('spawn'), initialize_worker
    )


def initialize_worker() -> None:
    """Makes a worker single-threaded, deaf to Ctrl-C, which its parent answers, and unable to outlive its parent."""
    import numpy  # noqa: F401 (the limit holds for what is loaded)
    import threadpoolctl

    threadpoolctl.threadpool_limits(
        1
    )  # for speed, and because the last bit of a product depends on the number of threads
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def follow():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
