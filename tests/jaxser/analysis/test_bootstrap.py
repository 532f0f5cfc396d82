"""Tests of the bootstrap over speakers.

Its values are compared with plain Python, closed forms, scipy and scikit-learn, and the coverage of
its intervals is measured.
"""

from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import recall_score

from data_pipelines.errors import UserError
from jaxser.analysis import bootstrap
from jaxser.analysis.bootstrap import RecallTerm
from jaxser.analysis.measure import UAR
from jaxser.analysis.statistics import RecallStatistics
from tests.benchmarks import intervals

C = 3


class SeedPredictions(NamedTuple):
    """The predictions of a seed, its folds pooled."""

    speaker_N: np.ndarray
    truth_N: np.ndarray
    predicted_N: np.ndarray


def make_predictions(
    speakers: int = 5,
    utterances: int = 12,
    seeds: int = 2,
    spread: float = 0.0,
    accuracy: float = 0.6,
) -> list[SeedPredictions]:
    """Returns the predictions of each seed; speakers differ in accuracy by `spread`."""
    random = np.random.default_rng(0)
    names = [f's{n:02}' for n in range(speakers)]
    speaker_N = random.permutation(np.repeat(names, utterances))
    truth_N = random.integers(0, C, len(speaker_N))
    accuracy_S = np.clip(accuracy + spread * random.normal(size=speakers), 0, 1)
    accuracy_N = accuracy_S[np.searchsorted(names, speaker_N)]
    predictions = []
    for _ in range(seeds):
        correct_N = random.random(len(speaker_N)) < accuracy_N
        wrong_N = (truth_N + random.integers(1, C, len(speaker_N))) % C
        predicted_N = np.where(correct_N, truth_N, wrong_N)
        predictions.append(SeedPredictions(speaker_N, truth_N, predicted_N))
    return predictions


def count(seeds: list[SeedPredictions]) -> RecallStatistics:
    """Returns the statistics of the seeds."""
    return RecallStatistics(np.stack([bootstrap.speaker_confusions(*seed, C) for seed in seeds]))


def uar_of_draw(seeds: list[SeedPredictions], weight_S) -> float:
    """Returns the UAR of a draw in plain Python: all utterances, as often as they are drawn."""
    uars = []
    for seed in seeds:
        weights = dict(zip(sorted(set(seed.speaker_N)), weight_S))
        correct, total = [0] * C, [0] * C
        for speaker, truth, predicted in zip(*seed):
            total[truth] += weights[speaker]
            correct[truth] += weights[speaker] * int(predicted == truth)
        recalls = [correct[c] / total[c] for c in range(C) if total[c]]
        uars.append(sum(recalls) / len(recalls))
    return sum(uars) / len(uars)


def test_every_draw_is_what_plain_python_computes():
    """All 40 draws of six speakers, with a class that some draws lack, and the influences."""
    seeds = []
    for speaker_N, truth_N, predicted_N in make_predictions(speakers=6, utterances=5):
        truth_N = np.where((truth_N == 2) & (speaker_N != 's00'), 0, truth_N)
        seeds.append(SeedPredictions(speaker_N, truth_N, predicted_N))
    weight_QxS = bootstrap.bootstrap_weights(6, 40)
    assert (weight_QxS[:, 0] == 0).any()
    term = count(seeds).term()
    uar_Q, influence_QxS = bootstrap.mean_recall(term.correct_SxC, term.total_SxC, weight_QxS)
    expected_Q = [uar_of_draw(seeds, weight_S) for weight_S in weight_QxS]
    np.testing.assert_allclose(uar_Q, expected_Q, atol=1e-12)
    all_once = uar_of_draw(seeds, np.ones(6))
    assert bootstrap.measure_estimate(count(seeds)).value == pytest.approx(all_once, abs=1e-12)
    step = 1e-6  # the influence of a speaker is the derivative by its weight
    for s in range(6):
        moved_QxS = weight_QxS + step * (np.arange(6) == s)
        moved_uar_Q, _ = bootstrap.mean_recall(term.correct_SxC, term.total_SxC, moved_QxS)
        slope_Q = (moved_uar_Q - uar_Q) / step
        drawn_Q = weight_QxS[:, s] > 0  # a new speaker may bring a new class
        np.testing.assert_allclose(influence_QxS[drawn_Q, s], slope_Q[drawn_Q], atol=1e-5)


def test_the_uar_is_that_of_scikit_learn_averaged_over_seeds():
    """Over all utterances of a seed together."""
    seeds = make_predictions(seeds=3, spread=0.2)
    uars = [recall_score(seed.truth_N, seed.predicted_N, average='macro') for seed in seeds]
    estimate = bootstrap.measure_estimate(count(seeds))
    assert estimate.value == pytest.approx(np.mean(uars), abs=1e-12)


