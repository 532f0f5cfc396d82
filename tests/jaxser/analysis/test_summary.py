"""Tests of the summary: the figures of a row, and what each is compared with."""

import numpy as np
import pytest
from helpers.finished_sweeps import as_block

from configs import base
from jaxser.analysis import bootstrap, concordance, summary
from jaxser.analysis.predictions import (
    PredictionsByRun,
    RunPredictions,
    pool_predictions,
    read_predictions,
)
from jaxser.runs import flatten, method_name, run_label, varying_keys

SPEAKERS_BY_FOLD = {0: 'abcd', 1: 'efgh'}
SPEAKERS = 'abcdefgh'
CLASSES = ('A', 'B')
UTTERANCES = 20  # of every speaker


def make_sweep(*settings: tuple[dict, dict | float | None]) -> tuple[list[dict], PredictionsByRun]:
    """Returns runs and predictions on two folds and two seeds.

    A setting is given by its hyper-parameters and the share of correct predictions, which may be
    by speaker; None means that its runs diverged.
    """
    hypers, shares = [], []
    for setting, share in settings:
        for seed in range(2):
            for fold in SPEAKERS_BY_FOLD:
                hypers.append(setting | {'seed': seed, 'fold': fold})
                shares.append(share)
    label_keys = varying_keys(hypers)
    runs, predicted = [], {}
    for hyper, share in zip(hypers, shares):
        if share is None:
            runs.append({'hyper': hyper, 'status': 'nonfinite', 'test': None, 'dev': None})
            continue
        predictions = predict(hyper['fold'], share)
        predicted[run_label(hyper, label_keys), hyper['fold']] = predictions
        uar = float(np.mean(predictions.truth_N == predictions.predicted_N))
        runs.append({'hyper': hyper, 'status': 'ok', 'test': {'uar': uar}, 'dev': {'uar': 0.5}})
    return runs, predicted


def predict(fold: int, share: dict | float) -> RunPredictions:
    """Returns the predictions of a run."""
    speakers = SPEAKERS_BY_FOLD[fold]
    speaker_N = np.repeat(list(speakers), UTTERANCES)
    index_N = np.tile(np.arange(UTTERANCES), len(speakers))
    truth_N = index_N % 2
    by_speaker = share if isinstance(share, dict) else dict.fromkeys(speakers, share)
    share_N = np.array([by_speaker[speaker] for speaker in speaker_N])
    correct_N = index_N // 2 < UTTERANCES / 2 * share_N
    predicted_N = np.where(correct_N, truth_N, 1 - truth_N)
    return RunPredictions(speaker_N, truth_N, predicted_N, np.ones(len(speaker_N)))


def make_rows(*settings, config=None) -> list[dict]:
    """Returns the summary of a sweep."""
    config = config or {'method': 'dann', 'speaker_norm': 'tap'}
    return summary.summary_rows(*make_sweep(*settings), config, len(CLASSES))


def test_seeds_that_share_six_digits_are_two_runs():
    """The row has the mean over both and the deviation between them."""
    runs = []
    for seed in (20261128, 20261129):
        figures = {'status': 'ok', 'dev': {'uar': 0.5}, 'test': {'uar': 0.5}}
        runs.append({'hyper': {'lam': 0.0, 'seed': seed, 'fold': 0}} | figures)
    label_keys = varying_keys([run['hyper'] for run in runs])
    rows = []
    for run, posteriors in zip(runs, ((0.9, 0.9), (0.1, 0.9))):
        label = run_label(run['hyper'], label_keys)
        for truth, other, posterior in zip('AB', 'BA', posteriors):
            row = {'run': label, 'fold': 0, 'utterance': truth, 'speaker': 's', 'truth': truth}
            rows.append(row | {truth: posterior, other: 1 - posterior})
    config = {'method': 'dann', 'speaker_norm': 'tap'}
    (row,) = summary.summary_rows(runs, read_predictions([as_block(rows)], ['A', 'B']), config, 2)
    assert row['seeds'] == 2
    assert row['uar'] == pytest.approx(0.75)
    assert row['uar_sd_seeds'] == pytest.approx(np.std([1.0, 0.5], ddof=1))


