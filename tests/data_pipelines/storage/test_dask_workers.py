"""Tests that the workers of a Dask cluster give what worker processes give, to the bit."""

import dataclasses
import filecmp
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.audio import DyingSpec, make_utterance

from data_pipelines.corpora import Utterance
from data_pipelines.errors import UserError
from data_pipelines.features.log_mel import LogMel
from data_pipelines.features.rejection import MISSING_FILE, Rejection
from data_pipelines.storage import preparation, workers

distributed = pytest.importorskip('distributed')

from data_pipelines.storage import dask_workers  # noqa: E402

# Dask gives deprecation warnings.
pytestmark = pytest.mark.filterwarnings('default')

SPEC = LogMel()
NAMES = tuple(f'u{n:02d}' for n in range(20))


@pytest.fixture(scope='module')
def scheduler() -> Iterator[str]:
    """A cluster of one worker with two threads, all in this process."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, protocol='tcp', dashboard_address=None
    ) as cluster:
        yield cluster.scheduler_address


class FakeFuture:
    """A future with the outcome of a function."""

    def __init__(self, function, *arguments):
        self.function = function
        self.arguments = arguments

    def result(self, timeout: float):
        """Returns or raises the outcome."""
        return self.function(*self.arguments)


class FakeClient:
    """A client whose `submit` runs `function` in place of a cluster; it has no workers."""

    def __init__(self, function):
        self.function = function

    def submit(self, _, *arguments, pure: bool) -> FakeFuture:
        """Returns a future of the function's outcome."""
        return FakeFuture(self.function, *arguments)

    def nthreads(self) -> dict:
        """Returns the threads of each worker."""
        return {}


def make_utterances(path: Path) -> list[Utterance]:
    return [dataclasses.replace(make_utterance(path), name=name) for name in NAMES]


def compute_with(function, utterances: list[Utterance], spec) -> list:
    """Returns the results of utterances of which `function` computes the chunks."""
    queue = dask_workers._DaskQueue(FakeClient(function), 'tcp://HOST:8786', utterances, spec)
    return [result for _, result in queue.results()]


