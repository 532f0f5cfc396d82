"""Tests of sweeps with enrolled speakers: what is scored, and what training depends on."""

import contextlib
import csv
import json
import sys
from pathlib import Path

import chex
import jax
import numpy as np
import pytest
from absl import flags
from helpers import tiny_config
from ml_collections import config_flags

from data_pipelines.errors import UserError
from data_pipelines.protocols import split
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.storage import dataset
from jaxser import distributed, earlier
from jaxser.configuration import resolve
from jaxser.configuration.serialization import config_from_dict, config_to_dict
from jaxser.training import experiment, parallel
from jaxser.training.checkpoints import Checkpoints
from jaxser.training.task import Task
from jaxser.training.validate import plan_programs

ENROLLED = {'data.normalise': 'speaker_enrolled', 'sweep.lam': (0.5,)}
VALUES = (0, 2, 'all')
# The last epoch, so that the last checkpoint has the parameters at the end of training.
SWEPT = {'sweep.enrol': VALUES, 'train.select': 'last epoch'}
FILES = ('metrics.jsonl', 'predictions.csv')


def make_config(data: Path | str, **changes):
    """Returns the configuration of two epochs of the tiny sweep on its first fold."""
    config = tiny_config.get_config()
    keys = {'data.dir': str(data), 'train.epochs': 2, 'sweep.fold': (0,)}
    config.update_from_flattened_dict(keys | changes)
    return config


def sweep(data: Path, path: Path, **changes) -> dict:
    """Runs a sweep with enrolled speakers; returns results.json."""
    return experiment.run_experiment(make_config(data, **ENROLLED | changes), path)


def first_fold(data: Path, **changes):
    """Returns the utterances and the first fold of such a sweep."""
    config = resolve.resolve_config(make_config(data, **ENROLLED | changes))
    made = split.make_split(config, dataset.find_prepared_data(config.data))
    return made.utterances, made.folds[0]


def read_rows(path: Path) -> list[dict]:
    """Returns the rows of predictions.csv."""
    with open(path / 'predictions.csv', newline='') as file:
        return list(csv.DictReader(file))


def rows_by_run(path: Path) -> dict[str, list[dict]]:
    """Returns the rows of predictions.csv, without their run, by the first key of the run."""
    rows_of_run = {}
    for row in read_rows(path):
        rows_of_run.setdefault(row.pop('run').split()[0], []).append(row)
    return rows_of_run


def newest_arrays(path: Path) -> dict:
    """Returns the arrays of the newest checkpoint."""
    with contextlib.closing(Checkpoints(path / 'groups' / '0' / 'checkpoints')) as checkpoints:
        return checkpoints.manager.restore(checkpoints.manager.latest_step())['arrays']


@pytest.fixture(scope='module')
def swept_enrolment(data, tmp_path_factory):
    """results.json and workdir of a sweep over the number of enrolled utterances."""
    path = tmp_path_factory.mktemp('enrolment')
    return sweep(data, path, **SWEPT), path


def test_no_utterance_that_is_set_aside_is_scored(data, swept_enrolment):
    """Neither in the test part nor in dev; all numbers are scored on the same utterances."""
    results, path = swept_enrolment
    utterances, fold = first_fold(data, **{'protocol.enrol': 2})
    expected = utterances.text['utterance'][fold.test].tolist()
    assert len(expected) == 8, 'half of the 16 utterances of two speakers'
    rows_of_run = rows_by_run(path)
    assert list(rows_of_run) == ['enrol=0', 'enrol=2', 'enrol=all']
    for rows in rows_of_run.values():
        assert sorted(row['utterance'] for row in rows) == sorted(expected)
    assert [run['hyper']['enrol'] for run in results['runs']] == list(VALUES)
    assert {run['test']['n'] for run in results['runs']} == {8}
    assert {run['dev']['n'] for run in results['runs']} == {8}
    assert [row['enrol'] for row in results['summary']] == list(VALUES)


def test_results_say_that_they_are_transductive(swept_enrolment):
    """And that half of the utterances are set aside."""
    results, _ = swept_enrolment
    assert 'half of the utterances of each speaker are set aside' in results['protocol']
    assert '0, 2 or all of them enrolled for each speaker' in results['protocol']
    assert '(transductive, except 0)' in results['protocol']