def test_a_row_has_the_figures_of_all_its_folds_and_seeds():
    """Pooled UAR, its interval over all speakers, the difference to plain training and its p."""
    shares = {speaker: 0.3 + n / 10 for n, speaker in enumerate(SPEAKERS)}
    plain, adversary = make_rows(({'lam': 0.0}, 0.5), ({'lam': 1.0}, shares))
    assert adversary['lam'] == 1.0
    assert adversary['seeds'] == 2
    assert adversary['tested_speakers'] == 8
    assert plain['uar'] == pytest.approx(0.5)
    mean = np.mean(list(shares.values()))
    assert adversary['uar'] == pytest.approx(mean)
    assert adversary['uar_folds'] == pytest.approx(mean)
    low, high = adversary['uar_ci95']
    assert low < mean < high
    assert adversary['delta_uar'] == pytest.approx(mean - 0.5)
    assert adversary['delta_ci95'] == pytest.approx([low - 0.5, high - 0.5])
    assert adversary['p'] == adversary['p_holm'] < 0.2
    assert plain['delta_uar'] is None
    assert plain['p'] is None
    assert plain['p_holm'] is None


def test_p_values_are_corrected_for_the_number_of_coefficients():
    settings = [({'lam': 0.0}, 0.5)]
    for lam in (1.0, 2.0, 3.0):
        shares = {speaker: 0.5 + lam * (n - 2) / 30 for n, speaker in enumerate(SPEAKERS)}
        settings.append(({'lam': lam}, shares))
    _, *rows = make_rows(*settings)
    expected = bootstrap.holm_correction([row['p'] for row in rows])
    assert [row['p_holm'] for row in rows] == pytest.approx(expected)
    assert any(row['p_holm'] > row['p'] for row in rows)


def test_plain_training_is_lam_0_or_erm():
    """Whichever of the two a sweep has; erm where it has both."""
    erm = {'lam': None, 'method': 'erm'}
    dann = {'method': 'dann', 'lam': 1.0}
    _, row = make_rows(({'lam': 0.0}, 0.6), ({'lam': 1.0}, 0.7))
    assert row['delta_uar'] == pytest.approx(0.1)
    _, row = make_rows((erm, 0.6), (dann, 0.7))
    assert row['delta_uar'] == pytest.approx(0.1)
    rows = make_rows((dann | {'lam': 0.0}, 0.2), (dann, 0.7), (erm, 0.6))
    assert [row['delta_uar'] for row in rows] == [None, pytest.approx(0.1), None]


def test_every_method_is_compared_with_plain_training():
    """With or without lam; never plain training itself, nor another network, nor another rate."""
    shares = {('erm', None): 0.5, ('leace', None): 0.4, ('dann', 0.0): 0.5, ('dann', 1.0): 0.7}
    settings = []
    for width in (8, 16):
        for (method, lam), share in shares.items():
            for lr in (1e-3, 1e-2):
                setting = {'method': method, 'model.width': width, 'lam': lam, 'lr': lr}
                settings.append((setting, share + (width == 16) / 10 + 10 * lr))
    rows = make_rows(*settings)
    assert len(rows) == 16
    expected = {('erm', None): None, ('dann', 0.0): None}
    expected |= {('leace', None): pytest.approx(-0.1), ('dann', 1.0): pytest.approx(0.2)}
    for row in rows:
        assert row['delta_uar'] == expected[row['method'], row['lam']]


def test_lam_0_of_didan_is_not_plain_training():
    """It is the regression alone."""
    rows = make_rows(({'lam': 0.0}, 0.5), ({'lam': 1.0}, 0.7), config={'method': 'didan'})
    assert [row['delta_uar'] for row in rows] == [None, None]


