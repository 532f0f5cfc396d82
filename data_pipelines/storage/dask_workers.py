"""Workers of a Dask cluster, on many machines, that decode utterances and compute their features.

The machines must see the source under the path that it has here. Only this process writes.
"""

import collections
import contextlib
import dataclasses
import importlib.metadata
import logging
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import distributed
import threadpoolctl

from data_pipelines.corpora import Utterance
from data_pipelines.errors import UserError
from data_pipelines.features.rejection import MISSING_FILE, Rejection
from data_pipelines.features.upstream import FeatureSpec
from data_pipelines.storage import schema
from data_pipelines.storage.workers import (
    CHUNKS_AHEAD,
    process_one_by_one,
    process_utterances,
    split_chunks,
)

CONNECT_SECONDS = 20
NOTICE_SECONDS = 60  # from one message that there are no workers to the next

# A feature's last bit may depend on their versions.
FEATURE_PACKAGES = ('librosa', 'numpy', 'scipy', 'soundfile', 'soxr')

# A worker process computes one chunk at a time: the limit of threads holds for the process.
_chunk_lock = threading.Lock()


class ChunkResult(NamedTuple):
    """The results of a chunk of utterances."""

    host: str  # of the worker
    results: list[dict | Rejection]


@contextlib.contextmanager
def run_dask_workers(
    utterances: list[Utterance], spec: FeatureSpec, scheduler: str
) -> Iterator[Iterator[tuple[Utterance, dict | Rejection]]]:
    """Context of an iterator over (utterance, `spec.process_utterance(utterance)`), in order.

    `scheduler` is the address of a Dask scheduler, or its scheduler file. Workers may join and
    leave meanwhile. Utterances that ended several workers are computed on this machine, as by
    `workers.run_workers`. UserError if there is no scheduler, or if the workers' packages differ.
    """
    client = connect(scheduler)
    log = logging.getLogger('distributed.client')
    level = log.level
    log.setLevel(logging.CRITICAL)  # it logs stack traces of errors that are raised here
    try:
        wait_for_cluster(client, scheduler)
        yield _DaskQueue(client, scheduler, utterances, spec).results()
    finally:
        client.close()
        log.setLevel(level)


