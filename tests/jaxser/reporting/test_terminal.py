"""Tests of the results table that training prints at its end."""

from helpers import finished_sweeps

from jaxser.analysis import summary
from jaxser.reporting import terminal
from jaxser.runs import SYNTHETIC_WARNING

RESULTS = {
    'method': 'dann',
    'protocol': 'speaker_folds',
    'folds': ['a'],
    'selection': 'best dev UAR',
    'synthetic': False,
    'corpora': ['emodb'],
    'speakers': {},
    'classes': ['A', 'B'],
    'runs': [],
    'split_sha256': '0' * 64,
    'seconds': 0.0,
    'device': '1 x cpu',
}
FINISHED = {'status': 'ok', 'hyper': {'fold': 0}}
SPEAKER_ANSWER = {'linear': 0.5, 'chance': 0.167, 'classes': 6, 'input': {'linear': 0.9}}


def make_row(**swept) -> dict:
    """Returns a row of a summary."""
    figures = {
        'seeds': 2,
        'tested_speakers': 8,
        'uar': 0.62,
        'uar_ci95': (0.511, 0.711),
        'uar_folds': 0.62,
        'wa': 0.62,
        'f1': 0.62,
        'confusion': [[6, 4], [4, 6]],
    }
    return swept | dict.fromkeys(summary.RESULT_KEYS) | figures


def test_no_number_is_cut_off(tmp_path, capsys, monkeypatch):
    """However narrow the terminal and many the swept keys; a table of 0.5... was printed once."""
    monkeypatch.setenv('COLUMNS', '50')
    rows = []
    for method, lam in (('crossgrad', 0.0), ('speaker_norm', 0.123)):
        constant = {'per_class': 1000, 'model.batch_norm': 'separate'}
        rows.append(make_row(method=method, lam=lam, **constant))
    rows[1] |= {'delta_uar': 0.1234, 'delta_ci95': (-0.3333, 0.4444), 'p_holm': 0.055}
    terminal.print_results(RESULTS | {'summary': rows}, tmp_path)
    printed = capsys.readouterr().out
    assert '…' not in printed
    assert printed.count('0.620') == 3 * 2
    for text in ('speaker_norm', '0.511 0.711', '+0.123', '-0.333 +0.444', '0.055'):
        assert text in printed
    assert 'resample the 8 speakers' in printed
    assert 'dann' not in printed, 'the methods are in the table'


def test_with_few_speakers_there_are_no_columns_of_intervals(tmp_path, capsys):
    rows = [make_row(lam=0.0) | {'tested_speakers': 4, 'uar_ci95': None}]
    terminal.print_results(RESULTS | {'summary': rows}, tmp_path)
    printed = capsys.readouterr().out
    assert '4 tested speakers: too few for intervals' in printed
    assert '95 %' not in printed
    assert 'vs plain' not in printed
    assert 'dann; speaker_folds, 1 fold' in printed


def test_leakage_on_few_held_out_utterances_is_called_rough(tmp_path, capsys):
    """With five training utterances per class, a run may hold out one utterance of a speaker."""
    rows = [make_row(lam=0.0) | {'probe': {'speaker': SPEAKER_ANSWER}}]
    withheld = SPEAKER_ANSWER | {'withheld': True}
    for held_out, is_rough in ((18, True), (30, False)):
        runs = [
            {**FINISHED, 'probe': {'speaker': SPEAKER_ANSWER | {'n': 60}}},
            {**FINISHED, 'probe': {'speaker': withheld | {'n': held_out}}},
            {**FINISHED, 'probe': None},
        ]
        terminal.print_results(RESULTS | {'summary': rows, 'runs': runs}, tmp_path)
        printed = capsys.readouterr().out
        assert 'Leakage from the input alone: training speakers 0.900 (linear).' in printed
        note = (
            'All leakage of this sweep is rough: one run was probed on only 18 withheld utterances '
            'of 6 speakers.'
        )
        assert (note in printed.splitlines()) == is_rough