def test_a_draw_has_as_many_speakers_as_there_are():
    """2,000 draws with replacement, uniform, and always the same ones."""
    weight_QxS = bootstrap.bootstrap_weights(7)
    assert weight_QxS.shape == (2000, 7)
    assert (weight_QxS.sum(1) == 7).all()
    np.testing.assert_allclose(weight_QxS.mean(0), 1, atol=0.1)
    assert weight_QxS.var(0).mean() == pytest.approx(1 - 1 / 7, rel=0.05)
    np.testing.assert_array_equal(weight_QxS, bootstrap.bootstrap_weights(7))


def test_with_one_utterance_per_speaker_the_interval_is_nearly_that_of_student():
    """Forty speakers, one class, 28 correct: the standard error of a mean is known."""
    correct_N = np.arange(40) < 28
    zero_N = np.zeros(40, int)
    predictions = SeedPredictions(np.arange(40), zero_N, np.where(correct_N, 0, 1))
    estimate = bootstrap.measure_estimate(count([predictions]))
    assert estimate.value == pytest.approx(0.7)
    expected = stats.t.interval(0.95, 39, 0.7, stats.sem(correct_N))
    assert estimate.ci95 == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize('shift', [0.0, 0.5, 1.0])
def test_with_one_number_per_speaker_p_is_nearly_that_of_the_t_test(shift):
    """Differences of thirty speakers from a normal distribution."""
    difference_S = np.random.default_rng(2).normal(shift, 2, 30)
    estimate = bootstrap.bootstrap_estimate(RecallTerm(1, difference_S[:, None], np.ones((30, 1))))
    assert estimate.p == pytest.approx(stats.ttest_1samp(difference_S, 0).pvalue, abs=0.03)
    standard_error = stats.sem(difference_S)
    expected = stats.t.interval(0.95, 29, difference_S.mean(), standard_error)
    assert estimate.ci95 == pytest.approx(expected, abs=0.05)
    low, high = estimate.ci95
    assert (estimate.p < 0.05) == (not low <= 0 <= high)


