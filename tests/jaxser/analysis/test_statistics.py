"""Tests of the bootstrap of CCC: draws, influences, paired differences."""

import numpy as np
import pytest
from scipy import stats

from data_pipelines.errors import UserError
from jaxser.analysis import bootstrap, concordance
from jaxser.analysis.measure import CCC, UAR
from jaxser.analysis.statistics import ConcordanceStatistics, RecallStatistics

A = 2


def make_predictions(speakers: int = 8, seeds: int = 2, noise: float = 0.2) -> tuple:
    """Returns (speaker_N, truth_NxA, [predicted_NxA of each seed]); speakers have offsets."""
    random = np.random.default_rng(1)
    count_S = random.integers(4, 12, speakers)
    speaker_N = np.repeat([f's{n:02}' for n in range(speakers)], count_S)
    truth_NxA = random.normal(0, 0.3, (len(speaker_N), A))
    offset_NxA = np.repeat(random.normal(0, 0.1, (speakers, A)), count_S, axis=0)
    predictions = []
    for _ in range(seeds):
        noise_NxA = random.normal(0, noise, truth_NxA.shape)
        predictions.append(0.7 * truth_NxA + offset_NxA + noise_NxA)
    return speaker_N, truth_NxA, predictions


def make_statistics(*args, **kwargs) -> ConcordanceStatistics:
    """Returns the statistics of made-up predictions."""
    speaker_N, truth_NxA, predictions = make_predictions(*args, **kwargs)
    moments = []
    for predicted_NxA in predictions:
        moments.append(concordance.speaker_moments(speaker_N, truth_NxA, predicted_NxA))
    return ConcordanceStatistics(np.stack(moments))


def test_every_draw_is_the_ccc_of_its_utterances():
    """Each utterance as often as its speaker is drawn; mean over ratings and seeds."""
    speaker_N, truth_NxA, predictions = make_predictions()
    weight_QxS = bootstrap.bootstrap_weights(8, 20)
    ccc_Q, _ = make_statistics().term().evaluate(weight_QxS)
    _, index_N = np.unique(speaker_N, return_inverse=True)
    for ccc, weight_S in zip(ccc_Q, weight_QxS):
        rows = np.repeat(np.arange(len(speaker_N)), weight_S[index_N])
        values = []
        for predicted_NxA in predictions:
            for a in range(A):
                values.append(concordance.concordance(truth_NxA[rows, a], predicted_NxA[rows, a]))
        assert ccc == pytest.approx(np.mean(values), abs=1e-12)


@pytest.mark.parametrize('scale', ['plain', 'Fisher'])
def test_the_influence_of_a_speaker_is_the_derivative_by_its_weight(scale):
    """On the scale of CCC, and on that of Fisher's z."""
    term = make_statistics().term()
    if scale == 'Fisher':
        term = bootstrap.FisherTerm(term)
    weight_QxS = bootstrap.bootstrap_weights(8, 40)
    _, influence_QxS = term.evaluate(weight_QxS)
    step = 1e-5
    for s in range(8):
        moved = step * (np.arange(8) == s)
        slope_Q = term.evaluate(weight_QxS + moved)[0] - term.evaluate(weight_QxS - moved)[0]
        np.testing.assert_allclose(influence_QxS[:, s], slope_Q / (2 * step), atol=1e-6)


def test_the_value_is_the_mean_over_seeds_and_lies_in_its_interval():
    statistics = make_statistics(seeds=3)
    estimate = bootstrap.measure_estimate(statistics)
    assert estimate.value == pytest.approx(statistics.value_by_seed().mean(), abs=1e-12)
    low, high = estimate.ci95
    assert -1 < low < estimate.value < high < 1
    assert estimate.value - low > high - estimate.value, "Fisher's z: longer towards 0"
    assert estimate.p is None


def test_with_many_independent_speakers_the_interval_is_nearly_that_of_lin():
    """One utterance each: the variance of Fisher's z of CCC is known (Lin 1989, with r and u)."""
    random = np.random.default_rng(0)
    truth_N = random.normal(0, 0.3, 400)
    predicted_N = 0.8 * truth_N + random.normal(0.05, 0.15, 400)
    moment_SxAx6 = concordance.speaker_moments(
        np.arange(400), truth_N[:, None], predicted_N[:, None]
    )
    low, high = bootstrap.measure_estimate(ConcordanceStatistics(moment_SxAx6[None])).ci95
    r = stats.pearsonr(truth_N, predicted_N).statistic
    ccc = concordance.concordance(truth_N, predicted_N)
    u = (truth_N.mean() - predicted_N.mean()) / np.sqrt(truth_N.std() * predicted_N.std())
    variance = (1 - r**2) * ccc**2 / ((1 - ccc**2) * r**2)
    variance += 2 * ccc**3 * (1 - ccc) * u**2 / (r * (1 - ccc**2) ** 2)
    variance -= ccc**4 * u**4 / (2 * r**2 * (1 - ccc**2) ** 2)
    margin = stats.norm.ppf(0.975) * np.sqrt(variance / (400 - 2))
    expected = np.tanh([np.arctanh(ccc) - margin, np.arctanh(ccc) + margin])
    assert (low, high) == pytest.approx(expected, abs=0.006)


