"""The command line, from a corpus to its results, as a user runs it."""

import csv
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.errors import UserError

HOME = ROOT = Path(__file__).parent.parent  # where commands run; what they import
COMMAND = [sys.executable, '-m', 'jaxser.main']
HASTY = """
from jaxser import main
from jaxser.probing import classifiers
classifiers.MAX_ITERATIONS, classifiers.ADAM_STEPS = 2, 10
main.main()
"""
TINY = '--config=tests/helpers/tiny_config.py'


@pytest.fixture(scope='session', autouse=True)
def quick(tmp_path_factory):
    """The commands share what they compile; like the tests (conftest.py) they compile without optimising."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('JAX_COMPILATION_CACHE_DIR', str(tmp_path_factory.mktemp('xla')))
        patch.setenv('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
        yield


def start(*arguments: object) -> subprocess.Popen:
    """The command, under way, on one device."""
    environment = {**os.environ, 'JAX_NUM_CPU_DEVICES': '1', 'PYTHONPATH': str(ROOT)}
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=HOME,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(*arguments: object) -> tuple[int, str]:
    """The command's exit status and what it said."""
    process = start(*arguments)
    said, _ = process.communicate(timeout=300)
    return process.returncode, said


def finished(*arguments: object) -> str:
    """What a command that must succeed said."""
    status, said = run(*arguments)
    assert status == 0, said
    return said


@pytest.fixture(scope='session')
def packed(data, tmp_path_factory) -> Path:
    """The corpus as an .npz alone: a command that reads it starts without TensorFlow, seconds sooner."""
    from data_pipelines import pack
    from data_pipelines.features.log_mel import LogMel

    (record,) = data.rglob('prepared.json')
    file = tmp_path_factory.mktemp('packed') / 'folder' / LogMel().npz_name
    file.parent.mkdir(parents=True)
    pack.write_npz(record.parent, file)
    return file.parent.parent


@pytest.fixture(scope='session')
def workdir(data, tmp_path_factory) -> Path:
    """A finished sweep that nothing interrupted."""
    path = tmp_path_factory.mktemp('runs') / 'tiny'
    said = finished(TINY, f'--config.data.dir={data}', f'--workdir={path}')
    assert 'UAR' in said
    assert '6 runs in 1 program: 3 folds, 2 lam' in said
    assert 'Forecast for training 6 runs: ' in said
    return path


def test_a_finished_sweep_leaves_what_the_readme_promises(workdir):
    """All files are there, and results.json is consistent with predictions.csv."""
    results = json.loads((workdir / 'results.json').read_text())
    assert {(r['hyper']['lam'], r['hyper']['fold']) for r in results['runs']} == {
        (m, f) for m in (0.0, 0.5) for f in range(3)
    }
    assert {r['status'] for r in results['runs']} == {'ok'}
    assert all(r['epoch'] >= 2 for r in results['runs']), (
        'no epoch before half of the training is selected'
    )
    assert [row['lam'] for row in results['summary']] == [0.0, 0.5]
    with open(workdir / 'predictions.csv') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 48, 'every utterance is tested once per variant'
    for summary in results['summary']:
        of = [r for r in rows if f'lam={summary["lam"]:g} ' in r['run']]
        right = {'angry': [], 'sad': []}
        for r in of:
            right[r['truth']].append(max(right, key=lambda c: float(r[c])) == r['truth'])
        assert summary['uar'] == pytest.approx(
            np.mean([np.mean(x) for x in right.values()]), abs=1e-9
        )
    assert sum(
        math.isclose(float(r['angry']) + float(r['sad']), 1, abs_tol=1e-6) for r in rows
    ) == len(rows)
    lines = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    assert len(lines) == 4 * 6, 'a line per epoch and run'
    assert {line['speaker_count'] for line in lines} == {2.0}, (
        'K is the number of the training speakers of the fold'
    )
    config = json.loads((workdir / 'config.json').read_text())
    assert config['split_sha256'] == results['split_sha256']
    assert config['config']['sweep']['lam'] == [0.0, 0.5]
    for picture in ('confusion.png', 'sweep.png'):
        assert (workdir / picture).read_bytes()[:4] == b'\x89PNG'
    assert results['split_sha256'] in (workdir / 'report.html').read_text()
    assert list((workdir / 'tensorboard').rglob('events*'))
    assert (
        json.loads((workdir / 'model' / 'model.json').read_text())['classes'] == results['classes']
    )


