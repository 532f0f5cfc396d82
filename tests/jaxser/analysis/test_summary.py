"""What the figures of results.json are made of, and what each is compared with."""

import numpy as np
import pytest

from configs import base
from data_pipelines import csv_files
from data_pipelines.errors import UserError
from jaxser.analysis import bootstrap, predictions, summary
from jaxser.runs import flatten, run_label, setting_title, varying_keys

PEOPLE = {0: 'abcd', 1: 'efgh'}  # by fold
CLASSES = ('A', 'B')


def finished(*made: tuple[dict, dict | float]) -> tuple[list[dict], predictions.PredictionsByRun]:
    """Runs and predictions on two folds and two seeds, of (hyper-parameters, share of right predictions or {speaker: it})."""
    hypers = [h | {'seed': s, 'fold': f} for h, _ in made for s in range(2) for f in PEOPLE]
    shares = [right for _, right in made for _ in range(2 * len(PEOPLE))]
    varied, runs, predicted = varying_keys(hypers), [], {}
    for h, right in zip(hypers, shares):
        if right is None:
            runs.append({'hyper': h, 'status': 'nonfinite', 'test': None, 'dev': None})
            continue
        rows = []
        for speaker in PEOPLE[h['fold']]:
            share = right[speaker] if isinstance(right, dict) else right
            for n in range(20):
                truth = n % 2
                rows.append((speaker, truth, truth if n // 2 < 10 * share else 1 - truth))
        predicted[run_label(h, varied), h['fold']] = tuple(np.array(x) for x in zip(*rows))
        uar = float(np.mean([t == p for _, t, p in rows]))
        runs.append({'hyper': h, 'status': 'ok', 'test': {'uar': uar}, 'dev': {'uar': 0.5}})
    return runs, predicted


def rows(*made, config=None) -> list[dict]:
    return summary.summary_rows(
        *finished(*made), config or {'method': 'dann', 'speaker_norm': 'tap'}, len(CLASSES)
    )


def test_predictions_are_read_as_they_were_written():
    """By run and fold; what has the largest posterior is what was predicted."""
    rows = [
        {
            'run': 'lam=0',
            'fold': 1,
            'utterance': 'u',
            'speaker': 's',
            'truth': 'A',
            'A': 0.3,
            'B': 0.7,
        },
        {
            'run': 'lam=0',
            'fold': 1,
            'utterance': 'v',
            'speaker': 's',
            'truth': 'B',
            'A': 0.4,
            'B': 0.6,
        },
    ]
    found = predictions.read_predictions(
        csv_files.read_rows(csv_files.format_rows(rows)), ['A', 'B']
    )
    assert list(found) == [('lam=0', 1)]
    assert [x.tolist() for x in found['lam=0', 1]] == [['s', 's'], [0, 1], [1, 1]]


HEADER = 'run,fold,utterance,speaker,truth,A,B\n'


def test_seeds_that_share_six_digits_are_two_runs():
    """The row has the mean over both and the deviation between them."""
    runs = [{'hyper': {'lam': 0.0, 'seed': seed, 'fold': 0}} for seed in (20261128, 20261129)]
    keys = varying_keys([r['hyper'] for r in runs])
    names = [run_label(r['hyper'], keys) for r in runs]
    rows = []
    for name, right in zip(names, ((0.9, 0.9), (0.1, 0.9))):
        for truth, posterior in zip('AB', right):
            other = 'B' if truth == 'A' else 'A'
            row = {'run': name, 'fold': 0, 'utterance': truth, 'speaker': 's', 'truth': truth}
            rows.append(row | {truth: posterior, other: 1 - posterior})
    for run in runs:
        run |= {'status': 'ok', 'dev': {'uar': 0.5}, 'test': {'uar': 0.5}}
    config = {'method': 'dann', 'speaker_norm': 'tap'}
    (row,) = summary.summary_rows(runs, predictions.read_predictions(rows, ['A', 'B']), config, 2)
    assert (row['seeds'], row['uar']) == (2, pytest.approx(0.75))
    assert row['uar_sd_seeds'] == pytest.approx(np.std([1.0, 0.5], ddof=1))


def test_the_names_of_an_earlier_version_are_read(tmp_path):
    """It cut numbers to six digits; the rows have the names that the runs have today."""
    runs = [{'hyper': {'lam': lam, 'seed': 20261128, 'fold': 1}} for lam in (0.1, 1 / 3)]
    file = tmp_path / 'predictions.csv'
    lines = ''.join(f'lam={lam} seed=2.02611e+07,1,u,s,A,0.3,0.7\n' for lam in ('0.1', '0.333333'))
    file.write_text(HEADER + lines)
    keys = ['lam', 'seed']
    found = [row['run'] for row in predictions.read_prediction_rows(file, runs)]
    assert found == [run_label(r['hyper'], keys) for r in runs]
    assert found == ['lam=0.1 seed=20261128', 'lam=0.3333333333333333 seed=20261128']


def test_a_name_of_two_runs_is_refused(tmp_path):
    """As an earlier version gave it; the predictions cannot be told apart."""
    runs = [{'hyper': {'lam': 0.1, 'seed': seed, 'fold': 1}} for seed in (20261128, 20261129)]
    file = tmp_path / 'predictions.csv'
    file.write_text(HEADER + 'lam=0.1 seed=2.02611e+07,1,u,s,A,0.3,0.7\n' * 2)
    with pytest.raises(UserError, match=r'same name.*seed=20261128; .*seed=20261129'):
        list(predictions.read_prediction_rows(file, runs))


def test_a_damaged_row_is_refused(tmp_path):
    """Such as one with a name whose carriage return is not quoted."""
    file = tmp_path / 'predictions.csv'
    file.write_bytes(HEADER.encode() + b'lam=0.1,1,u\r,s,A,0.3,0.7\n')
    with pytest.raises(UserError, match=r'predictions\.csv, line 2, .*outcome\.json'):
        list(predictions.read_prediction_rows(file, []))


def test_a_row_is_what_is_made_of_all_its_folds_and_seeds():
    """Pooled UAR, its interval over all eight speakers, and the difference to plain training with its p."""
    shares = {s: 0.3 + n / 10 for n, s in enumerate('abcdefgh')}
    plain, adversary = rows(({'lam': 0.0}, 0.5), ({'lam': 1.0}, shares))
    assert (adversary['lam'], adversary['seeds'], adversary['tested_speakers']) == (1.0, 2, 8)
    assert plain['uar'] == pytest.approx(0.5)
    mean = np.mean(list(shares.values()))
    assert adversary['uar'] == pytest.approx(mean)
    assert adversary['uar_folds'] == pytest.approx(mean)
    assert adversary['uar_ci95'][0] < mean < adversary['uar_ci95'][1]
    assert adversary['delta_uar'] == pytest.approx(mean - 0.5)
    assert adversary['delta_ci95'] == pytest.approx([e - 0.5 for e in adversary['uar_ci95']])
    assert adversary['p'] == adversary['p_holm'] < 0.2
    assert plain['delta_uar'] is plain['p'] is plain['p_holm'] is None


def test_several_coefficients_are_corrected_for():
    """The better the chance of a lucky one, the more each must show."""
    shares = lambda gain: {s: 0.5 + gain * (n - 2) / 30 for n, s in enumerate('abcdefgh')}  # noqa: E731
    found = rows(({'lam': 0.0}, 0.5), *(({'lam': lam}, shares(lam)) for lam in (1.0, 2.0, 3.0)))[1:]
    assert [r['p_holm'] for r in found] == pytest.approx(
        bootstrap.holm_correction([r['p'] for r in found])
    )
    assert any(r['p_holm'] > r['p'] for r in found)


def test_plain_training_is_lam_0_or_erm():
    """Whichever of the two a sweep has; erm, where it has both."""
    assert rows(({'lam': 0.0}, 0.6), ({'lam': 1.0}, 0.7))[1]['delta_uar'] == pytest.approx(0.1)
    erm, dann = {'lam': None, 'method': 'erm'}, {'method': 'dann', 'lam': 1.0}
    assert rows((erm, 0.6), (dann, 0.7))[1]['delta_uar'] == pytest.approx(0.1)
    deltas = [r['delta_uar'] for r in rows((dann | {'lam': 0.0}, 0.2), (dann, 0.7), (erm, 0.6))]
    assert deltas == [None, pytest.approx(0.1), None]


@pytest.mark.parametrize(
    ('row', 'said'),
    [
        ({'method': 'erm', 'speaker_norm': 'tap', 'lam': None}, 'erm'),
        (
            {'method': 'speaker_norm', 'speaker_norm': 'snp', 'lam': 0.1},
            'speaker_norm snp, lam = 0.1',
        ),
        ({'method': 'dann', 'speaker_norm': 'tap', 'lam': 0.0}, 'dann, lam = 0'),
        ({'speaker_norm': 'tap', 'lam': 1.0}, 'speaker_norm = tap, lam = 1'),
        ({'model.batch_norm': 'joint'}, 'model.batch_norm = joint'),
    ],
)
def test_a_setting_is_called_by_what_differs_and_concerns_it(row, said):
    assert setting_title(row, list(row)) == said


def test_every_method_is_compared_with_plain_training():
    """With or without a lam; never plain training itself, nor with another network's, nor with another learning rate's."""
    made = []
    for width in (8, 16):
        for method, lam, uar in (
            ('erm', None, 0.5),
            ('leace', None, 0.4),
            ('dann', 0.0, 0.5),
            ('dann', 1.0, 0.7),
        ):
            for lr in (1e-3, 1e-2):
                made.append(
                    (
                        {'method': method, 'model.width': width, 'lam': lam, 'lr': lr},
                        uar + (width == 16) / 10 + 10 * lr,
                    )
                )
    deltas = {
        (r['model.width'], r['method'], r['lam'], r['lr']): r['delta_uar'] for r in rows(*made)
    }
    assert {(m, lam): d for (_, m, lam, _), d in deltas.items()} == {
        ('erm', None): None,
        ('leace', None): pytest.approx(-0.1),
        ('dann', 0.0): None,
        ('dann', 1.0): pytest.approx(0.2),
    }
    for key, delta in deltas.items():
        assert delta == pytest.approx(deltas[16 if key[0] == 8 else 8, *key[1:]])


def test_lam_0_of_another_loss_or_network_is_no_plain_training():
    """DIDAN's is the regression alone; SNP's has a layer more, and stands for plain training where there is no other."""
    assert [
        r['delta_uar']
        for r in rows(({'lam': 0.0}, 0.5), ({'lam': 1.0}, 0.7), config={'method': 'didan'})
    ] == [None, None]
    snp = {'method': 'speaker_norm', 'speaker_norm': 'snp'}
    assert rows(({'lam': 0.0}, 0.5), ({'lam': 1.0}, 0.7), config=snp)[1][
        'delta_uar'
    ] == pytest.approx(0.2)
    found = rows(
        *(
            ({'method': m, 'lam': lam}, uar)
            for m, lam, uar in (('erm', None, 0.5), ('speaker_norm', 0.0, 0.4))
        ),
        config=snp,
    )
    assert found[1]['delta_uar'] == pytest.approx(-0.1)


def test_a_seed_of_which_a_fold_diverged_is_left_out():
    """And a row of which every seed did has no figure."""
    runs, predicted = finished(({'lam': 0.0}, 0.5), ({'lam': 1.0}, 0.7), ({'lam': 2.0}, None))
    lost = next(r for r in runs if r['hyper'] == {'lam': 1.0, 'seed': 1, 'fold': 0})
    lost |= {'status': 'nonfinite', 'test': None, 'dev': None}
    _, one, none = summary.summary_rows(runs, predicted, {'method': 'dann'}, len(CLASSES))
    assert (one['seeds'], none['seeds']) == (1, 0)
    assert one['uar'] == pytest.approx(0.7)
    assert one['uar_sd_seeds'] is None
    assert none['uar'] is none['delta_uar'] is none['confusion'] is None


def test_what_was_tested_on_other_utterances_is_not_compared():
    """A list of runs may give each its own fold."""
    runs, predicted = finished(({'lam': 0.0}, 0.5), ({'lam': 1.0}, 0.7))
    runs = [r for r in runs if r['hyper']['fold'] == r['hyper']['lam']]
    assert [
        r['delta_uar']
        for r in summary.summary_rows(runs, predicted, {'method': 'dann'}, len(CLASSES))
    ] == [None, None]


def test_what_was_probed_stands_in_its_row():
    """Leakage beside plain training's by the same speakers; verdicts are counted, a diverged run's too."""
    runs, predicted = finished(({'lam': 0.0}, 0.5), ({'lam': 1.0}, 0.7), ({'lam': 2.0}, None))
    for run in runs:
        lam = run['hyper']['lam']
        recall = {s: 0.9 - 0.3 * lam + n / 100 for n, s in enumerate('abcdefgh')}
        said = {
            'linear': float(np.mean([*recall.values()])),
            'chance': 0.125,
            'input': {'linear': 1.0},
            'recall': {'linear': recall},
        }
        run['probe'] = (
            {'speaker': said, 'emotion': {'linear': 0.5, 'input': {'linear': 0.4}}}
            if run['status'] == 'ok'
            else None
        )
        run['adversary'] = {'verdict': 'collapsed' if lam == 2 else 'balanced'} if lam else None
    plain, one, none = summary.summary_rows(runs, predicted, {'method': 'dann'}, len(CLASSES))
    assert one['probe']['speaker']['delta'] == pytest.approx(-0.3)
    assert one['probe']['speaker']['heard'] == 8
    assert 'delta' not in plain['probe']['speaker']
    assert one['probe']['emotion'] == {'linear': 0.5, 'input': {'linear': 0.4}}
    assert [r['adversary'] for r in (plain, one, none)] == [None, {'balanced': 4}, {'collapsed': 4}]
    for run in runs:
        if run['probe']:
            del run['probe']['speaker']
    assert summary.summary_rows(runs, predicted, {'method': 'dann'}, len(CLASSES))[1][
        'probe'
    ].keys() == {'emotion'}


def test_no_figure_has_the_name_of_what_can_be_swept():
    """`speakers`, of the training part, was once overwritten by the number of tested ones, and rows lost what they were."""
    keys = {*flatten(base.get_config().sweep), 'fold'}
    assert not keys & {*summary.RESULT_KEYS}