def connect(scheduler: str) -> distributed.Client:
    """Returns a client of the scheduler; UserError if it does not answer."""
    is_file = Path(scheduler).is_file()
    if not is_file and not re.search(r':\d+$', scheduler):
        raise UserError(
            f'--dask is {scheduler}: there is no such file, and it is no address with a port. '
            'Expected the address of a Dask scheduler, such as tcp://HOST:8786, or its scheduler '
            'file.'
        )
    location = {'scheduler_file': scheduler} if is_file else {'address': scheduler}
    try:
        return distributed.Client(**location, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(
            f'No Dask scheduler answers at {scheduler} ({error}). Expected the address of one that '
            'runs, such as tcp://HOST:8786, or its scheduler file. Start it with: dask scheduler'
        ) from None


def wait_for_cluster(client: distributed.Client, scheduler: str) -> None:
    """Waits for the first worker, checks the packages of all, and prints their number."""
    while not client.nthreads():
        print(_no_workers(scheduler), flush=True)
        with contextlib.suppress(TimeoutError):
            client.wait_for_workers(1, timeout=NOTICE_SECONDS)
    try:
        client.run(check_versions, feature_versions())
    except Exception as error:
        # A worker that cannot load the function answers with the text of its error.
        if isinstance(error, ModuleNotFoundError) or 'ModuleNotFoundError' in str(error):
            raise _make_module_error(scheduler, error) from error
        raise
    threads = client.nthreads()
    print(f'{len(threads)} Dask worker(s) at {scheduler}', flush=True)
    if max(threads.values(), default=1) > 1:
        print(
            'Each worker process computes one utterance at a time, though some have more threads. '
            'To use all cores, start workers with --nworkers auto --nthreads 1.',
            flush=True,
        )


def _no_workers(scheduler: str) -> str:
    argument = f'--scheduler-file {scheduler}' if Path(scheduler).is_file() else scheduler
    return (
        f'The Dask scheduler at {scheduler} has no workers: waiting for them. Start them with: '
        f'dask worker {argument} --nworkers auto --nthreads 1. A worker that ends at its first '
        'utterances may lack jaxser: see its output.'
    )


class _DaskQueue:
    """Chunks of utterances at a Dask cluster, a few ahead of the results for each thread."""

    def __init__(
        self,
        client: distributed.Client,
        scheduler: str,
        utterances: list[Utterance],
        spec: FeatureSpec,
    ):
        self.client = client
        self.scheduler = scheduler
        self.spec = spec
        self.versions = feature_versions()
        self.chunks = split_chunks(utterances)
        self.pending: collections.deque = collections.deque()  # (chunk, future), oldest first

    def fill(self) -> None:
        """Submits chunks up to CHUNKS_AHEAD for each thread that the cluster has now."""
        threads = sum(self.client.nthreads().values())
        while len(self.pending) < CHUNKS_AHEAD * max(1, threads):
            chunk = next(self.chunks, None)
            if chunk is None:
                return
            located = [dataclasses.replace(u, path=u.path.absolute()) for u in chunk]
            future = self.client.submit(
                compute_chunk, located, self.spec, self.versions, pure=False
            )
            self.pending.append((chunk, future))

    def results(self) -> Iterator[tuple[Utterance, dict | Rejection]]:
        """Yields each utterance with its result."""
        self.fill()
        while self.pending:
            chunk, future = self.pending.popleft()
            results = self.chunk_results(chunk, future)
            del future  # so that the cluster forgets the result
            self.fill()
            yield from zip(chunk, results)

    def chunk_results(
        self, chunk: list[Utterance], future: distributed.Future
    ) -> list[dict | Rejection]:
        """Returns the results of a chunk, computed here if it ended several workers."""
        try:
            with _cluster_errors(self.scheduler):
                chunk_result = self.wait(future)
        except distributed.scheduler.KilledWorker:
            return process_one_by_one(chunk, self.spec)
        check_same_files(chunk, chunk_result)
        return chunk_result.results

    def wait(self, future: distributed.Future) -> ChunkResult:
        """Returns the future's result; prints if there are no workers meanwhile."""
        while True:
            try:
                return future.result(timeout=NOTICE_SECONDS)
            except TimeoutError:
                if not self.client.nthreads():
                    print(_no_workers(self.scheduler), flush=True)


def compute_chunk(
    utterances: list[Utterance], spec: FeatureSpec, versions: dict[str, str]
) -> ChunkResult:
    """Returns the results of the utterances; runs in a Dask worker.

    UserError if this worker's packages are not `versions`.
    """
    import numpy  # noqa: F401 (the limit applies to libraries that are loaded)

    check_versions(versions)
    with _chunk_lock, threadpoolctl.threadpool_limits(1):
        return ChunkResult(socket.gethostname(), process_utterances(utterances, spec))


def feature_versions() -> dict[str, str]:
    """Returns the versions of FEATURE_PACKAGES and of the data set's format."""
    versions = {name: importlib.metadata.version(name) for name in FEATURE_PACKAGES}
    return versions | {"jaxser's data format": schema.DATASET_VERSION}


def check_versions(versions: dict[str, str]) -> None:
    """Raises UserError if this process's packages have other versions than the main process's."""
    own = feature_versions()
    differences = []
    for name, version in versions.items():
        if own[name] != version:
            differences.append(f'{name} {own[name]} instead of {version}')
    if differences:
        raise UserError(
            f'The Dask worker on {socket.gethostname()} has {", ".join(differences)}. Install the '
            'same versions on all machines: otherwise the features would differ.'
        )


def check_same_files(chunk: list[Utterance], chunk_result: ChunkResult) -> None:
    """Raises UserError if a worker did not find a file that is here."""
    for utterance, result in zip(chunk, chunk_result.results):
        missing = isinstance(result, Rejection) and str(result) == MISSING_FILE
        if missing and utterance.path.exists():
            raise UserError(
                f'The Dask worker on {chunk_result.host} does not see {utterance.path.absolute()}, '
                'which exists here. All machines must see --source under the same path, on a '
                'shared disk.'
            )


@contextlib.contextmanager
def _cluster_errors(scheduler: str) -> Iterator[None]:
    """Context that turns errors of the cluster into UserErrors."""
    try:
        yield
    except distributed.client.CancelledError as error:
        raise UserError(
            f'The connection to the Dask scheduler at {scheduler} was lost: it has ended, or its '
            'machine cannot be reached. Start the cluster again, and then this command.'
        ) from error
    except ModuleNotFoundError as error:
        raise _make_module_error(scheduler, error) from error
    except RuntimeError as error:
        # The scheduler loads the tasks too.
        if isinstance(error.__cause__, ModuleNotFoundError):
            raise _make_module_error(scheduler, error.__cause__) from error
        raise


def _make_module_error(scheduler: str, error: Exception) -> UserError:
    return UserError(
        f'The Dask scheduler at {scheduler}, or one of its workers, cannot load jaxser ({error}). '
        'Install this jaxser on all machines, in the Python that runs Dask.'
    )