def test_killed_and_started_again_is_as_never_interrupted(packed, workdir, tmp_path):
    """kill -9 in mid-training, then the same command: parameters, runs and predictions are the same to the bit."""
    arguments = (TINY, f'--config.data.dir={packed}', f'--workdir={tmp_path}')
    process = start(*arguments)
    first = tmp_path / 'groups' / '0' / 'checkpoints' / '1'
    while not first.exists() and process.poll() is None:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / 'results.json').exists(), 'the run must have been killed before its end'
    assert 'Resuming after epoch' in finished(*arguments)
    again, once = (json.loads((p / 'results.json').read_text()) for p in (tmp_path, workdir))
    assert again['runs'] == once['runs']
    assert (tmp_path / 'predictions.csv').read_bytes() == (workdir / 'predictions.csv').read_bytes()
    assert (tmp_path / 'metrics.jsonl').read_bytes() == (workdir / 'metrics.jsonl').read_bytes()
    for a, b in zip(arrays(tmp_path), arrays(workdir), strict=True):
        np.testing.assert_array_equal(a, b)


def arrays(path: Path) -> list[np.ndarray]:
    """All arrays of the last checkpoint."""
    import jax
    import orbax.checkpoint as ocp

    checkpoints = path.absolute() / 'groups' / '0' / 'checkpoints'
    last = max(int(p.name) for p in checkpoints.iterdir() if p.name.isdigit())
    assert last == 4
    return jax.tree.leaves(ocp.StandardCheckpointer().restore(checkpoints / str(last) / 'arrays'))


def test_a_finished_sweep_is_shown_again_without_training(data, workdir):
    """The same command on a finished workdir prints the table and trains nothing."""
    before = (workdir / 'metrics.jsonl').stat().st_mtime_ns
    assert 'trained; remove it' in finished(
        TINY, f'--config.data.dir={data}', f'--workdir={workdir}'
    )
    assert (workdir / 'metrics.jsonl').stat().st_mtime_ns == before


@pytest.mark.gate
def test_sigterm_leaves_a_checkpoint_and_a_status_of_its_own(packed, workdir, tmp_path):
    """75, a sentence, and the same command ends with the results of a run that nobody stopped."""
    arguments = (
        TINY,
        f'--config.data.dir={packed}',
        f'--workdir={tmp_path}',
        '--config.train.checkpoint_seconds=1000',
    )
    process = start(*arguments)
    while not (tmp_path / 'choices.json').exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGTERM)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 75, said
    assert 'saved after epoch' in said
    assert 'The same command resumes' in said
    finished(*arguments)
    assert (tmp_path / 'predictions.csv').read_bytes() == (workdir / 'predictions.csv').read_bytes()


def processes(data, workdirs: list[Path], *arguments: str) -> list[tuple[int, str]]:
    """The command as two processes that JAX joins; their exit statuses and words."""
    with socket.socket() as free:
        free.bind(('localhost', 0))
        address = f'localhost:{free.getsockname()[1]}'
    some = []
    for number, path in enumerate(workdirs):
        joined = {
            'JAX_COORDINATOR_ADDRESS': address,
            'JAX_NUM_PROCESSES': '2',
            'JAX_PROCESS_ID': str(number),
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                sys.modules[__name__], 'COMMAND', [sys.executable, '-c', HASTY]
            )  # what is probed need not be found
            for key, value in (joined | {'JAX_PLATFORMS': 'cpu'}).items():
                patch.setenv(key, value)
            some.append(
                start(
                    TINY,
                    f'--config.data.dir={data}',
                    f'--workdir={path}',
                    '--distributed',
                    *arguments,
                )
            )
    said = [p.communicate(timeout=300)[0] for p in some]
    return [(p.returncode, words) for p, words in zip(some, said)]


@pytest.mark.gate
def test_two_processes_are_one(data, workdir, tmp_path):
    """A fold's runs on each, process 0 speaks and writes; streaming reads on each what its runs need; all are probed."""
    arguments = ('--config.data.resident=off', '--config.probe=True', '--config.sweep.fold=0,1')
    (status, said), (other, quiet) = processes(data, [tmp_path, tmp_path], *arguments)
    assert (status, other) == (0, 0), said + quiet
    assert 'UAR' in said
    assert 'UAR' not in quiet
    ours, theirs = (
        list(csv.DictReader((p / 'predictions.csv').read_text().splitlines()))
        for p in (tmp_path, workdir)
    )
    theirs = [r for r in theirs if r['fold'] != '2']
    assert [r['utterance'] for r in ours] == [r['utterance'] for r in theirs]
    np.testing.assert_allclose(
        [float(r['angry']) for r in ours], [float(r['angry']) for r in theirs], atol=1e-6
    )
    probed = [r['probe'] for r in json.loads((tmp_path / 'results.json').read_text())['runs']]
    assert all(p['speaker']['classes'] == 2 for p in probed)
    assert 'leakage' in said