def write_files(folder: Path, count: int) -> None:
    """Writes files as of EMO-DB, and an empty one."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for n in range(count):
        samples = random.uniform(-0.5, 0.5, 8_000 + 700 * n)
        name = f'{("03", "08", "11")[n % 3]}a{n // 3 + 1:02d}{"WFN"[n % 3]}a.wav'
        soundfile.write(folder / name, samples, 16_000)
    (folder / '08b10Wb.wav').write_bytes(b'')


def test_results_are_those_of_this_process_in_order(scheduler, tmp_path, monkeypatch, capsys):
    """Of relative paths too, and of a missing file."""
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path / 'wav', 10)
    paths = [*sorted(Path('wav').iterdir()), Path('wav', 'missing.wav')]
    utterances = [dataclasses.replace(make_utterance(path), name=path.stem) for path in paths]
    with dask_workers.run_dask_workers(utterances, SPEC, scheduler) as results:
        pairs = list(results)
    assert [utterance for utterance, _ in pairs] == utterances
    for (_, result), expected in zip(pairs, workers.process_utterances(utterances, SPEC)):
        if isinstance(expected, Rejection):
            assert str(result) == str(expected)
        else:
            assert result.keys() == expected.keys()
            np.testing.assert_array_equal(result['mel_TxM'], expected['mel_TxM'])
    assert str(pairs[-1][1]) == MISSING_FILE
    printed = capsys.readouterr().out
    assert '1 Dask worker(s)' in printed
    assert '--nthreads 1' in printed  # it has two


def test_chunk_that_ended_its_workers_is_computed_here(monkeypatch):
    """As without Dask, so that only the utterance at fault is rejected."""

    def compute(chunk, spec, versions):
        if any(utterance.name == 'u11' for utterance in chunk):
            raise distributed.scheduler.KilledWorker('task', None, 3)
        return dask_workers.ChunkResult('host', [u.name for u in chunk])

    monkeypatch.setattr(
        dask_workers, 'process_one_by_one', lambda chunk, spec: [f'{u.name} here' for u in chunk]
    )
    results = compute_with(compute, make_utterances(Path('a.wav')), DyingSpec('u11', 9))
    assert results[7:9] == ['u07', 'u08 here']
    assert results[15:17] == ['u15 here', 'u16']
    assert len(results) == len(NAMES)


def test_file_that_a_worker_does_not_see_is_a_sentence(tmp_path):
    """It must not be rejected as missing."""
    path = tmp_path / 'a.wav'
    path.write_bytes(b'')

    def compute(chunk, spec, versions):
        return dask_workers.ChunkResult('node7', [Rejection(MISSING_FILE)] * len(chunk))

    with pytest.raises(UserError, match=r'worker on node7 does not see .*a\.wav.*shared disk'):
        compute_with(compute, make_utterances(path), SPEC)
    path.unlink()
    assert {str(r) for r in compute_with(compute, make_utterances(path), SPEC)} == {MISSING_FILE}


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (ModuleNotFoundError('No module named x'), 'cannot load jaxser .No module named x.'),
        (distributed.client.FutureCancelledError('task', 'lost'), 'connection .* was lost'),
    ],
)
def test_error_of_the_cluster_is_a_sentence(error, message):
    def compute(chunk, spec, versions):
        raise error

    with pytest.raises(UserError, match=message):
        compute_with(compute, make_utterances(Path('a.wav')), SPEC)


def test_worker_without_jaxser_is_refused_before_anything_is_computed(scheduler, monkeypatch):
    def refuse(*arguments):
        raise Exception("ModuleNotFoundError('No module named x')")

    monkeypatch.setattr(distributed.Client, 'run', refuse)
    with (
        pytest.raises(UserError, match=r'cannot load jaxser .*named x.* Install this jaxser'),
        dask_workers.run_dask_workers([], SPEC, scheduler),
    ):
        pass


def test_waiting_without_workers_is_said(capsys):
    calls = []

    def compute(chunk, spec, versions):
        calls.append(chunk)
        if len(calls) == 1:
            raise TimeoutError
        return dask_workers.ChunkResult('host', [u.name for u in chunk])

    assert compute_with(compute, make_utterances(Path('a.wav')), SPEC) == list(NAMES)
    printed = capsys.readouterr().out
    assert 'tcp://HOST:8786 has no workers: waiting' in printed
    assert 'dask worker tcp://HOST:8786' in printed


class EmptyClient(FakeClient):
    """A client of a cluster whose first worker joins after two waits."""

    waits = 0

    def wait_for_workers(self, count: int, timeout: float) -> None:
        """Raises TimeoutError while there are no workers."""
        self.waits += 1
        raise TimeoutError

    def nthreads(self) -> dict:
        """Returns the threads of each worker."""
        return {'tcp://worker': 1} if self.waits == 2 else {}

    def run(self, function, *arguments) -> None:
        """Calls the function here."""
        function(*arguments)


def test_a_cluster_without_workers_is_waited_for(capsys):
    """As a scheduler whose workers still wait in a queue; it is said again and again."""
    dask_workers.wait_for_cluster(EmptyClient(None), 'tcp://HOST:8786')
    printed = capsys.readouterr().out
    assert printed.count('has no workers: waiting') == 2
    assert '1 Dask worker(s)' in printed


def test_worker_with_other_versions_is_refused(monkeypatch):
    other = dask_workers.feature_versions() | {'librosa': '0.1'}
    monkeypatch.setattr(dask_workers, 'feature_versions', other.copy)
    with pytest.raises(UserError, match=r'has librosa 0\.1 instead of 0\.2\. Install the same'):
        dask_workers.check_versions(other | {'librosa': '0.2'})


def test_scheduler_that_does_not_answer_is_a_sentence(monkeypatch):
    monkeypatch.setattr(dask_workers, 'CONNECT_SECONDS', 0.2)
    address = 'tcp://127.0.0.1:1'
    with pytest.raises(
        UserError, match=rf'No Dask scheduler answers at {address} .*dask scheduler'
    ):
        dask_workers.connect(address)


@pytest.mark.parametrize('scheduler', ['no_such_file.json', 'tcp://host'])
def test_what_is_neither_a_file_nor_an_address_is_refused_at_once(scheduler):
    with pytest.raises(UserError, match=f'--dask is {scheduler}: there is no such file'):
        dask_workers.connect(scheduler)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'beam': []}, '--dask and --beam both'),
        ({'workers': 2}, '--workers 2 starts processes'),
    ],
)
def test_options_that_contradict_dask_are_refused(options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        preparation.prepare_corpus(
            'emodb', tmp_path, tmp_path / 'data', dask='tcp://HOST:8786', **options
        )


def test_error_names_the_extra_where_dask_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[dask\]'"):
        preparation.prepare_corpus('emodb', tmp_path, tmp_path / 'data', dask='tcp://HOST:8786')


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == 'win32', reason='SIGKILL')
def test_killed_worker_changes_no_bit_of_the_data_set(tmp_path, monkeypatch):
    """Scheduler and workers are processes of their own, with another working folder."""
    from helpers.dask_cluster import start_cluster, worker_processes

    write_files(tmp_path / 'wav', 60)
    monkeypatch.chdir(tmp_path)
    arguments = {'source': 'wav', 'allow_partial': True}
    expected = preparation.prepare_corpus('emodb', out=tmp_path / 'a', workers=1, **arguments)
    killed = []
    check_same_files = dask_workers.check_same_files

    def kill_after_first_chunk(*arguments):
        if not killed:
            killed.append(worker_processes(scheduler_file)[0])
            os.kill(killed[0], signal.SIGKILL)
        check_same_files(*arguments)

    monkeypatch.setattr(dask_workers, 'check_same_files', kill_after_first_chunk)
    (tmp_path / 'cluster').mkdir()
    with start_cluster(tmp_path / 'cluster', workers=2) as scheduler_file:
        data = preparation.prepare_corpus(
            'emodb', out=tmp_path / 'b', dask=scheduler_file, **arguments
        )
    assert killed
    names = sorted(path.name for path in expected.iterdir())
    assert names == sorted(path.name for path in data.iterdir())
    assert filecmp.cmpfiles(expected, data, names, shallow=False) == (names, [], [])