@pytest.mark.slow
def test_a_sweep_over_enrol_equals_the_sweeps_one_by_one(data, swept_enrolment, tmp_path):
    """To the bit: scores, losses of the selected epoch, and predictions.

    The sweep of one number has three runs as well, so that the compiled program is the same.
    """
    swept, path = swept_enrolment
    for n, enrol in enumerate(VALUES):
        changes = {'protocol.enrol': enrol, 'sweep.lam': (0.5, 0.0, 1.0)}
        changes['train.select'] = 'last epoch'
        alone = sweep(data, tmp_path / str(enrol), **changes)
        for key in ('dev', 'test', 'selected', 'epoch'):
            assert alone['runs'][0][key] == swept['runs'][n][key]
        own_rows = rows_by_run(tmp_path / str(enrol))['lam=0.5']
        assert own_rows == rows_by_run(path)[f'enrol={enrol}']
    predicted = [json.dumps(rows) for rows in rows_by_run(path).values()]
    assert len(set(predicted)) == len(VALUES), 'the number makes a difference'


def test_training_does_not_depend_on_the_number(swept_enrolment):
    """All runs have equal parameters at the end of training, to the bit."""
    _, path = swept_enrolment
    assert_equal_runs(trained_params(path))


@pytest.mark.slow
def test_what_a_method_fits_before_training_does_not_depend_on_the_number(data, tmp_path):
    """The projection is fitted to the features of training speakers as training has them."""
    sweep(data, tmp_path, method='projection', **SWEPT | {'sweep.lam': ()})
    params = trained_params(tmp_path)
    assert np.any(params['projection']['basis'])
    assert_equal_runs(params)


def trained_params(path: Path) -> dict:
    """Returns the parameters of the last epoch, with the three runs as first axis."""
    params, _ = newest_arrays(path)['best']
    return jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:])[:3], params)


def assert_equal_runs(params: dict) -> None:
    """Asserts that three runs have equal parameters, to the bit."""
    leaves = jax.tree.leaves(params)
    assert leaves
    for leaf in leaves:
        np.testing.assert_array_equal(leaf[0], leaf[1])
        np.testing.assert_array_equal(leaf[0], leaf[2])


def test_vmapped_runs_predict_what_they_predict_on_devices_of_their_own(
    data, swept_enrolment, tmp_path, monkeypatch, capsys
):
    """Three runs with other enrolled utterances on one device: to 1e-5 on posteriors.

    The number cuts nothing from the training part, which is what the audit is of.
    """
    layout = parallel.Layout

    def one_device_layout(*arguments, **options):
        return layout(*arguments, **{'devices': jax.devices()[:1], **options})

    monkeypatch.setattr(parallel, 'Layout', one_device_layout)
    sweep(data, tmp_path, **SWEPT)
    output = capsys.readouterr().out
    assert '3 runs in 1 program: 1 fold, 3 enrol' in output
    assert 'The audit is of the whole training part' not in output
    for row, expected in zip(read_rows(tmp_path), read_rows(swept_enrolment[1]), strict=True):
        assert row['utterance'] == expected['utterance']
        for name in ('angry', 'sad'):
            assert float(row[name]) == pytest.approx(float(expected[name]), abs=1e-5)


def test_an_interrupted_sweep_resumes_to_the_same_bits(
    data, swept_enrolment, tmp_path, monkeypatch
):
    """The offsets of the second epoch do not depend on the first one having been trained."""

    def is_requested(self, reached_epoch):
        return reached_epoch == 1

    with monkeypatch.context() as patch:
        patch.setattr(distributed.Termination, 'is_requested', is_requested)
        with pytest.raises(distributed.Preempted, match='after epoch 1 of 2'):
            sweep(data, tmp_path, **SWEPT)
    sweep(data, tmp_path, **SWEPT)
    path = swept_enrolment[1]
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (path / name).read_bytes()
    chex.assert_trees_all_equal(newest_arrays(tmp_path), newest_arrays(path))


def poison(monkeypatch, choose_rows, changes_features: bool) -> None:
    """Swaps the emotions, or replaces the features, of rows of the first fold.

    The rows stay in their parts, which depend on the emotions as they were.
    """
    make_split = split.make_split
    load_features = Task.mel_RxM.func

    def make_poisoned_split(config, prepared):
        made = make_split(config, prepared)
        rows = choose_rows(made.folds[0])
        assert len(rows)
        if changes_features:
            made.utterances.mean_NxM[rows] = 5
            made.utterances.variance_NxM[rows] = 9
        emotion_N = made.utterances.text['emotion']
        emotion_N[rows] = np.where(emotion_N[rows] == 'sad', 'angry', 'sad')
        return made

    def load_poisoned_features(task):
        mel_RxM = load_features(task)
        end_N = np.cumsum(task.utterances.frames_N)
        for row in choose_rows(task.protocol_folds[0]):
            mel_RxM[end_N[row] - task.utterances.frames_N[row] : end_N[row]] = 5
        return mel_RxM

    monkeypatch.setattr(split, 'make_split', make_poisoned_split)
    if changes_features:
        monkeypatch.setattr(Task, 'mel_RxM', property(load_poisoned_features))


