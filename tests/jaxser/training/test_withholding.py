"""Tests that withheld utterances influence neither training nor what is fitted afterwards."""

import contextlib
from pathlib import Path

import chex
import numpy as np
import pytest
from helpers import tiny_config

from data_pipelines.errors import UserError
from data_pipelines.protocols import split
from jaxser.training import experiment, loop
from jaxser.training.checkpoints import Checkpoints
from jaxser.training.task import Task
from jaxser.training.validate import plan_programs


def sweep(data: Path, path: Path, **changes) -> dict:
    """Runs two epochs of the tiny sweep on its first fold; returns results.json."""
    config = tiny_config.get_config()
    keys = {'data.dir': str(data), 'train.epochs': 2, 'sweep.fold': (0,)}
    config.update_from_flattened_dict(keys | changes)
    return experiment.run_experiment(config, path)


def poison(monkeypatch, part: str) -> None:
    """Replaces the features of a part of the first fold by noise, and swaps its emotions.

    The rows stay in their parts, which depend on the emotions as they were.
    """
    make_split = split.make_split
    load_features = Task.mel_RxM.func

    def make_poisoned_split(config, prepared):
        made = make_split(config, prepared)
        utterances = made.utterances
        rows = getattr(made.folds[0], part)
        assert len(rows)
        emotion_N = utterances.text['emotion']
        emotion_N[rows] = np.where(emotion_N[rows] == 'sad', 'angry', 'sad')
        utterances.mean_NxM[rows] = 5
        utterances.variance_NxM[rows] = 9
        return made

    def load_poisoned_features(task):
        mel_RxM = load_features(task)
        end_N = np.cumsum(task.utterances.frames_N)
        random = np.random.default_rng(0)
        for row in getattr(task.protocol_folds[0], part):
            start = end_N[row] - task.utterances.frames_N[row]
            mel_RxM[start : end_N[row]] = random.normal(5, 3, mel_RxM[start : end_N[row]].shape)
        return mel_RxM

    monkeypatch.setattr(split, 'make_split', make_poisoned_split)
    monkeypatch.setattr(Task, 'mel_RxM', property(load_poisoned_features))


def selected_parameters(path: Path) -> dict:
    """Returns the arrays of the newest checkpoint."""
    with contextlib.closing(Checkpoints(path / 'groups' / '0' / 'checkpoints')) as checkpoints:
        return checkpoints.manager.restore(checkpoints.manager.latest_step())['arrays']


@pytest.mark.parametrize(
    ('method', 'normalise'),
    [
        ('dann', 'global'),
        ('dann', 'speaker'),
        ('dann', 'speaker_transductive'),
        ('leace', 'global'),
    ],
)
def test_withheld_utterances_touch_nothing(data, tmp_path, monkeypatch, method, normalise):
    """With other features and emotions of them, all results are the same to the bit.

    These are the parameters, the metrics of every epoch, and the predictions of the test part.
    """
    changes = {'method': method, 'data.normalise': normalise, 'protocol.withhold': 0.25}
    if method == 'leace':
        changes['sweep.lam'] = ()
    results = sweep(data, tmp_path / 'clean', **changes)
    assert 'attackers are tested on 25 % withheld utterances' in results['protocol']
    poison(monkeypatch, 'withheld')
    sweep(data, tmp_path / 'poisoned', **changes)
    chex.assert_trees_all_equal(
        selected_parameters(tmp_path / 'clean'), selected_parameters(tmp_path / 'poisoned')
    )
    for name in ('metrics.jsonl', 'predictions.csv'):
        clean = (tmp_path / 'clean' / name).read_bytes()
        assert (tmp_path / 'poisoned' / name).read_bytes() == clean


@pytest.mark.parametrize('share', [0.0, 0.25])
def test_a_fit_after_training_does_not_see_what_attackers_are_tested_on(
    data, tmp_path, monkeypatch, share
):
    """Neither withheld utterances nor, if there are none, those that training uses."""
    fit_method = loop.fit_method
    fitted = []

    def record_and_fit(trainer, group, params, representations):
        rows, _ = representations.get_run(0)
        fitted.append((trainer.task.subset_folds[0], rows))
        return fit_method(trainer, group, params, representations)

    monkeypatch.setattr(loop, 'fit_method', record_and_fit)
    sweep(data, tmp_path, **{'method': 'leace', 'sweep.lam': (), 'protocol.withhold': share})
    ((fold, rows),) = fitted
    assert len(fold.attacker_test) == 4
    assert set(rows) == {*fold.train, *fold.withheld} - set(fold.attacker_test)


@pytest.mark.parametrize('share', [-0.1, 0.9, 1.0])
def test_an_impossible_share_is_refused(share):
    """Training keeps at least a tenth of each speaker's utterances."""
    config = tiny_config.get_config()
    config.protocol.withhold = share
    with pytest.raises(UserError, match=r'config\.protocol\.withhold is .*expected .*0\.9'):
        plan_programs(config)
