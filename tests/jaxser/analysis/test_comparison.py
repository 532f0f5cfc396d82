"""Tests of the table over methods: coefficients chosen on dev, and plain training beside them."""

import numpy as np
import pytest
from helpers import rating_sweeps
from helpers.compared_sweeps import RUNS, RUNS_WITHOUT_ERM, replace_seed, write_sweep

from jaxser.analysis.comparison import ComparisonRow, comparison_rows
from jaxser.analysis.finished import read_finished_sweep
from jaxser.analysis.measure import CCC, UAR


def test_dev_chooses_in_every_fold_separately(tmp_path):
    """0.3 in the first fold and 1 in the second, though 1 is better on test in both.

    A coefficient that diverged is not chosen.
    """
    erm, dann = comparison_rows(write_sweep(tmp_path / 'w'))
    assert dann.coefficients == ['lam 0.3', 'lam 1']
    assert dann.dev_uar == pytest.approx(0.7)
    mean = (0.75 + 1.0) / 2  # eight speakers, four at 0.75 and four at 1
    assert dann.uar.value == pytest.approx(mean)
    assert erm.uar.value == pytest.approx(0.5)
    assert dann.gain.value == pytest.approx(0.375)
    assert erm.gain is None
    assert dann.sd == pytest.approx(0)


def test_without_plain_training_there_is_no_gain(tmp_path):
    (dann,) = comparison_rows(write_sweep(tmp_path / 'w', RUNS_WITHOUT_ERM))
    assert dann.gain is None


def test_lam_0_is_plain_training(tmp_path):
    """Without erm, lam = 0 of an adversary is a row of its own that dev cannot choose."""
    runs = {}
    for (method, lam), value in RUNS_WITHOUT_ERM.items():
        runs[method, 0.0 if lam == 0.3 else lam] = value
    plain, dann = comparison_rows(write_sweep(tmp_path / 'w', runs))
    assert (plain.method, dann.method) == ('dann, lam = 0', 'dann')
    assert dann.coefficients == ['lam 1', 'lam 1']
    assert dann.gain.value == pytest.approx(0.25)


def test_where_every_coefficient_diverged_there_is_no_figure(tmp_path):
    """The row says so; plain training beside it has its figures."""
    runs = {key: RUNS[key] for key in (('erm', None), ('dann', 3.0))}
    erm, dann = comparison_rows(write_sweep(tmp_path / 'w', runs))
    assert erm.uar.value == pytest.approx(0.5)
    assert dann == ComparisonRow({}, 'dann', ['diverged in fold 0, 1'])


def test_intervals_are_over_speakers(tmp_path):
    """Where speakers are all right or all wrong, sixteen utterances of each count like one."""
    sweep = write_sweep(tmp_path / 'w')
    predictions = {}
    for run, predicted in sweep.predictions.items():
        correct_N = np.isin(predicted.speaker_N, list('aceg'))
        predicted_N = np.where(correct_N, predicted.truth_N, 1 - predicted.truth_N)
        predictions[run] = predicted._replace(predicted_N=predicted_N)
    row = comparison_rows(sweep._replace(predictions=predictions))[0]
    assert row.uar.value == pytest.approx(0.5)
    low, high = row.uar.ci95
    assert low < 0.1
    assert high > 0.9


def test_the_methods_of_a_setting_are_together(tmp_path):
    """In whatever order the programs ran: a reader compares within a setting."""
    rows = comparison_rows(replace_seed(write_sweep(tmp_path / 'w'), 'model.width', 8, 16))
    assert [(row.setting['model.width'], row.method) for row in rows] == [
        (8, 'erm'),
        (8, 'dann'),
        (16, 'erm'),
        (16, 'dann'),
    ]