def test_holm_is_the_step_down_correction():
    """Of a textbook's four; equal ones stay equal, and the order is kept."""
    corrected = bootstrap.holm_correction([0.01, 0.04, 0.03, 0.005])
    assert corrected == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert bootstrap.holm_correction([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert bootstrap.holm_correction([]) == []


@pytest.mark.parametrize(
    'name',
    [
        pytest.param('UAR, voices differ', marks=pytest.mark.gate),
        'difference in UAR, 3 % gained, 2 % lost',
        pytest.param('CCC, voices differ, one rating', marks=pytest.mark.gate),
        pytest.param('difference in CCC, another slope', marks=pytest.mark.gate),
    ],
)
def test_intervals_of_24_speakers_include_the_true_value_as_often_as_they_should(name):
    """Of 600 simulated corpora 93 to 97 %; tests/benchmarks/intervals.py measures more of them."""
    case = intervals.simulated_cases()[name]
    covered, covered_by_percentiles, _ = intervals.coverage(case, 24, 600)
    assert 0.93 <= covered <= 0.97
    assert covered_by_percentiles < covered


def correct_one_utterance_per_speaker(seed: SeedPredictions) -> SeedPredictions:
    """Returns the predictions with one error of every speaker corrected."""
    predicted_N = seed.predicted_N.copy()
    for speaker in np.unique(seed.speaker_N):
        wrong_N = (seed.speaker_N == speaker) & (seed.truth_N != seed.predicted_N)
        first = np.flatnonzero(wrong_N)[:1]
        predicted_N[first] = seed.truth_N[first]
    return seed._replace(predicted_N=predicted_N)


def test_a_difference_is_of_pairs():
    """Zero for equal predictions, and certain where one utterance more of everybody is correct."""
    seeds = make_predictions(speakers=8, spread=0.3)
    counts = count(seeds)
    assert bootstrap.difference_estimate(counts, counts) == (0.0, (0.0, 0.0), 1.0)
    better_counts = count([correct_one_utterance_per_speaker(seed) for seed in seeds])
    gain = bootstrap.difference_estimate(better_counts, counts)
    low, high = gain.ci95
    assert 0 < low < high
    uar_low, uar_high = bootstrap.measure_estimate(counts).ci95
    assert high - low < 0.5 * (uar_high - uar_low)
    loss = bootstrap.difference_estimate(counts, better_counts)
    assert gain.value == pytest.approx(-loss.value)
    assert gain.ci95 == pytest.approx((-loss.ci95[1], -loss.ci95[0]))


def test_a_reference_may_have_other_seeds():
    """The averages over seeds are compared."""
    counts = count(make_predictions(seeds=3))
    reference = count(make_predictions(seeds=1))
    uar = bootstrap.measure_estimate(counts).value
    reference_uar = bootstrap.measure_estimate(reference).value
    difference = bootstrap.difference_estimate(counts, reference)
    assert difference.value == pytest.approx(uar - reference_uar)


def interval_width(seeds: list[SeedPredictions]) -> float:
    low, high = bootstrap.measure_estimate(count(seeds)).ci95
    return high - low


@pytest.mark.parametrize(('spread', 'is_wide'), [(0.3, True), (0.0, False)])
def test_the_interval_is_wide_where_speakers_differ(spread, is_wide):
    """Compared with an interval that treats every utterance as a speaker of its own."""
    seeds = make_predictions(speakers=12, utterances=30, seeds=1, spread=spread, accuracy=0.5)
    naive = [seed._replace(speaker_N=np.arange(len(seed.truth_N))) for seed in seeds]
    ratio = interval_width(seeds) / interval_width(naive)
    assert ratio > 2 if is_wide else ratio < 1.5


def test_more_seeds_are_not_more_speakers():
    """Seeds that agree make the interval no narrower: they have the same draws."""
    seeds = make_predictions(speakers=8, seeds=1, spread=0.3)
    nine = bootstrap.measure_estimate(count(seeds * 9))
    one = bootstrap.measure_estimate(count(seeds))
    assert nine.value == pytest.approx(one.value)
    assert nine.ci95 == pytest.approx(one.ci95)


@pytest.mark.parametrize('speakers', [1, 5])
def test_few_speakers_have_no_interval(speakers):
    """Two speakers once gave an interval that excluded 0."""
    estimate = bootstrap.measure_estimate(count(make_predictions(speakers=speakers)))
    assert 0 < estimate.value < 1
    assert estimate.ci95 is None
    assert estimate.p is None
    assert bootstrap.interval_coverage(speakers, UAR) is None


def test_without_utterances_the_uar_is_nan():
    """There is no warning."""
    assert np.isnan(bootstrap.uar_from_counts(np.zeros((2, C, C), int))).all()


@pytest.mark.parametrize('changed', [{'speakers': 6}, {'utterances': 11}])
def test_results_on_different_utterances_are_not_compared(changed):
    counts = count(make_predictions())
    other_counts = count(make_predictions(**changed))
    with pytest.raises(UserError, match='same split_sha256'):
        bootstrap.difference_estimate(counts, other_counts)


def test_a_small_p_value_may_survive_many_comparisons():
    """A difference that hardly any draw reaches has a p-value far below 1 in 2,000.

    One of the usual size has that of 2,000 draws.
    """
    random = np.random.default_rng(0)
    total_SxC = np.full((24, 2), 50)

    def p_value(difference: float) -> float:
        recall_SxC = np.clip(random.normal(0.5 + difference, 0.02, (24, 2)), 0, 1)
        term = RecallTerm(1, recall_SxC * total_SxC, total_SxC)
        reference = RecallTerm(-1, 0.5 * total_SxC, total_SxC)
        return bootstrap.bootstrap_estimate(term, reference).p

    assert p_value(0.2) * 104 < 0.01
    assert round(p_value(0.002) * (bootstrap.DRAWS + 1), 6).is_integer()


def test_draws_do_not_depend_on_how_many_are_drawn_at_once():
    random = np.random.default_rng(0)
    expected_QxS = random.multinomial(900, np.full(900, 1 / 900), 200)
    assert expected_QxS.size > bootstrap.BLOCK_SIZE
    np.testing.assert_array_equal(bootstrap.bootstrap_weights(900, 200), expected_QxS)


def test_nobody_can_change_the_shared_draws():
    with pytest.raises(ValueError, match='read-only'):
        bootstrap.bootstrap_weights(7)[0, 0] = 1


def test_estimates_do_not_depend_on_the_size_of_blocks(monkeypatch):
    random = np.random.default_rng(0)
    total_SxC = random.integers(5, 9, (7, 3))
    terms = [RecallTerm(sign, random.binomial(total_SxC, 0.6), total_SxC) for sign in (1, -1)]
    expected = bootstrap.bootstrap_estimate(*terms)
    monkeypatch.setattr(bootstrap, 'BLOCK_SIZE', 30)
    estimate = bootstrap.bootstrap_estimate(*terms)
    assert estimate.ci95 == pytest.approx(expected.ci95, abs=1e-12)
    assert estimate.p == expected.p


@pytest.mark.parametrize(
    ('speakers', 'draws'), [(6, 50_000), (300, 50_000), (600, 25_000), (5_000, 10_000)]
)
def test_many_speakers_have_fewer_draws_of_small_p_values(speakers, draws):
    assert bootstrap.rare_draws(speakers) == draws