def test_lam_0_of_similarity_is_plain_training_in_both_variants():
    """Whether pairs are of one emotion or not; every head_rate of dann is compared with erm."""
    variants = []
    for similarity in ('conditional', 'unconditional'):
        variants.append(({'similarity': similarity, 'lam': 0.0}, 0.5))
        variants.append(({'similarity': similarity, 'lam': 1.0}, 0.7))
    rows = make_rows(*variants, config={'method': 'similarity'})
    assert [row['delta_uar'] for row in rows] == [None, pytest.approx(0.2)] * 2
    erm = {'method': 'erm', 'lam': None, 'head_rate': None}
    dann = {'method': 'dann', 'lam': 0.3}
    rows = make_rows(
        (erm, 0.5), (dann | {'head_rate': 1.0}, 0.6), (dann | {'head_rate': 10.0}, 0.7)
    )
    assert [row['delta_uar'] for row in rows] == [None, pytest.approx(0.1), pytest.approx(0.2)]


def test_lam_0_of_snp_is_plain_training_only_where_there_is_no_other():
    """Its network has one layer more."""
    config = {'method': 'speaker_norm', 'speaker_norm': 'snp'}
    _, row = make_rows(({'lam': 0.0}, 0.5), ({'lam': 1.0}, 0.7), config=config)
    assert row['delta_uar'] == pytest.approx(0.2)
    erm = {'method': 'erm', 'lam': None}
    snp = {'method': 'speaker_norm', 'lam': 0.0}
    _, row = make_rows((erm, 0.5), (snp, 0.4), config=config)
    assert row['delta_uar'] == pytest.approx(-0.1)


def test_tap_and_snp_are_two_methods():
    keys = {'method': 'speaker_norm', 'speaker_norm': 'tap'}
    assert method_name(keys) == 'speaker_norm tap'
    snp = keys | {'speaker_norm': 'snp', 'lam': 0.0}
    assert method_name(snp) == summary.PLAIN_METHODS[-1]
    assert method_name({'method': 'erm', 'speaker_norm': 'snp', 'lam': None}) == 'erm'


def test_a_seed_of_which_a_fold_diverged_is_left_out():
    """A row of which every seed lost a fold has no figures."""
    runs, predicted = make_sweep(({'lam': 0.0}, 0.5), ({'lam': 1.0}, 0.7), ({'lam': 2.0}, None))
    for run in runs:
        if run['hyper'] == {'lam': 1.0, 'seed': 1, 'fold': 0}:
            run |= {'status': 'nonfinite', 'test': None, 'dev': None}
    _, one_seed, no_seed = summary.summary_rows(runs, predicted, {'method': 'dann'}, len(CLASSES))
    assert one_seed['seeds'] == 1
    assert one_seed['uar'] == pytest.approx(0.7)
    assert one_seed['uar_sd_seeds'] is None
    assert no_seed['seeds'] == 0
    assert no_seed['uar'] is None
    assert no_seed['delta_uar'] is None
    assert no_seed['confusion'] is None


def test_settings_that_were_tested_on_different_folds_are_not_compared():
    """A list of runs may give each setting its own fold."""
    runs, predicted = make_sweep(({'lam': 0.0}, 0.5), ({'lam': 1.0}, 0.7))
    runs = [run for run in runs if run['hyper']['fold'] == run['hyper']['lam']]
    rows = summary.summary_rows(runs, predicted, {'method': 'dann'}, len(CLASSES))
    assert [row['delta_uar'] for row in rows] == [None, None]


def probe_runs(runs: list[dict]) -> None:
    """Writes leakage and verdicts into the runs: the higher lam, the lower the recall."""
    for run in runs:
        lam = run['hyper']['lam']
        recall = {speaker: 0.9 - 0.3 * lam + n / 100 for n, speaker in enumerate(SPEAKERS)}
        speaker = {
            'linear': float(np.mean(list(recall.values()))),
            'chance': 0.125,
            'input': {'linear': 1.0},
            'recall': {'linear': recall},
        }
        emotion = {'linear': 0.5, 'input': {'linear': 0.4}}
        run['probe'] = None
        if run['status'] == 'ok':
            run['probe'] = {'speaker': speaker, 'emotion': emotion}
        run['adversary'] = None
        if lam:
            run['adversary'] = {'verdict': 'collapsed' if lam == 2 else 'balanced'}


