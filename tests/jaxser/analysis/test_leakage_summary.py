"""Leakage of a setting: means over speakers, and the difference to plain training."""

import numpy as np
import pytest

from jaxser.analysis import leakage


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
    answers, recalls = leakage.average_probe(
        [probe_answer(a=0.0, b=1.0), probe_answer(b=0.5, c=0.5)]
    )
    assert recalls == {'speaker': {'a': 0.0, 'b': 0.75, 'c': 0.5}}
    assert answers['speaker']['linear'] == pytest.approx(0.5)
    assert answers['speaker']['ci95'] is None
    assert answers['speaker']['probed_speakers'] == 3
    assert answers['speaker']['input']['linear'] == 1.0
    assert answers['verification'] == {'eer': 0.5, 'input': {'eer': 0.4}}


def test_the_difference_to_plain_training_is_of_the_same_speakers():
    plain = {speaker: n / 10 for n, speaker in enumerate('abcdefgh')}
    lower = {speaker: recall - 0.1 for speaker, recall in plain.items()}
    difference = leakage.leakage_difference(lower, plain)
    assert difference['delta'] == pytest.approx(-0.1)
    assert difference['p'] < 0.05


def attacked(recalls: dict[str, dict[str, float]], **figures) -> dict:
    """Returns a run's answer to `speaker` with the recalls {attacker: {speaker: recall}}."""
    means = {attacker: float(np.mean([*by.values()])) for attacker, by in recalls.items()}
    return {'speaker': means | {'chance': 0.25, 'recall': recalls} | figures}


def test_the_headline_is_the_attacker_with_the_largest_mean_over_the_runs():
    """Not the mean over the runs of each run's strongest attacker, which is always higher."""
    runs = []
    for linear, rbf in ((0.7, 0.3), (0.3, 0.5), (0.2, 0.7)):
        runs.append(attacked({'linear': {'a': linear}, 'rbf': {'a': rbf}}))
    answers, recalls = leakage.average_probe(runs)
    assert answers['speaker']['attacker'] == 'rbf'
    assert answers['speaker']['strongest'] == pytest.approx(0.5)
    assert recalls['speaker'] == {'a': pytest.approx(0.5)}


def test_the_figures_of_inputs_and_scores_have_their_own_strongest_attacker():
    """Also flags that hold in all runs, and bits, which some runs lack."""
    scores = {'linear': 0.2, 'mlp': 0.3, 'bits': 0.1}
    run = attacked({'linear': {'a': 0.5}}, scores=scores, input={'linear': 0.9}, withheld=True)
    run['speaker'] |= {'bits': 1.0, 'speaker_bits': {'a': 1.0}}
    other = attacked({'linear': {'a': 0.5}}, scores=scores, withheld=False, bits=None)
    answers, _ = leakage.average_probe([run, other])
    answer = answers['speaker']
    assert answer['scores'] == pytest.approx(scores | {'strongest': 0.3, 'attacker': 'mlp'})
    assert answer['input'] == {'linear': 0.9, 'strongest': 0.9, 'attacker': 'linear'}
    assert answer['bits'] == 1.0
    assert answer['bits_ci95'] is None
    assert answer['withheld'] is False


def test_intervals_resample_speakers():
    """Of the recall of the strongest attacker, within [0, 1], and of the bits."""
    recall = {speaker: n / 7 for n, speaker in enumerate('abcdefgh')}
    run = attacked({'linear': dict.fromkeys(recall, 0.1), 'knn': recall})
    run['speaker'] |= {'bits': 2.0, 'speaker_bits': {s: 4 * r for s, r in recall.items()}}
    answers, _ = leakage.average_probe([run])
    low, high = answers['speaker']['ci95']
    assert 0 <= low < 0.5 < high <= 1
    bits_low, bits_high = answers['speaker']['bits_ci95']
    assert bits_low < 2 < bits_high
    assert bits_high - bits_low == pytest.approx(4 * (high - low))


@pytest.mark.parametrize(
    ('normalise', 'withheld', 'strangers', 'expected'),
    [
        ('global', False, False, False),
        ('speaker', False, False, True),
        ('speaker', True, False, False),  # by the statistics of other utterances
        ('speaker', True, True, False),  # each utterance by itself
        ('speaker_transductive', False, False, True),
        ('speaker_transductive', True, False, False),
        ('speaker_transductive', True, True, True),
    ],
)
def test_leakage_is_marked_where_tested_utterances_are_centred_with_the_fitted_ones(
    normalise, withheld, strangers, expected
):
    averages = {'speaker': {'withheld': withheld, 'strangers': strangers}}
    leakage.mark_centred(averages, {'data': {'normalise': normalise}})
    assert averages['speaker'].get('centred', False) is expected


@pytest.mark.parametrize(
    ('recall', 'flags', 'expected'),
    [
        ([0.01, 0.02] * 4, [True, False, False], True),
        ([0.01, 0.02] * 4, [False] * 3, False),
        ([0.01, 0.02] * 4, [], True),  # an earlier version, which tested no run
        ([0.0, 0.45] * 4, [True, False, False], False),  # speakers differ: the mean is no proof
        ([0.01] * 4, [True, True, False], True),
        ([0.01] * 4, [True, False, False], False),
    ],
)
def test_recall_below_chance_is_seen(recall, flags, expected):
    """An attacker of eight speakers, or of four, of whom no interval can be given."""
    recalls = {
        'linear': dict(zip('abcdefgh', recall)),
        'rbf': dict(zip('abcdefgh', [0.6] * len(recall))),
    }
    runs = []
    for flag in flags or [None]:
        runs.append(attacked(recalls))
        if flag is not None:
            runs[-1]['speaker']['below_chance'] = flag
    answers, _ = leakage.average_probe(runs)
    assert answers['speaker']['below_chance'] is expected


def test_an_average_says_from_how_many_speakers_it_was_sampled():
    """The mean over the folds; nothing is said of questions that are no sample."""
    answers = [probe_answer(a=0.5, b=1.0), probe_answer(a=0.5, b=1.0)]
    averages, _ = leakage.average_probe(answers)
    assert 'sampled_from' not in averages['speaker']
    for answer, classes in zip(answers, (900, 910)):
        answer['speaker']['sampled_from'] = {'classes': classes, 'n': 2 * classes}
    averages, _ = leakage.average_probe(answers)
    assert averages['speaker']['sampled_from'] == {'classes': 905, 'n': 1810}