def enrolled_rows(fold) -> np.ndarray:
    """Returns the enrolled rows of dev and test speakers."""
    return np.setdiff1d(fold.enrolled, fold.train)


def unused_rows(fold) -> np.ndarray:
    """Returns the rows of dev and test speakers that are set aside, but not enrolled."""
    return np.setdiff1d(fold.reserved, [*fold.train, *fold.enrolled])


@pytest.mark.parametrize(
    ('choose_rows', 'changes_features', 'method'),
    [
        (enrolled_rows, False, 'dann'),
        (unused_rows, True, 'dann'),
        pytest.param(enrolled_rows, False, 'leace', marks=pytest.mark.slow),
    ],
)
def test_what_is_set_aside_touches_no_score(
    data, tmp_path, monkeypatch, choose_rows, changes_features, method
):
    """Parameters, metrics and predictions are the same to the bit.

    Of enrolled utterances the emotions are replaced; of those that are only set aside the features
    are, too.
    """
    changes = {'method': method, 'protocol.enrol': 2}
    if method == 'leace':
        changes['sweep.lam'] = ()
    sweep(data, tmp_path / 'clean', **changes)
    poison(monkeypatch, choose_rows, changes_features)
    sweep(data, tmp_path / 'poisoned', **changes)
    chex.assert_trees_all_equal(
        newest_arrays(tmp_path / 'clean'), newest_arrays(tmp_path / 'poisoned')
    )
    for name in FILES:
        clean = (tmp_path / 'clean' / name).read_bytes()
        assert (tmp_path / 'poisoned' / name).read_bytes() == clean


def test_the_reference_is_scored_on_the_same_utterances(data, swept_enrolment, tmp_path):
    """normalise=global with enrol=0: the same split, and training without enrolment."""
    swept, path = swept_enrolment
    changes = {'data.normalise': 'global', 'train.select': 'last epoch'}
    results = sweep(data, tmp_path / 'reference', **changes, **{'protocol.enrol': 0})
    plain = sweep(data, tmp_path / 'plain', **changes)
    assert results['split_sha256'] == swept['split_sha256']
    names = [row['utterance'] for row in read_rows(tmp_path / 'reference')]
    assert names == [row['utterance'] for row in rows_by_run(path)['enrol=0']]
    assert results['split_sha256'] != plain['split_sha256']
    assert 'transductive' not in results['protocol']
    chex.assert_trees_all_equal(
        newest_arrays(tmp_path / 'reference')['best'], newest_arrays(tmp_path / 'plain')['best']
    )
    assert plain['runs'][0]['test']['n'] == 16


WRONG = {
    'nothing enrolled': (
        {'data.normalise': 'speaker_enrolled'},
        r'normalise=speaker_enrolled needs enrolled utterances: set --config\.protocol\.enrol',
    ),
    'enrolled and not used': (
        {'protocol.enrol': 4},
        r'4 utterances of each speaker are enrolled .*normalise=global does not use them',
    ),
    'swept and not used': (
        {'sweep.enrol': (0, 'all')},
        r'all utterances of each speaker are enrolled .*set --config\.data\.normalise=',
    ),
    'a negative number': (
        {**ENROLLED, 'protocol.enrol': -1},
        r'config\.protocol\.enrol is -1; expected a number of utterances of each speaker from 0',
    ),
    'a word': (
        {**ENROLLED, 'protocol.enrol': 'some'},
        r"config\.protocol\.enrol is 'some'; expected a number .*, all, or none",
    ),
    'a word in the sweep': (
        {**ENROLLED, 'sweep.enrol': ('0', 'x')},
        r"config\.sweep\.enrol: 'x' is neither a number of utterances of at least 0 nor 'all'",
    ),
    'a negative number in the sweep': (
        {**ENROLLED, 'sweep.enrol': (0, -1)},
        r'config\.sweep\.enrol: -1 is neither',
    ),
    'the same number twice': (
        {**ENROLLED, 'sweep.enrol': ('4', 4)},
        r'config\.sweep\.enrol contains the same value twice',
    ),
    'only some listed runs': (
        {**ENROLLED, 'protocol.enrol': 'all', 'sweep.runs': ({'enrol': 4}, {'lr': 0.1})},
        r'config\.sweep\.runs: only some runs set enrol',
    ),
    'a source that does not exist': (
        {**ENROLLED, 'protocol.enrol': 4, 'protocol.enrol_from': 'happy'},
        r"config\.protocol\.enrol_from is 'happy'; expected one of any, one, neutral",
    ),
}