def test_leakage_and_verdicts_are_in_the_row():
    """Leakage compared with plain training on the same speakers; all runs' verdicts counted."""
    runs, predicted = make_sweep(({'lam': 0.0}, 0.5), ({'lam': 1.0}, 0.7), ({'lam': 2.0}, None))
    probe_runs(runs)
    rows = summary.summary_rows(runs, predicted, {'method': 'dann'}, len(CLASSES))
    plain, adversary, _ = rows
    assert adversary['probe']['speaker']['delta'] == pytest.approx(-0.3)
    assert adversary['probe']['speaker']['probed_speakers'] == 8
    assert 'delta' not in plain['probe']['speaker']
    assert adversary['probe']['emotion'] == {
        'linear': 0.5,
        'strongest': 0.5,
        'attacker': 'linear',
        'input': {'linear': 0.4, 'strongest': 0.4, 'attacker': 'linear'},
    }
    assert [row['adversary'] for row in rows] == [None, {'balanced': 4}, {'collapsed': 4}]
    for run in runs:
        if run['probe']:
            del run['probe']['speaker']
    _, adversary, _ = summary.summary_rows(runs, predicted, {'method': 'dann'}, len(CLASSES))
    assert adversary['probe'].keys() == {'emotion'}


def test_no_result_has_the_name_of_a_key_that_can_be_swept():
    """`speakers`, of the training part, was once overwritten by the number of tested ones."""
    keys = {*flatten(base.get_config().sweep), 'fold'}
    assert not keys & {*summary.RESULT_KEYS}


RATINGS = ('arousal', 'valence')


def make_rating_sweep(*settings: tuple[dict, float]) -> tuple[list[dict], PredictionsByRun]:
    """Returns runs and predictions of ratings and classes on two folds and two seeds.

    A setting is given by its hyper-parameters and the standard deviation of its errors.
    """
    runs, predicted = [], {}
    hypers = []
    for setting, _ in settings:
        for seed in range(2):
            hypers += [setting | {'seed': seed, 'fold': fold} for fold in SPEAKERS_BY_FOLD]
    label_keys = varying_keys(hypers)
    for setting, noise in settings:
        for hyper in hypers:
            if not setting.items() <= hyper.items():
                continue
            fold, seed = hyper['fold'], hyper['seed']
            classes = predict(fold, 0.75)
            shape = (len(classes.speaker_N), len(RATINGS))
            truth_NxA = np.random.default_rng(fold).normal(0, 0.3, shape)
            error_NxA = np.random.default_rng([seed, fold, 9]).normal(0, noise, shape)
            divergence_N = np.full(len(truth_NxA), noise + seed)
            divergence_N[:5] = np.nan  # without votes
            predictions = classes._replace(
                truth_NxA=truth_NxA,
                rating_NxA=truth_NxA + error_NxA,
                vote_kl_N=divergence_N,
            )
            predicted[run_label(hyper, label_keys), fold] = predictions
            test = concordance.rating_metrics(truth_NxA, predictions.rating_NxA, RATINGS)
            run = {'hyper': hyper, 'status': 'ok', 'dev': {'ccc': 0.4, 'uar': 0.6}}
            runs.append(run | {'test': test | {'uar': 0.75}})
    return runs, predicted


def without_classes(predicted: PredictionsByRun) -> PredictionsByRun:
    """Returns the predictions as those of the task `ratings`."""
    nothing = dict.fromkeys(('truth_N', 'predicted_N', 'confidence_N', 'vote_kl_N'))
    return {run: predictions._replace(**nothing) for run, predictions in predicted.items()}