def test_a_sweep_in_which_every_setting_lost_a_fold_has_figures_that_say_so(tmp_path, capsys):
    """There is no ZeroDivisionError."""
    missing = dict.fromkeys(summary.RESULT_KEYS) | {'seeds': 0}
    rows, runs = [], []
    for lam in (0.0, 0.3):
        rows.append({'lam': lam} | missing)
        hyper = {'lam': lam, 'seed': 0, 'fold': 0}
        runs.append({'hyper': hyper, 'status': 'nonfinite', 'step': 7})
    terminal.print_results(RESULTS | {'summary': rows, 'runs': runs}, tmp_path)
    for name in ('confusion.png', 'sweep.png'):
        assert (tmp_path / name).read_bytes().startswith(b'\x89PNG')
    printed = capsys.readouterr().out
    assert 'There are no figures: in every setting, a fold diverged' in printed
    assert 'tested speakers' not in printed
    assert printed.count('nonfinite from step 7') == 2


def test_the_legend_says_what_is_pooled_over_folds_and_what_is_a_mean(tmp_path, capsys):
    """UAR, WA and the difference are pooled; leakage is a mean of folds."""
    probe = {'speaker': SPEAKER_ANSWER | {'n': 60}}
    rows = [make_row(lam=lam) | {'probe': probe} for lam in (0.0, 0.3)]
    rows[1] |= {'delta_uar': 0.1}
    runs = [{**FINISHED, 'probe': probe}]
    terminal.print_results(RESULTS | {'summary': rows, 'runs': runs}, tmp_path)
    printed = ' '.join(capsys.readouterr().out.split())
    difference = 'vs plain: UAR, folds pooled, minus that of plain training'
    assert f'WA: accuracy, folds pooled. {difference}' in printed
    assert 'on utterances on which it was not fitted; mean of the folds' in printed


def test_the_legend_says_that_leakage_is_missing_or_of_a_sample(tmp_path, capsys):
    rows = [make_row(lam=lam) for lam in (0.0, 0.3)]
    terminal.print_results(RESULTS | {'summary': rows, 'runs': [FINISHED]}, tmp_path)
    assert 'Leakage was not measured' in capsys.readouterr().out
    probe = {'speaker': SPEAKER_ANSWER | {'n': 60, 'sampled_from': {'classes': 180, 'n': 900}}}
    rows = [row | {'probe': probe} for row in rows]
    runs = [{**FINISHED, 'probe': probe}]
    terminal.print_results(RESULTS | {'summary': rows, 'runs': runs}, tmp_path)
    printed = capsys.readouterr().out
    assert 'Leakage was not measured' not in printed
    assert 'random sample' in printed


def test_the_divergence_from_votes_is_explained_where_it_is_shown(tmp_path, capsys):
    """Only sweeps with soft labels have it."""
    rows = [make_row(lam=lam) for lam in (0.0, 0.3)]
    terminal.print_results(RESULTS | {'summary': rows}, tmp_path)
    assert 'KL' not in capsys.readouterr().out
    rows[0] |= {'vote_kl': 0.25}
    terminal.print_results(RESULTS | {'summary': rows}, tmp_path)
    printed = ' '.join(capsys.readouterr().out.split())
    assert '0.250' in printed
    assert 'KL(votes ‖ posterior)' in printed


def test_a_sweep_on_synthetic_speech_is_marked(tmp_path, capsys):
    """The caption of the table warns."""
    synthetic = {'summary': [make_row(lam=0.0)], 'corpora': ['demo'], 'synthetic': True}
    terminal.print_results(RESULTS | synthetic, tmp_path)
    printed = ' '.join(capsys.readouterr().out.split())
    assert ' '.join(SYNTHETIC_WARNING.split()[:3]) in printed


def test_the_title_says_which_folds_of_the_protocol_were_run(tmp_path, capsys):
    runs = []
    for fold in (0, 1):
        runs.append({'status': 'ok', 'hyper': {'lam': 0.0, 'seed': 0, 'fold': fold}})
    results = RESULTS | {'summary': [make_row(lam=0.0)], 'runs': runs, 'folds': ['a', 'b']}
    for audit, expected in (
        ({'folds': 5}, 'speaker_folds, folds 0, 1 of 5;'),
        ({'folds': 2}, 'speaker_folds, 2 folds;'),
        ({}, 'speaker_folds, 2 folds run;'),
    ):
        terminal.print_results(results | {'audit': audit}, tmp_path)
        assert expected in capsys.readouterr().out


