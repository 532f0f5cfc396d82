"""Tests of the rows of the enrolment curve: means over draws, paired differences, intervals."""

import numpy as np
import pytest

from jaxser.analysis import bootstrap, concordance, enrolment
from jaxser.analysis.enrolment import DrawStatistics, Measured, RecallCounts, curve_rows
from jaxser.analysis.statistics import ConcordanceStatistics, RecallStatistics

SPEAKERS, C = 8, 2


def measure(*correct_by_seed, total=10, utterances=0.0, answers=()) -> Measured:
    """Returns what was measured with these counts_ExS of right answers, in each class, by seed.

    `total` is the number of utterances of each speaker and class, or that of each draw.
    """
    correct_ExZxS = np.stack([np.array(correct_ExS) for correct_ExS in correct_by_seed], 1)
    correct_ExZxSxC = np.repeat(correct_ExZxS[..., None], C, -1)
    total_ExSxC = np.ones(correct_ExZxSxC[:, 0].shape) * np.reshape(total, (-1, 1, 1))
    by_draw = list(map(RecallCounts, correct_ExZxSxC, total_ExSxC))
    return Measured(DrawStatistics(by_draw), utterances, list(answers))


def answer(recall: float) -> dict:
    """Returns the answer to the question about unseen speakers of a run."""
    return {'linear': recall - 0.2, 'rbf': recall, 'chance': 0.25, 'classes': 4, 'n': 40}


def test_uar_is_the_mean_over_draws_of_the_pooled_uar():
    """Not the UAR of all draws together, in which a draw of more utterances would count more."""
    point = measure([[10, 4], [20, 20]], total=[10, 20], utterances=3.5)
    (row,) = curve_rows({'lam': 0.5}, {('any', 0): point})
    assert row['uar'] == pytest.approx((0.7 + 1.0) / 2)
    assert row['lam'] == 0.5
    assert (row['enrol_from'], row['enrol'], row['utterances']) == ('any', 0, 3.5)
    assert row['uar_ci95'] is None, 'two speakers are too few'
    assert row['delta_uar'] is None
    assert row['unseen_speaker'] is None


def test_seeds_are_averaged():
    point = measure([[2] * SPEAKERS], [[6] * SPEAKERS])
    (row,) = curve_rows({}, {('any', 0): point})
    assert row['uar'] == pytest.approx(0.4)


def test_intervals_of_equal_draws_are_those_of_one_draw():
    """Another draw of the same utterances adds nothing: the intervals are about speakers."""
    correct_S = np.array([1, 3, 4, 5, 6, 7, 8, 9])
    (row,) = curve_rows({}, {('any', 0): measure([correct_S])})
    (repeated,) = curve_rows({}, {('any', 0): measure([correct_S] * 3)})
    assert repeated['uar_ci95'] == pytest.approx(row['uar_ci95'])
    wrong_S = 10 - correct_S
    count_1xSxCxC = np.array([[correct_S, wrong_S], [wrong_S, correct_S]]).T[None]
    assert row['uar_ci95'] == pytest.approx(
        bootstrap.measure_estimate(RecallStatistics(count_1xSxCxC)).ci95
    )


def test_differences_are_paired_and_against_no_enrolment_from_the_same_source():
    """Every speaker gains 0.1 from `any`: no doubt, although speakers differ by far more."""
    plain = np.array([[1, 3, 4, 5, 6, 7, 8, 9], [2, 3, 4, 5, 6, 7, 8, 9]])
    measured = {
        ('any', 0): measure(plain),
        ('any', 'all'): measure(plain + 1),
        ('one', 0): measure(plain + 1),
        ('one', 'all'): measure(plain),
    }
    rows = curve_rows({}, measured)
    assert [row['delta_uar'] for row in rows[::2]] == [None, None]
    assert rows[1]['delta_uar'] == pytest.approx(0.1)
    assert rows[1]['delta_ci95'] == pytest.approx((0.1, 0.1))
    assert rows[3]['delta_uar'] == pytest.approx(-0.1)
    low, high = rows[1]['uar_ci95']
    assert high - low > 0.2


def measure_ratings(random: np.random.Generator, noise: float, draws: int = 1) -> Measured:
    """Returns what was measured of one rating, predicted with this noise, in several draws.

    The true ratings are always the same; `random` is for the noise.
    """
    by_draw = []
    truth_random = np.random.default_rng(1)
    for _ in range(draws):
        speaker_N = np.repeat(np.arange(SPEAKERS), 20)
        truth_Nx1 = truth_random.uniform(-1, 1, (len(speaker_N), 1))
        predicted_Nx1 = truth_Nx1 + noise * random.normal(size=truth_Nx1.shape)
        moment_SxAx6 = concordance.speaker_moments(speaker_N, truth_Nx1, predicted_Nx1)
        by_draw.append(ConcordanceStatistics(moment_SxAx6[None]))
    return Measured(DrawStatistics(by_draw), 0.0, [])


def test_of_ratings_a_row_has_the_mean_ccc_over_the_draws():
    """With the interval of a single draw if there is one, and a difference to none enrolled."""
    random = np.random.default_rng(0)
    none, enrolled = measure_ratings(random, 0.5, draws=2), measure_ratings(random, 0.2, draws=2)
    row, better = curve_rows({}, {('any', 0): none, ('any', 8): enrolled})
    by_draw = [statistics.value_by_seed()[0] for statistics in none.statistics.by_draw]
    assert row['ccc'] == pytest.approx(np.mean(by_draw), abs=1e-12)
    assert row['ccc_ci95'][0] < row['ccc'] < row['ccc_ci95'][1] < 1
    assert better['delta_ccc'] == pytest.approx(better['ccc'] - row['ccc'], abs=1e-12)
    assert better['delta_ci95'][0] > 0
    assert not [key for key in row if 'uar' in key]
    assert enrolment.setting_keys({'lam': 0.3} | row) == ['lam']
    single = measure_ratings(random, 0.5)
    (row,) = curve_rows({}, {('any', 0): single})
    expected = bootstrap.measure_estimate(single.statistics.by_draw[0])
    assert row['ccc_ci95'] == pytest.approx(expected.ci95, abs=1e-12)


def test_leakage_is_the_strongest_mean_over_the_runs():
    point = measure([[5] * SPEAKERS], answers=[answer(0.6), answer(0.8)])
    (row,) = curve_rows({}, {('any', 0): point})
    unseen = row['unseen_speaker']
    assert unseen['strongest'] == pytest.approx(0.7)
    assert (unseen['attacker'], unseen['chance']) == ('rbf', 0.25)


def test_rows_are_found_by_setting_and_source_with_all_as_the_last():
    rows = []
    for enrol in ('all', 8, 0, 16):
        for source in ('one', 'any'):
            rows.append({'lam': 0.3, 'enrol_from': source, 'enrol': enrol, 'uar': 0.5})
    results = {'enrolment': {'draws': 10, 'rows': rows}}
    by_title = enrolment.rows_by_title(results, {'method': 'dann'})
    assert list(by_title) == ['dann, lam = 0.3']
    chosen = enrolment.rows_from(by_title['dann, lam = 0.3'], 'one')
    assert [row['enrol'] for row in chosen] == [0, 8, 16, 'all']
    assert {row['enrol_from'] for row in chosen} == {'one'}


def test_results_of_an_earlier_version_have_no_curve():
    assert enrolment.rows_by_title({'summary': []}, {'method': 'dann'}) == {}