def test_ratings_have_the_figures_of_ccc():
    """The folds of a seed are pooled, and seeds and ratings averaged; there are no classes."""
    runs, predicted = make_rating_sweep(({'lam': 0.0}, 0.3), ({'lam': 1.0}, 0.2))
    predicted = without_classes(predicted)
    config = {'method': 'dann', 'speaker_norm': 'tap', 'task': 'ratings'}
    plain, row = summary.summary_rows(runs, predicted, config, 0, RATINGS)
    by_seed = []
    for seed in range(2):
        pooled = pool_predictions([predicted[f'lam=1 seed={seed}', fold] for fold in (0, 1)])
        by_seed.append(concordance.rating_metrics(pooled.truth_NxA, pooled.rating_NxA, RATINGS))
    for key in ('ccc', 'pearson', 'rmse'):
        assert row[key] == pytest.approx(np.mean([seed[key] for seed in by_seed]), abs=1e-12)
    assert row['ccc_sd_seeds'] == pytest.approx(np.std([s['ccc'] for s in by_seed], ddof=1))
    assert row['ccc_folds'] == pytest.approx(
        np.mean([run['test']['ccc'] for run in runs if run['hyper']['lam'] == 1])
    )
    assert row['dev_ccc'] == pytest.approx(0.4)
    assert row['ccc_ci95'][0] < row['ccc'] < row['ccc_ci95'][1]
    valence = row['ratings']['valence']
    expected = np.mean([seed['ratings']['valence']['ccc'] for seed in by_seed])
    assert valence['ccc'] == pytest.approx(expected, abs=1e-12)
    assert valence['ccc_ci95'][0] < valence['ccc'] < valence['ccc_ci95'][1]
    assert row['tested_speakers'] == 8
    assert row['delta_ccc'] == pytest.approx(row['ccc'] - plain['ccc'], abs=1e-12)
    assert row['delta_ci95'][0] < row['delta_ccc'] < row['delta_ci95'][1]
    assert row['p_holm'] == row['p']
    for key in ('uar', 'uar_ci95', 'dev_uar', 'wa', 'f1', 'confusion', 'delta_uar'):
        assert row[key] is None
    assert summary.swept_keys(row) == ['lam']


@pytest.mark.parametrize(('select', 'key'), [('best dev UAR', 'uar'), ('best dev CCC', 'ccc')])
def test_with_classes_and_ratings_the_difference_is_of_the_main_measure(select, key):
    """Both measures have their figures."""
    sweep = make_rating_sweep(({'lam': 0.0}, 0.3), ({'lam': 1.0}, 0.2))
    config = {'method': 'dann', 'speaker_norm': 'tap', 'task': 'emotion+ratings'}
    config['train'] = {'select': select}
    plain, row = summary.summary_rows(*sweep, config, len(CLASSES), RATINGS)
    assert row['uar'] == pytest.approx(0.8)
    assert row['ccc'] > plain['ccc']
    other = {'uar': 'ccc', 'ccc': 'uar'}[key]
    assert row[f'delta_{other}'] is None
    assert row[f'delta_{key}'] == pytest.approx(row[key] - plain[key])
    assert (row['p'] == 1) == (key == 'uar')


@pytest.mark.parametrize('soft_labels', [False, True])
def test_the_divergence_from_votes_is_averaged_over_utterances_and_seeds(soft_labels):
    """Only with soft labels does a row have it."""
    runs, predicted = make_rating_sweep(({'lam': 0.0}, 0.3))
    config = {'method': 'dann', 'speaker_norm': 'tap', 'train': {'soft_labels': soft_labels}}
    (row,) = summary.summary_rows(runs, predicted, config, len(CLASSES))
    assert row.get('vote_kl') == (pytest.approx(0.8) if soft_labels else None)
    assert ('vote_kl' in row) == soft_labels
    assert summary.swept_keys(row) == ['lam']
    assert 'ccc' not in row
