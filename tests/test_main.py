"""Tests of the command jaxser.main, from a corpus to its results, as a user runs it."""

import csv
import json
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

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, '-m', 'jaxser.main']
# The command with attackers of the probe that learn little, and fast.
QUICK_PROBE = """
from jaxser import main
from jaxser.probing.attackers import linear, mlp
linear.MAX_ITERATIONS, mlp.MAX_CHECKS = 2, 1
main.main()
"""
TINY = '--config=tests/helpers/tiny_config.py'


@pytest.fixture(scope='session', autouse=True)
def shared_cache(tmp_path_factory):
    """Commands share what they compile; like the tests (conftest.py) they compile unoptimised."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('JAX_COMPILATION_CACHE_DIR', str(tmp_path_factory.mktemp('xla')))
        patch.setenv('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
        yield


def start(*arguments: object, command: list[str] = COMMAND, **variables: str) -> subprocess.Popen:
    """Starts a command on one device; `variables` are set in its environment."""
    environment = os.environ | {'JAX_NUM_CPU_DEVICES': '1', 'PYTHONPATH': str(ROOT)} | variables
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(*arguments: object, **variables: str) -> tuple[int, str]:
    """Runs the command; returns its exit status and its output."""
    process = start(*arguments, **variables)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def run_successfully(*arguments: object, **variables: str) -> str:
    """Runs a command that must succeed; returns its output."""
    status, output = run(*arguments, **variables)
    assert status == 0, output
    return output


@pytest.fixture(scope='session')
def packed(data, tmp_path_factory) -> Path:
    """The corpus as an .npz alone, which is read without TensorFlow, and so faster."""
    from data_pipelines import pack
    from data_pipelines.features.log_mel import LogMel

    (record,) = data.rglob('prepared.json')
    file = tmp_path_factory.mktemp('packed') / 'folder' / LogMel().npz_name
    file.parent.mkdir(parents=True)
    pack.write_npz(record.parent, file)
    return file.parent.parent


@pytest.fixture(scope='session')
def workdir(data, tmp_path_factory) -> Path:
    """The workdir of a sweep that was not interrupted."""
    path = tmp_path_factory.mktemp('runs') / 'tiny'
    output = run_successfully(TINY, f'--config.data.dir={data}', f'--workdir={path}')
    assert 'UAR' in output
    assert '6 runs in 1 program: 3 folds, 2 lam' in output
    assert 'Forecast for training 6 runs: ' in output
    return path


def test_every_run_has_a_result(workdir):
    """And no epoch of the first half of training is selected."""
    results = json.loads((workdir / 'results.json').read_text())
    runs = {(run['hyper']['lam'], run['hyper']['fold']) for run in results['runs']}
    assert runs == {(0.0, 0), (0.0, 1), (0.0, 2), (0.5, 0), (0.5, 1), (0.5, 2)}
    for run in results['runs']:
        assert run['status'] == 'ok'
        assert run['epoch'] >= 2
    assert [row['lam'] for row in results['summary']] == [0.0, 0.5]


def test_the_summary_agrees_with_the_predictions(workdir):
    """Every utterance is predicted once for each coefficient, and the UAR follows from that."""
    results = json.loads((workdir / 'results.json').read_text())
    with open(workdir / 'predictions.csv') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 48
    for row in rows:
        assert float(row['angry']) + float(row['sad']) == pytest.approx(1, abs=1e-6)
    for summary in results['summary']:
        is_correct = {'angry': [], 'sad': []}
        for row in rows:
            if f'lam={summary["lam"]:g} ' in row['run']:
                predicted = 'angry' if float(row['angry']) >= float(row['sad']) else 'sad'
                is_correct[row['truth']].append(predicted == row['truth'])
        recalls = [np.mean(values) for values in is_correct.values()]
        assert summary['uar'] == pytest.approx(np.mean(recalls), abs=1e-9)


def test_metrics_have_a_line_for_each_run_and_epoch(workdir):
    """The speaker head has as many classes as the fold has training speakers."""
    lines = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    assert len(lines) == 4 * 6
    assert {line['speaker_count'] for line in lines} == {2.0}


def test_a_finished_sweep_has_the_files_that_the_documentation_promises(workdir):
    """The configuration, pictures, the report, event files and the model."""
    results = json.loads((workdir / 'results.json').read_text())
    config = json.loads((workdir / 'config.json').read_text())
    assert config['split_sha256'] == results['split_sha256']
    assert config['config']['sweep']['lam'] == [0.0, 0.5]
    for picture in ('confusion.png', 'sweep.png'):
        assert (workdir / picture).read_bytes()[:4] == b'\x89PNG'
    assert results['split_sha256'] in (workdir / 'report.html').read_text()
    assert list((workdir / 'tensorboard').rglob('events*'))
    model = json.loads((workdir / 'model' / 'model.json').read_text())
    assert model['classes'] == results['classes']


def assert_same_file(name: str, workdir: Path, other: Path) -> None:
    """Asserts that two workdirs have the same file."""
    assert (workdir / name).read_bytes() == (other / name).read_bytes()


def last_checkpoint(workdir: Path) -> list[np.ndarray]:
    """Returns the arrays of the last checkpoint."""
    import jax
    import orbax.checkpoint as ocp

    checkpoints = workdir.absolute() / 'groups' / '0' / 'checkpoints'
    epochs = [int(path.name) for path in checkpoints.iterdir() if path.name.isdigit()]
    assert max(epochs) == 4
    return jax.tree.leaves(ocp.StandardCheckpointer().restore(checkpoints / '4' / 'arrays'))


def test_a_killed_sweep_resumes_to_the_same_bits(packed, workdir, tmp_path):
    """After kill -9 in mid-training: parameters, runs, metrics and predictions."""
    arguments = (TINY, f'--config.data.dir={packed}', f'--workdir={tmp_path}')
    process = start(*arguments)
    first = tmp_path / 'groups' / '0' / 'checkpoints' / '1'
    while not first.exists() and process.poll() is None:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / 'results.json').exists(), 'it must be killed before its end'
    assert 'Resuming after epoch' in run_successfully(*arguments)
    resumed = json.loads((tmp_path / 'results.json').read_text())
    expected = json.loads((workdir / 'results.json').read_text())
    assert resumed['runs'] == expected['runs']
    assert_same_file('predictions.csv', tmp_path, workdir)
    assert_same_file('metrics.jsonl', tmp_path, workdir)
    arrays = zip(last_checkpoint(tmp_path), last_checkpoint(workdir), strict=True)
    for array, expected_array in arrays:
        np.testing.assert_array_equal(array, expected_array)


def test_a_finished_sweep_is_printed_again_without_training(data, workdir):
    """By the same command."""
    before = (workdir / 'metrics.jsonl').stat().st_mtime_ns
    output = run_successfully(TINY, f'--config.data.dir={data}', f'--workdir={workdir}')
    assert 'contains this sweep, and it is finished. To train it again, remove' in output
    assert (workdir / 'metrics.jsonl').stat().st_mtime_ns == before


@pytest.mark.gate
def test_sigterm_leaves_a_checkpoint_and_the_exit_status_75(packed, workdir, tmp_path):
    """The same command resumes to the results of a sweep that was not interrupted."""
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
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 75, output
    assert 'saved after epoch' in output
    assert 'The same command resumes' in output
    run_successfully(*arguments)
    assert_same_file('predictions.csv', tmp_path, workdir)


def run_two_processes(data, workdirs: list[Path], *arguments: str) -> list[tuple[int, str]]:
    """Runs the command as two processes that JAX joins; returns exit statuses and outputs."""
    with socket.socket() as free:
        free.bind(('localhost', 0))
        address = f'localhost:{free.getsockname()[1]}'
    processes = []
    for number, path in enumerate(workdirs):
        process = start(
            TINY,
            f'--config.data.dir={data}',
            f'--workdir={path}',
            '--distributed',
            *arguments,
            command=[sys.executable, '-c', QUICK_PROBE],
            JAX_COORDINATOR_ADDRESS=address,
            JAX_NUM_PROCESSES='2',
            JAX_PROCESS_ID=str(number),
            JAX_PLATFORMS='cpu',
        )
        processes.append(process)
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    statuses = [process.returncode for process in processes]
    return list(zip(statuses, outputs))


def read_predictions_of_two_folds(workdir: Path) -> list[dict]:
    """Returns the rows of predictions.csv for the folds 0 and 1."""
    with open(workdir / 'predictions.csv') as file:
        return [row for row in csv.DictReader(file) if row['fold'] != '2']


@pytest.mark.gate
def test_two_processes_give_the_results_of_one(data, workdir, tmp_path):
    """Each trains a fold and reads what its runs need; process 0 prints and writes."""
    arguments = ('--config.data.resident=off', '--config.probe=True', '--config.sweep.fold=0,1')
    results = run_two_processes(data, [tmp_path, tmp_path], *arguments)
    (status, output), (second_status, second_output) = results
    assert (status, second_status) == (0, 0), output + second_output
    assert 'UAR' in output
    assert 'UAR' not in second_output
    rows = read_predictions_of_two_folds(tmp_path)
    expected = read_predictions_of_two_folds(workdir)
    assert [row['utterance'] for row in rows] == [row['utterance'] for row in expected]
    posteriors = [float(row['angry']) for row in rows]
    expected_posteriors = [float(row['angry']) for row in expected]
    np.testing.assert_allclose(posteriors, expected_posteriors, atol=1e-6)
    for run in json.loads((tmp_path / 'results.json').read_text())['runs']:
        assert run['probe']['speaker']['classes'] == 2
    assert 'leakage' in output


@pytest.mark.slow
def test_two_processes_that_share_a_batch_give_the_results_of_one(data, workdir, tmp_path):
    """Each reads half of every batch. To 1e-5: the sums over a batch have another order."""
    arguments = ('--config.data.resident=off', '--config.data_devices=2', '--config.sweep.fold=0,1')
    results = run_two_processes(data, [tmp_path, tmp_path], *arguments)
    (status, output), (second_status, second_output) = results
    assert (status, second_status) == (0, 0), output + second_output
    rows = read_predictions_of_two_folds(tmp_path)
    expected = read_predictions_of_two_folds(workdir)
    assert [row['utterance'] for row in rows] == [row['utterance'] for row in expected]
    posteriors = [float(row['angry']) for row in rows]
    expected_posteriors = [float(row['angry']) for row in expected]
    np.testing.assert_allclose(posteriors, expected_posteriors, atol=1e-5)


def test_two_processes_need_a_shared_workdir(data, tmp_path):
    """If process 1 writes elsewhere, both end with 2, and it is named."""
    results = run_two_processes(data, [tmp_path / 'a', tmp_path / 'b'])
    (status, output), (second_status, _) = results
    assert (status, second_status) == (2, 2), output
    assert 'is not shared: process(es) [1] of 2' in output


@pytest.fixture(scope='session')
def trained_without_tensorflow(packed, tmp_path_factory) -> Path:
    """The workdir of the same sweep, trained where TensorFlow, TFDS and librosa are missing."""
    folder = tmp_path_factory.mktemp('without')
    blocked = folder / 'blocked'
    for name in ('tensorflow', 'tensorflow_datasets', 'librosa'):
        (blocked / name).mkdir(parents=True)
        (blocked / name / '__init__.py').write_text("raise ImportError('not installed here')")
    run_successfully(
        TINY,
        f'--config.data.dir={packed}',
        f'--workdir={folder}/runs',
        PYTHONPATH=f'{blocked}{os.pathsep}{ROOT}',
    )
    return folder / 'runs'


def test_a_packed_corpus_needs_no_tensorflow(trained_without_tensorflow, workdir):
    """Without TensorFlow, TFDS and librosa the predictions are the same to the bit."""
    assert_same_file('predictions.csv', trained_without_tensorflow, workdir)


# Runs commands in one process in which neither TensorFlow nor TFDS is found.
WITHOUT_TENSORFLOW = """
import importlib, json, sys
from importlib.machinery import PathFinder