def test_a_system_differs_from_itself_by_exactly_zero():
    """With p = 1; also if a seed counts twice."""
    statistics = make_statistics()
    assert bootstrap.difference_estimate(statistics, statistics) == (0.0, (0.0, 0.0), 1.0)
    twice = ConcordanceStatistics(np.concatenate([statistics.moment_ZxSxAx6] * 2))
    assert bootstrap.difference_estimate(twice, statistics).value == pytest.approx(0, abs=1e-15)


def test_a_difference_is_of_pairs():
    """A little less noise for everybody is certain, although speakers differ by far more."""
    speaker_N, truth_NxA, (predicted_NxA,) = make_predictions(seeds=1)
    better_NxA = predicted_NxA + 0.1 * (truth_NxA - predicted_NxA)
    moments = []
    for own_NxA in (predicted_NxA, better_NxA):
        moments.append(concordance.speaker_moments(speaker_N, truth_NxA, own_NxA)[None])
    statistics, better = map(ConcordanceStatistics, moments)
    gain = bootstrap.difference_estimate(better, statistics)
    assert 0 < gain.ci95[0] < gain.value < gain.ci95[1]
    assert gain.p < 0.05
    low, high = bootstrap.measure_estimate(statistics).ci95
    assert gain.ci95[1] - gain.ci95[0] < 0.5 * (high - low)
    loss = bootstrap.difference_estimate(statistics, better)
    assert (loss.value, loss.p) == pytest.approx((-gain.value, gain.p))


def test_the_interval_of_a_difference_is_wider_the_fewer_speakers_there_are():
    """By sqrt(S / (S - 1)), as the simulations ask for; not that of a difference in UAR."""
    statistics, reference = make_statistics(seeds=1), make_statistics(seeds=2)
    terms = (statistics.term(), reference.term(sign=-1))
    low, high = bootstrap.bootstrap_estimate(*terms).ci95
    wide_low, wide_high = bootstrap.difference_estimate(statistics, reference).ci95
    assert wide_high - wide_low == pytest.approx((high - low) * np.sqrt(8 / 7))
    assert bootstrap.difference_factor(UAR, 8) == 1


def test_perfect_predictions_have_an_interval_without_width():
    speaker_N, truth_NxA, _ = make_predictions()
    moment_SxAx6 = concordance.speaker_moments(speaker_N, truth_NxA, truth_NxA)
    estimate = bootstrap.measure_estimate(ConcordanceStatistics(moment_SxAx6[None]))
    assert estimate.value == 1
    assert estimate.ci95 == pytest.approx((1, 1), abs=1e-5)


def test_few_speakers_have_no_interval():
    estimate = bootstrap.measure_estimate(make_statistics(speakers=5))
    assert 0 < estimate.value < 1
    assert estimate.ci95 is None
    assert bootstrap.interval_coverage(5, CCC) is None


def test_a_part_has_its_own_statistics():
    """Of some speakers, or of one rating."""
    statistics = make_statistics()
    by_rating = [statistics.select_rating(a).value_by_seed() for a in range(A)]
    np.testing.assert_allclose(np.mean(by_rating, axis=0), statistics.value_by_seed())
    mask_S = np.arange(8) < 3
    part = statistics.select_speakers(mask_S)
    assert (statistics.speakers, part.speakers) == (8, 3)
    rest = statistics.select_speakers(~mask_S)
    assert part.utterances + rest.utterances == statistics.utterances


def test_other_ratings_or_other_measures_are_not_compared():
    """The truth must be equal; the order of utterances does not matter."""
    speaker_N, truth_NxA, (predicted_NxA, _) = make_predictions()
    order_N = np.random.default_rng(0).permutation(len(speaker_N))
    statistics, shuffled, other = (
        ConcordanceStatistics(concordance.speaker_moments(*columns)[None])
        for columns in (
            (speaker_N, truth_NxA, predicted_NxA),
            (speaker_N[order_N], truth_NxA[order_N], predicted_NxA[order_N]),
            (speaker_N, 0.99 * truth_NxA, predicted_NxA),
        )
    )
    difference = bootstrap.difference_estimate(statistics, shuffled)
    assert difference.value == pytest.approx(0, abs=1e-12)
    recalls = RecallStatistics(np.ones((1, 8, 2, 2), int))
    assert (recalls.measure, statistics.measure) == (UAR, CCC)
    for wrong in (other, recalls):
        with pytest.raises(UserError, match='same split_sha256'):
            bootstrap.difference_estimate(statistics, wrong)