@pytest.mark.parametrize('mistake', WRONG)
def test_a_mistake_is_explained(data, mistake):
    """In one sentence, before training."""
    changes, message = WRONG[mistake]
    with pytest.raises(UserError, match=message):
        plan_programs(resolve.resolve_config(make_config(data, **changes)))


def test_neutral_needs_a_class_neutral(data, tmp_path):
    """The classes of this corpus are listed, and no workdir is left behind."""
    changes = {'protocol.enrol': 'all', 'protocol.enrol_from': 'neutral'}
    with pytest.raises(UserError, match='no utterance has the class neutral; found: angry, sad'):
        sweep(data, tmp_path / 'neutral', **changes)
    assert not (tmp_path / 'neutral').exists()


def parse(monkeypatch, data: Path, *arguments: str):
    """Returns the resolved configuration of a command line."""
    monkeypatch.setattr(sys, 'argv', ['jaxser', *arguments])  # where ml_collections looks
    values = flags.FlagValues()
    config = config_flags.DEFINE_config_dict('config', make_config(data), flag_values=values)
    values(sys.argv)
    return resolve.resolve_config(config.value)


@pytest.mark.parametrize(
    ('arguments', 'enrol', 'swept'),
    [
        (['--config.protocol.enrol=4'], 4, []),
        (['--config.protocol.enrol=0'], 0, []),
        (['--config.protocol.enrol=all'], 'all', []),
        (['--config.sweep.enrol=0,4,all'], 'all', [0, 4, 'all']),
        (['--config.sweep.enrol=0,16'], 'all', [0, 16]),
        (['--config.sweep.enrol=8'], 'all', [8]),
        (['--config.sweep.enrol=all', '--config.protocol.enrol=2'], 2, ['all']),
    ],
)
def test_the_command_line_takes_numbers_and_all(monkeypatch, data, arguments, enrol, swept):
    """protocol.enrol is one of them, sweep.enrol several; both become numbers."""
    config = parse(monkeypatch, data, '--config.data.normalise=speaker_enrolled', *arguments)
    assert config.protocol.enrol == enrol
    assert type(config.protocol.enrol) is type(enrol)
    Protocol(**config.protocol)
    (program,) = plan_programs(config)
    found = list(dict.fromkeys(variant.get('enrol') for variant in program.variants))
    assert found == (swept or [None])
    again = config_from_dict(json.loads(json.dumps(config_to_dict(config))))
    assert again.protocol.enrol == enrol


@pytest.mark.parametrize('value', ['-1', 'some', '1.5'])
def test_a_wrong_number_on_the_command_line_is_explained(monkeypatch, data, value):
    """It names the key and the value."""
    arguments = ('--config.data.normalise=speaker_enrolled', f'--config.protocol.enrol={value}')
    with pytest.raises(UserError, match=r'config\.protocol\.enrol is .*; expected a number'):
        parse(monkeypatch, data, *arguments)


@pytest.mark.parametrize('arguments', [['--config.protocol.enrol=0'], ['--config.sweep.enrol=0']])
def test_the_reference_enrols_nothing(monkeypatch, data, arguments):
    """normalise=global takes enrol=0, in the protocol and in the sweep."""
    config = parse(monkeypatch, data, *arguments)
    assert config.protocol.enrol != 'none'
    plan_programs(config)


def test_a_configuration_of_an_earlier_version_enrols_nobody(data):
    """It lacks the keys, and has the same split."""
    values = config_to_dict(resolve.resolve_config(make_config(data)))
    del values['protocol']['enrol'], values['protocol']['enrol_from'], values['sweep']['enrol']
    config = config_from_dict(earlier.complete(values))
    assert (config.protocol.enrol, config.protocol.enrol_from) == ('none', 'any')
    resolved = resolve.resolve_config(config)
    plan_programs(resolved)
    made = split.make_split(resolved, dataset.find_prepared_data(resolved.data))
    assert not len(made.folds[0].reserved)