def test_two_processes_without_a_shared_workdir_are_refused(data, tmp_path):
    """Process 1 writes elsewhere: both end with 2, and the processes that do not see the folder are named."""
    (status, said), (other, _) = processes(data, [tmp_path / 'a', tmp_path / 'b'])
    assert (status, other) == (2, 2), said
    assert 'is not shared: process(es) [1] of 2' in said


def test_a_packed_corpus_needs_no_tensorflow(packed, workdir, tmp_path):
    """From the .npz alone, with TensorFlow, TFDS and librosa out of reach: the same predictions to the bit."""
    blocked = tmp_path / 'blocked'
    for name in ('tensorflow', 'tensorflow_datasets', 'librosa'):
        (blocked / name).mkdir(parents=True)
        (blocked / name / '__init__.py').write_text("raise ImportError('not installed here')")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[__name__], 'ROOT', f'{blocked}{os.pathsep}{ROOT}')
        finished(TINY, f'--config.data.dir={packed}', f'--workdir={tmp_path}/runs')
    assert (tmp_path / 'runs' / 'predictions.csv').read_bytes() == (
        workdir / 'predictions.csv'
    ).read_bytes()


def test_other_values_compile_nothing(packed, workdir, tmp_path):
    """A second sweep with other coefficients, rates and seeds adds nothing to the compilation cache."""
    cache = Path(os.environ['JAX_COMPILATION_CACHE_DIR'])
    before = {p.name for p in cache.iterdir() if p.name.endswith('-cache')}
    values = ('--config.sweep.lam=0.1,2', '--config.sweep.seed=5', '--config.sweep.lr=0.02')
    finished(TINY, f'--config.data.dir={packed}', f'--workdir={tmp_path}', *values)
    assert before
    assert {p.name for p in cache.iterdir() if p.name.endswith('-cache')} == before


WITH_DATA = {
    'too few speakers for the folds': ({'protocol.folds': 7}, 'from 3 to 6'),
    'a protocol that the corpus cannot serve': (
        {'protocol.name': 'leave_one_session_out'},
        'have no session',
    ),
    'a fold that is not there': ({'sweep.fold': '5'}, 'folds 0 to 2'),
    'a label space in which nothing has a class': (
        {'data.labels': 'rated_arousal'},
        '48 without a rating',
    ),
    'a domain that does not vary': (
        {'domain': 'corpus'},
        'fold .* contain only one corpus, folder, so that there is nothing to remove',
    ),
}


def refused(status: int, said: str, expected: str) -> None:
    """The command has ended with exit status 2 and a few words, among them `expected`, and no stack trace."""
    assert status == 2, said
    assert expected in said
    assert 'Traceback' not in said
    assert len(said) < 700


@pytest.mark.parametrize('mistake', WITH_DATA)
def test_a_mistake_about_the_data_is_refused(mistake, data, tmp_path):
    """What the corpus cannot serve is refused before any training, and leaves a workdir that the mended command may use."""
    from helpers import tiny_config

    from jaxser.training import experiment

    changes, expected = WITH_DATA[mistake]
    config = tiny_config.get_config()
    config.update_from_flattened_dict({'data.dir': str(data), **changes})
    with pytest.raises(UserError, match=expected):
        experiment.run_experiment(config, tmp_path)
    assert not (tmp_path / 'config.json').exists()


def test_the_workdir_of_another_configuration_is_refused(data, workdir):
    """Results are never mixed; the differing key is named."""
    other = run(TINY, f'--config.data.dir={data}', f'--workdir={workdir}', '--config.sweep.lr=0.5')
    refused(*other, 'sweep.lr was [0.01], is [0.5]')


def test_results_over_other_data_are_refused(data, workdir, tmp_path):
    """A corpus that was prepared anew from other utterances: the finished sweep in the workdir is not passed off as its own."""
    copy = shutil.copytree(data, tmp_path / 'data')
    (record,) = copy.rglob('prepared.json')
    record.write_text(json.dumps(json.loads(record.read_text()) | {'fingerprint': 'other'}))
    refused(
        *run(TINY, f'--config.data.dir={copy}', f'--workdir={workdir}'),
        'folder has been prepared anew',
    )


def test_a_workdir_that_cannot_be_written_is_refused(data, tmp_path):
    """A file in the way of the workdir is named."""
    (tmp_path / 'file').write_text('')
    refused(
        *run(TINY, f'--config.data.dir={data}', f'--workdir={tmp_path}/file/runs'), 'cannot be made'
    )


def test_help_needs_no_jax():
    """--help explains the command at once."""
    began = time.perf_counter()
    assert '--config.KEY=VALUE' in finished('--help')
    assert time.perf_counter() - began < 30, (
        'no more than a hang is tested here; benchmarks time it'
    )