find_spec = PathFinder.find_spec

def find_others(name, path=None, target=None):
    is_missing = name.partition('.')[0] in ('tensorflow', 'tensorflow_datasets')
    return None if is_missing else find_spec(name, path, target)

PathFinder.find_spec = find_others
for module, *arguments in json.loads(sys.argv[1]):
    sys.argv = [module, *arguments]
    try:
        importlib.import_module(module).main()
    except SystemExit as end:
        if end.code:
            print(module, 'exits with status', end.code)
"""


def test_finished_sweeps_need_no_tensorflow(trained_without_tensorflow, data, tmp_path):
    """Report, comparison, model, predictions and export; `prepare` says what is missing."""
    workdir = tmp_path / 'runs'
    shutil.copytree(trained_without_tensorflow, workdir)
    shutil.rmtree(workdir / 'model')
    (workdir / 'report.html').unlink()
    sound = data.parent / '0_sad_0.wav'
    named = ('--workdir', str(workdir))
    commands = [
        ('jaxser.report', *named),
        ('jaxser.compare', str(workdir), '--out', f'{tmp_path}/results.md'),
        ('jaxser.bundle', *named),
        ('jaxser.predict', *named, '--format', 'csv', str(sound)),
        ('jaxser.export', *named, '--out', f'{tmp_path}/exported'),
        ('data_pipelines.prepare', 'demo', '--out', f'{tmp_path}/data'),
    ]
    command = [sys.executable, '-c', WITHOUT_TENSORFLOW]
    output, _ = start(json.dumps(commands), command=command).communicate(timeout=300)
    assert 'file,part,start,end,emotion,angry,sad' in output
    assert (workdir / 'report.html').exists()
    assert (tmp_path / 'results.md').exists()
    assert (tmp_path / 'exported' / 'posterior.stablehlo').exists()
    assert (tmp_path / 'exported' / 'README.md').exists()
    assert output.count('exits with status') == 1, output
    assert 'data_pipelines.prepare exits with status 2' in output
    assert 'jaxser[tensorflow]' in output
    assert not (tmp_path / 'data').exists()


def compiled_programs() -> set[str]:
    """Returns the names in the compilation cache."""
    cache = Path(os.environ['JAX_COMPILATION_CACHE_DIR'])
    return {file.name for file in cache.iterdir() if file.name.endswith('-cache')}


def test_other_hyper_parameters_compile_nothing(packed, workdir, tmp_path):
    """A sweep of other coefficients, learning rates and seeds adds nothing to the cache."""
    before = compiled_programs()
    values = ('--config.sweep.lam=0.1,2', '--config.sweep.seed=5', '--config.sweep.lr=0.02')
    run_successfully(TINY, f'--config.data.dir={packed}', f'--workdir={tmp_path}', *values)
    assert before
    assert compiled_programs() == before


MISTAKES_ABOUT_DATA = {
    'too few speakers for the folds': ({'protocol.folds': 7}, 'from 3 to 6'),
    'a protocol that the corpus has no labels for': (
        {'protocol.name': 'leave_one_session_out'},
        'have no session',
    ),
    'an unknown fold': ({'sweep.fold': '5'}, 'folds 0 to 2'),
    'a label space in which no utterance has a class': (
        {'data.labels': 'rated_arousal'},
        '48 without a rating',
    ),
    'a domain with one value': (
        {'domain': 'corpus'},
        'fold .* contain only one corpus, folder, so that there is nothing to remove',
    ),
}


def assert_user_error(status: int, output: str, expected: str) -> None:
    """Asserts exit status 2, and a short message with `expected` and without a stack trace."""
    assert status == 2, output
    assert expected in output
    assert 'Traceback' not in output
    assert len(output) < 700


@pytest.mark.parametrize('mistake', MISTAKES_ABOUT_DATA)
def test_a_mistake_about_the_data_raises_a_user_error(mistake, data, tmp_path):
    """Before training; the workdir can be used by the corrected command."""
    from helpers import tiny_config

    from jaxser.training import experiment

    changes, expected = MISTAKES_ABOUT_DATA[mistake]
    config = tiny_config.get_config()
    config.update_from_flattened_dict({'data.dir': str(data), **changes})
    with pytest.raises(UserError, match=expected):
        experiment.run_experiment(config, tmp_path)
    assert not (tmp_path / 'config.json').exists()


def test_the_workdir_of_another_configuration_is_an_error(data, workdir):
    """Results are never mixed; the message names the key that differs."""
    arguments = (TINY, f'--config.data.dir={data}', f'--workdir={workdir}')
    status, output = run(*arguments, '--config.sweep.lr=0.5')
    assert_user_error(status, output, 'sweep.lr was 0.01, is 0.5')


def test_a_workdir_over_other_data_is_an_error(data, workdir, tmp_path):
    """The corpus has been prepared again from other utterances since the sweep."""
    copy = shutil.copytree(data, tmp_path / 'data')
    (record,) = copy.rglob('prepared.json')
    record.write_text(json.dumps(json.loads(record.read_text()) | {'fingerprint': 'other'}))
    status, output = run(TINY, f'--config.data.dir={copy}', f'--workdir={workdir}')
    assert_user_error(status, output, 'folder has been prepared again since')


def test_a_workdir_that_cannot_be_made_is_an_error(data, tmp_path):
    """Here a file is in its place."""
    (tmp_path / 'file').write_text('')
    status, output = run(TINY, f'--config.data.dir={data}', f'--workdir={tmp_path}/file/runs')
    assert_user_error(status, output, 'cannot be made')


def test_help_is_printed_without_jax():
    """JAX takes seconds to import. benchmarks/startup.py measures the time."""
    start_time = time.perf_counter()
    assert '--config.KEY=VALUE' in run_successfully('--help')
    assert time.perf_counter() - start_time < 30