def test_leakage_of_training_and_unseen_speakers_is_that_of_the_strongest_attacker(
    tmp_path, capsys
):
    """With its name; on seen utterances, and below chance, the legend says what that means."""
    seen = SPEAKER_ANSWER | {'rbf': 0.7, 'n': 60}
    unseen = {'linear': 0.1, 'chance': 0.25, 'strangers': True, 'below_chance': True}
    unseen['input'] = {'rbf': 1.0}
    probe = {'speaker': seen, 'unseen_speaker': unseen}
    hint = {'verdict': 'inert', 'next': 'try another lam'}
    runs = [{**FINISHED, 'probe': probe, 'adversary': hint}]
    rows = [make_row(lam=1.0) | {'probe': probe, 'adversary': {'inert': 1}}]
    terminal.print_results(RESULTS | {'summary': rows, 'runs': runs}, tmp_path)
    printed = ' '.join(capsys.readouterr().out.split())
    assert '0.700 (RBF, seen)' in printed
    assert '0.100 (linear, below chance)' in printed
    assert 'seen: tested on utterances that the encoder was trained on; biased low' in printed
    assert 'significantly below chance, which is a leak' in printed
    assert '1 inert run: try another lam.' in printed
    runs.append({**FINISHED, 'probe': probe, 'adversary': {'verdict': 'collapsed'}})
    terminal.print_results(RESULTS | {'summary': rows, 'runs': runs}, tmp_path)
    printed = ' '.join(capsys.readouterr().out.split())
    first = '1 run collapsed: first train for more epochs, or lower lam.'
    assert f'{first} 1 inert run: try another lam.' in printed
    assert 'training speakers 0.900 (linear), unseen speakers 1.000 (RBF).' in printed
    assert 'neither of training speakers nor of unseen speakers' in printed
    assert 'undecided (plain training does not leak' in printed


def test_the_enrolment_curve_has_a_row_for_each_setting_and_source(tmp_path, capsys):
    """And a column for each K. Without a curve, as in earlier versions, nothing is printed."""
    results = RESULTS | {'summary': [make_row(lam=0.0)]}
    terminal.print_results(results, tmp_path)
    assert 'enrolled' not in capsys.readouterr().out
    rows = []
    for lam in (0.0, 0.5):
        for source, uar in (('any', 0.7), ('neutral', 0.6)):
            row = finished_sweeps.enrolment_row(lam, source, 0, 0.0)
            rows += [row, row | {'enrol': 'all', 'uar': uar + lam / 10}]
    terminal.print_results(results | {'enrolment': {'draws': 10, 'rows': rows}}, tmp_path)
    printed = capsys.readouterr().out
    lines = [line.split('│')[1:-1] for line in printed.splitlines() if 'emotion' in line]
    cells = [[cell.strip() for cell in line] for line in lines]
    assert cells == [
        ['0', 'any emotion', '0.600', '0.700'],
        ['0.5', 'any emotion', '0.600', '0.750'],
    ]
    assert printed.count('neutral') == 2
    assert 'K = all' in printed
    assert 'Mean of 10 draws' in printed


def test_leakage_of_the_input_that_differs_between_settings_is_not_one_number():
    rows = [make_row(enrol=0), make_row(enrol=8)]
    for row, recall in zip(rows, (0.9, 0.8)):
        row['probe'] = {'speaker': SPEAKER_ANSWER | {'input': {'linear': recall}}}
    line = (
        'Leakage from the input alone: training speakers differs between settings (see the page).'
    )
    assert terminal._input_note(rows) == [line]
    assert terminal._input_note(rows[:1]) == [
        'Leakage from the input alone: training speakers 0.900 (linear).'
    ]
