"""Leakage of a setting: means over speakers, and the difference to plain training."""

import numpy as np
import pytest

from jaxser.analysis import summary


def probe_answer(**recalls: float) -> dict:
    """A run's answers of the probe, with the speakers' recalls."""
    mean = float(np.mean([*recalls.values()]))
    speaker = {
        'linear': mean,
        'mlp': mean,
        'chance': 0.5,
        'classes': 2,
        'n': 9,
        'strangers': False,
        'input': {'linear': 1.0},
        'recall': {'linear': recalls, 'mlp': recalls},
    }
    return {'speaker': speaker, 'verification': {'eer': 0.5, 'input': {'eer': 0.4}}}


def test_leakage_is_a_mean_over_speakers():
    """A speaker counts with the mean of the runs that have seen it in training."""
    answers, recalls = summary.average_probe(
        [probe_answer(a=0.0, b=1.0), probe_answer(b=0.5, c=0.5)]
    )
    assert recalls == {'a': 0.0, 'b': 0.75, 'c': 0.5}
    assert answers['speaker']['linear'] == pytest.approx(0.5)
    assert answers['speaker']['ci95'] is None
    assert answers['speaker']['heard'] == 3
    assert answers['speaker']['input']['linear'] == 1.0
    assert answers['verification'] == {'eer': 0.5, 'input': {'eer': 0.4}}


def test_the_difference_to_plain_training_is_of_the_same_speakers():
    plain = {speaker: n / 10 for n, speaker in enumerate('abcdefgh')}
    lower = {speaker: recall - 0.1 for speaker, recall in plain.items()}
    difference = summary.leakage_difference(lower, plain)
    assert difference['delta'] == pytest.approx(-0.1)
    assert difference['p'] < 0.05
