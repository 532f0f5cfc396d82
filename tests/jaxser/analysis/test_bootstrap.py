"""The bootstrap over speakers against plain Python, closed forms, scipy and scikit-learn, and the coverage of its intervals."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import recall_score

from data_pipelines.errors import UserError
from jaxser.analysis import bootstrap
from tests.benchmarks import intervals

C = 3


def people(
    speakers: int = 5, each: int = 12, seeds: int = 2, spread: float = 0.0, accuracy: float = 0.6
) -> list[tuple]:
    """(speaker_N, truth_N, predicted_N) of each seed; speakers differ in accuracy by `spread`."""
    r = np.random.default_rng(0)
    speaker_N = r.permutation(np.repeat([f's{n:02}' for n in range(speakers)], each))
    truth_N = r.integers(0, C, len(speaker_N))
    right = dict(
        zip(np.unique(speaker_N), np.clip(accuracy + spread * r.normal(size=speakers), 0, 1))
    )
    p_N = np.array([right[s] for s in speaker_N])
    return [
        (
            speaker_N,
            truth_N,
            np.where(r.random(len(p_N)) < p_N, truth_N, (truth_N + r.integers(1, C, len(p_N))) % C),
        )
        for _ in range(seeds)
    ]


def counts(seeds: list[tuple], classes: int = C) -> np.ndarray:
    return np.stack([bootstrap.speaker_confusions(*seed, classes) for seed in seeds])


def by_hand(seeds: list[tuple], weight_S) -> float:
    """The UAR of a draw: every utterance of every speaker drawn, as often as drawn, in lists."""
    found = []
    for speaker_N, truth_N, predicted_N in seeds:
        recalls = []
        for c in range(C):
            right = [
                int(p == c)
                for name, weight in zip(sorted(set(speaker_N)), weight_S)
                for _ in range(int(weight))
                for s, t, p in zip(speaker_N, truth_N, predicted_N)
                if s == name and t == c
            ]
            if right:
                recalls.append(sum(right) / len(right))
        found.append(sum(recalls) / len(recalls))
    return sum(found) / len(found)


def test_every_draw_is_what_plain_python_makes_of_it():
    """All 40 draws of six speakers, with a class that some draws lack; the value and the interval are theirs."""
    seeds = people(speakers=6, each=5)
    seeds = [(s, np.where((t == 2) & (s != 's00'), 0, t), p) for s, t, p in seeds]
    weight_QxS = bootstrap.bootstrap_weights(6, 40)
    assert (weight_QxS[:, 0] == 0).any()
    expected = [by_hand(seeds, weight_S) for weight_S in weight_QxS]
    drawn = lambda weight_QxS: bootstrap.mean_recall(
        *bootstrap._correct_and_total(counts(seeds)), weight_QxS
    )  # noqa: E731
    np.testing.assert_allclose(drawn(weight_QxS)[0], expected, atol=1e-12)
    assert bootstrap.uar_estimate(counts(seeds)).value == pytest.approx(
        by_hand(seeds, np.ones(6)), abs=1e-12
    )
    step = 1e-6  # the influence of a speaker is the derivative by its weight
    for s in range(6):
        more = (drawn(weight_QxS + step * (np.arange(6) == s))[0] - drawn(weight_QxS)[0]) / step
        heard = weight_QxS[:, s] > 0  # a speaker more may bring a class more
        np.testing.assert_allclose(drawn(weight_QxS)[1][heard, s], more[heard], atol=1e-5)


def test_the_uar_is_that_of_scikit_learn_averaged_over_seeds():
    """Of all utterances of a seed together, whoever says them."""
    seeds = people(seeds=3, spread=0.2)
    expected = np.mean([recall_score(t, p, average='macro') for _, t, p in seeds])
    assert bootstrap.uar_estimate(counts(seeds)).value == pytest.approx(expected, abs=1e-12)


def test_a_draw_holds_as_many_speakers_as_there_are():
    """2,000 draws with replacement, uniform, and the same ones every time."""
    weight_QxS = bootstrap.bootstrap_weights(7)
    assert weight_QxS.shape == (2000, 7)
    assert (weight_QxS.sum(1) == 7).all()
    np.testing.assert_allclose(weight_QxS.mean(0), 1, atol=0.1)
    assert weight_QxS.var(0).mean() == pytest.approx(1 - 1 / 7, rel=0.05)
    np.testing.assert_array_equal(weight_QxS, bootstrap.bootstrap_weights(7))


def test_of_one_utterance_a_speaker_it_is_nearly_students_interval():
    """Forty speakers, one class, 28 right: the mean of forty numbers, 0 or 1, whose standard error is in every textbook."""
    speaker_N, zero_N = np.arange(40), np.zeros(40, int)
    right_N = np.arange(40) < 28
    found = bootstrap.uar_estimate(counts([(speaker_N, zero_N, np.where(right_N, 0, 1))]))
    assert found.value == pytest.approx(0.7)
    expected = stats.t.interval(0.95, 39, 0.7, stats.sem(right_N))
    assert found.ci95 == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize('shift', [0.0, 0.5, 1.0])
def test_of_one_number_a_speaker_p_is_nearly_that_of_scipys_t_test(shift):
    """Differences of thirty speakers that are normal."""
    difference_S = np.random.default_rng(2).normal(shift, 2, 30)
    found = bootstrap.bootstrap_estimate((1, difference_S[:, None], np.ones((30, 1))))
    assert found.p == pytest.approx(stats.ttest_1samp(difference_S, 0).pvalue, abs=0.03)
    assert found.ci95 == pytest.approx(
        stats.t.interval(0.95, 29, difference_S.mean(), stats.sem(difference_S)), abs=0.05
    )
    assert (found.p < 0.05) == (not found.ci95[0] <= 0 <= found.ci95[1])


def test_holm_is_the_step_down_correction():
    """The textbook's four; equal ones stay equal, and none falls below one that is smaller."""
    assert bootstrap.holm_correction([0.01, 0.04, 0.03, 0.005]) == pytest.approx(
        [0.03, 0.06, 0.06, 0.02]
    )
    assert bootstrap.holm_correction([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert bootstrap.holm_correction([]) == []


@pytest.mark.parametrize('case', [pytest.param('UAR', marks=pytest.mark.gate), 'difference'])
def test_intervals_of_24_speakers_hold_the_truth_as_often_as_they_say(case):
    """Of 600 simulated corpora 93 to 97 %; tests/benchmarks/intervals.py does 2,000, and 6 and 10 speakers too."""
    if case == 'UAR':
        sizes = intervals.UARS['voices differ']
        simulate, true = intervals.of_uar, intervals.truth(*sizes)
    else:
        sizes = intervals.DIFFERENCES['3 % gained, 2 % lost']
        simulate, true = intervals.of_difference, sizes[0] - sizes[1]
    held, percentile, _ = intervals.covered(
        lambda random, S: simulate(random, S, *sizes), true, 24, 600
    )
    assert 0.93 <= held <= 0.97
    assert percentile < held


def test_a_difference_is_of_pairs():
    """Nothing differs from itself in any draw; what is right on one more utterance of everybody is above 0 for sure."""
    seeds = people(speakers=8, spread=0.3)
    itself = bootstrap.difference_estimate(counts(seeds), counts(seeds))
    assert itself == (0.0, (0.0, 0.0), 1.0)
    better = []
    for speaker_N, truth_N, predicted_N in seeds:
        wrong = [
            np.flatnonzero((speaker_N == s) & (truth_N != predicted_N))[:1]
            for s in np.unique(speaker_N)
        ]
        mended_N = predicted_N.copy()
        mended_N[np.concatenate(wrong)] = truth_N[np.concatenate(wrong)]
        better.append((speaker_N, truth_N, mended_N))
    low, high = bootstrap.difference_estimate(counts(better), counts(seeds)).ci95
    assert 0 < low < high
    assert high - low < 0.5 * np.diff(bootstrap.uar_estimate(counts(seeds)).ci95)[0]
    there, back = (
        bootstrap.difference_estimate(counts(better), counts(seeds)),
        bootstrap.difference_estimate(counts(seeds), counts(better)),
    )
    assert (there.value, *there.ci95) == pytest.approx((-back.value, -back.ci95[1], -back.ci95[0]))


def test_a_reference_may_have_other_seeds():
    """The averages over seeds are compared."""
    seeds, others = people(seeds=3), people(seeds=1)
    expected = (
        bootstrap.uar_estimate(counts(seeds)).value - bootstrap.uar_estimate(counts(others)).value
    )
    assert bootstrap.difference_estimate(counts(seeds), counts(others)).value == pytest.approx(
        expected
    )


def test_speakers_who_differ_make_the_interval_wide():
    """Half of them easy, half hard: far wider than if each utterance stood for itself, and hardly so where none differ."""

    def widths(spread: float) -> tuple[float, float]:
        seeds = people(speakers=12, each=30, seeds=1, spread=spread, accuracy=0.5)
        alone = [(np.arange(len(t)), t, p) for _, t, p in seeds]
        return tuple(
            float(np.diff(bootstrap.uar_estimate(counts(x)).ci95)[0]) for x in (seeds, alone)
        )

    clustered, naive = widths(0.3)
    assert clustered > 2 * naive
    clustered, naive = widths(0.0)
    assert clustered < 1.5 * naive


def test_seeds_do_not_stand_for_speakers():
    """Seeds that agree narrow nothing: the draw is the same for all of them."""
    seeds = people(speakers=8, seeds=1, spread=0.3)
    nine, one = bootstrap.uar_estimate(counts(seeds * 9)), bootstrap.uar_estimate(counts(seeds))
    assert (nine.value, *nine.ci95) == pytest.approx((one.value, *one.ci95))


@pytest.mark.parametrize('speakers', [1, 5])
def test_of_few_speakers_there_is_no_interval(speakers):
    """The figure alone: two speakers once gave an interval that excluded 0."""
    found = bootstrap.uar_estimate(counts(people(speakers=speakers)))
    assert 0 < found.value < 1
    assert found.ci95 is None
    assert found.p is None
    assert bootstrap.interval_coverage(speakers) is None


def test_no_utterances_have_no_uar():
    """NaN, without a warning."""
    assert np.isnan(bootstrap.uar_from_counts(np.zeros((2, C, C), int))).all()


@pytest.mark.parametrize('other', [{'speakers': 6}, {'each': 11}])
def test_other_utterances_are_refused(other):
    """What is compared must have been tested on the same."""
    with pytest.raises(UserError, match='same split_sha256'):
        bootstrap.difference_estimate(counts(people()), counts(people(**other)))


def test_a_small_p_value_may_survive_many_comparisons():
    """A difference that hardly any draw reaches has a p far below 1 in 2,000; one of the usual size has that of 2,000 draws."""
    random = np.random.default_rng(0)
    said_SxC = np.full((24, 2), 50)

    def p(mean: float) -> float:
        right_SxC = np.clip(random.normal(0.5 + mean, 0.02, (24, 2)), 0, 1) * said_SxC
        return bootstrap.bootstrap_estimate(
            (1, right_SxC, said_SxC), (-1, 0.5 * said_SxC, said_SxC)
        ).p

    assert p(0.2) * 104 < 0.01
    assert round(p(0.002) * (bootstrap.DRAWS + 1), 6).is_integer()