def test_batch_norm_arms_are_also_compared_with_joint_plain_training(tmp_path):
    """An adversary's gain is over plain training in its arm; that of the arm has its own column."""
    sweep = replace_seed(write_sweep(tmp_path / 'w'), 'model.batch_norm', 'joint', 'domain')
    rows = {(row.setting['model.batch_norm'], row.method): row for row in comparison_rows(sweep)}
    joint_erm, joint_dann = rows['joint', 'erm'], rows['joint', 'dann']
    domain_erm, domain_dann = rows['domain', 'erm'], rows['domain', 'dann']
    assert joint_erm.gain is None
    assert domain_erm.gain is None
    assert joint_dann.gain is not None
    assert domain_dann.gain is not None
    assert joint_erm.gain_over_joint is None
    assert domain_erm.gain_over_joint is not None
    assert joint_dann.gain_over_joint == joint_dann.gain
    difference = domain_dann.uar.value - joint_erm.uar.value
    assert domain_dann.gain_over_joint.value == pytest.approx(difference)


def test_leakage_is_the_mean_over_the_chosen_runs(tmp_path):
    """By the domain that is forgotten; for speakers, with that of unseen speakers."""
    sweep = write_sweep(tmp_path / 'w')
    sweep.metadata['config']['domain'] = 'speaker'
    for run in sweep.results['runs']:
        recall = 0.5 + 0.1 * run['hyper']['fold']
        if run['hyper']['method'] == 'dann':
            recall += 0.2
        run['probe'] = None
        if run['status'] == 'ok':
            unseen = {'linear': 0.5, 'knn': 0.6, 'chance': 0.5}
            run['probe'] = {
                'speaker': {'linear': recall, 'chance': 0.25},
                'unseen_speaker': unseen,
            }
    erm, dann = comparison_rows(sweep)
    for row, recall in ((erm, 0.55), (dann, 0.75)):
        assert row.leakage.keys() == {'speaker', 'unseen_speaker'}
        assert row.leakage['speaker']['strongest'] == pytest.approx(recall)
        assert row.leakage['speaker']['chance'] == pytest.approx(0.25)
        assert row.leakage['unseen_speaker']['attacker'] == 'knn'


def test_the_number_of_enrolled_utterances_is_not_chosen_on_dev(tmp_path):
    """Every number has rows of its own, compared with plain training with the same number."""
    rows = comparison_rows(replace_seed(write_sweep(tmp_path / 'w'), 'enrol', 0, 'all'))
    assert [(row.setting['enrol'], row.method) for row in rows] == [
        (0, 'erm'),
        (0, 'dann'),
        ('all', 'erm'),
        ('all', 'dann'),
    ]
    for row in rows:
        assert all('enrol' not in coefficient for coefficient in row.coefficients)
        assert (row.gain is None) == (row.method == 'erm')


def test_the_ccc_on_dev_chooses_for_ratings(tmp_path):
    """1 is the best on dev, and 0.3 on test; the gain is that of the pooled CCC."""
    rating_sweeps.write_sweep(tmp_path / 'w', probed=False)
    plain, adversary = comparison_rows(read_finished_sweep(tmp_path / 'w'))
    assert adversary.coefficients == ['lam 1', 'lam 1']
    assert (adversary.measure, adversary.uar, adversary.dev_uar) == (CCC, None, None)
    assert adversary.dev_main == adversary.dev_ccc == pytest.approx(0.7)
    assert adversary.main == adversary.ccc
    assert adversary.gain.value == pytest.approx(adversary.ccc.value - plain.ccc.value)
    low, high = adversary.gain.ci95
    assert 0 < low < high
    assert adversary.statistics.value_by_seed().mean() == pytest.approx(adversary.ccc.value)


def test_both_measures_of_a_multi_task_sweep_are_in_a_row(tmp_path):
    """The main one is that which selects the epoch."""
    path = tmp_path / 'w'
    rating_sweeps.write_sweep(path, 'emotion+ratings', probed=False, select='best dev UAR')
    _, adversary = comparison_rows(read_finished_sweep(path))
    assert (adversary.measure, adversary.main, adversary.dev_main) == (
        UAR,
        adversary.uar,
        adversary.dev_uar,
    )
    assert adversary.ccc.ci95[0] < adversary.ccc.value < adversary.ccc.ci95[1]
    assert adversary.dev_ccc == pytest.approx(0.7)
