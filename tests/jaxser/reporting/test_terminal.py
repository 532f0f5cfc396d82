"""Tests of the results table that training prints at its end."""

from jaxser.analysis import summary
from jaxser.reporting import terminal
from jaxser.runs import SYNTHETIC_WARNING

RESULTS = {
    'method': 'dann',
    'protocol': 'speaker_folds',
    'folds': ['a'],
    'selection': 'best dev UAR',
    'synthetic': False,
}
RESULTS |= {'corpora': ['emodb'], 'speakers': {}}
RESULTS |= {
    'classes': ['A', 'B'],
    'runs': [],
    'split_sha256': '0' * 64,
    'seconds': 0.0,
    'device': '1 x cpu',
}


def row(**swept) -> dict:
    """Of a summary."""
    figures = {
        'seeds': 2,
        'tested_speakers': 8,
        'uar': 0.62,
        'uar_ci95': (0.511, 0.711),
        'uar_folds': 0.62,
        'wa': 0.62,
        'f1': 0.62,
    }
    return swept | dict.fromkeys(summary.RESULT_KEYS) | figures | {'confusion': [[6, 4], [4, 6]]}


def test_no_figure_is_cut_off(tmp_path, capsys, monkeypatch):
    """However narrow the terminal and many the swept values; a table of 0.5... was printed once."""
    monkeypatch.setenv('COLUMNS', '50')
    same = {'per_class': 1000, 'model.batch_norm': 'separate'}
    rows = [
        row(method=m, lam=lam, **same) for m, lam in (('crossgrad', 0.0), ('speaker_norm', 0.123))
    ]
    rows[1] |= {'delta_uar': 0.1234, 'delta_ci95': (-0.3333, 0.4444), 'p_holm': 0.055}
    terminal.print_results(RESULTS | {'summary': rows}, tmp_path)
    said = capsys.readouterr().out
    assert '…' not in said
    assert said.count('0.620') == 3 * 2
    for word in ('speaker_norm', '0.511 0.711', '+0.123', '-0.333 +0.444', '0.055'):
        assert word in said
    assert 'resample the 8 speakers' in said
    assert 'dann' not in said, 'the methods are in the table'


def test_few_speakers_have_no_intervals_and_are_told_so(tmp_path, capsys):
    """No column for what there is not."""
    rows = [row(lam=0.0) | {'tested_speakers': 4, 'uar_ci95': None}]
    terminal.print_results(RESULTS | {'summary': rows}, tmp_path)
    said = capsys.readouterr().out
    assert '4 tested speakers: too few for intervals' in said
    assert '95 %' not in said
    assert 'vs plain' not in said
    assert 'dann; speaker_folds, 1 fold' in said


def test_leakage_by_few_held_out_utterances_is_called_rough(tmp_path, capsys):
    """With five training utterances of a class a run may hold out one utterance of a speaker."""
    for held_out, rough in ((18, True), (30, False)):
        answer = {'linear': 0.5, 'chance': 0.167, 'classes': 6, 'input': {'linear': 0.9}}
        rows = [row(lam=0.0) | {'probe': {'speaker': answer}}]
        runs = [
            {'status': 'ok', 'probe': probe}
            for probe in (
                {'speaker': answer | {'n': 60}},
                {'speaker': answer | {'n': held_out}},
                None,
            )
        ]
        terminal.print_results(RESULTS | {'summary': rows, 'runs': runs}, tmp_path)
        said = capsys.readouterr().out
        assert 'by the input alone 0.900.' in said
        assert ('Rough: a run held out 18 utterances of 6 speakers.' in said) == rough


def test_a_sweep_in_which_every_setting_lost_a_fold_still_ends_with_its_pictures(tmp_path, capsys):
    """Nothing can be drawn: the pictures say so, and there is no ZeroDivisionError."""
    lost = dict.fromkeys(summary.RESULT_KEYS) | {'seeds': 0}
    rows = [{'lam': lam} | lost for lam in (0.0, 0.3)]
    runs = [
        {'hyper': {'lam': row['lam'], 'seed': 0, 'fold': 0}, 'status': 'nonfinite', 'step': 7}
        for row in rows
    ]
    terminal.print_results(RESULTS | {'summary': rows, 'runs': runs}, tmp_path)
    for name in ('confusion.png', 'sweep.png'):
        assert (tmp_path / name).read_bytes().startswith(b'\x89PNG')
    said = capsys.readouterr().out
    assert 'In every setting a fold diverged' in said
    assert 'tested speakers' not in said
    assert said.count('nonfinite from step 7') == 2


def test_what_is_pooled_over_folds_is_told_from_what_is_by_fold(tmp_path, capsys):
    """UAR, WA and the difference are pooled; leakage is a mean of folds."""
    answer = {'linear': 0.5, 'chance': 0.167, 'classes': 6, 'n': 60, 'input': {'linear': 0.9}}
    rows = [row(lam=lam) | {'probe': {'speaker': answer}} for lam in (0.0, 0.3)]
    rows[1] |= {'delta_uar': 0.1}
    terminal.print_results(
        RESULTS | {'summary': rows, 'runs': [{'status': 'ok', 'probe': rows[0]['probe']}]}, tmp_path
    )
    said = ' '.join(capsys.readouterr().out.split())
    assert (
        'WA: accuracy, folds pooled. vs plain: UAR, folds pooled, minus that of plain training'
        in said
    )
    assert 'mean recall of held-out utterances; mean of the folds' in said


def test_a_sweep_on_synthetic_speech_is_marked(tmp_path, capsys):
    """The caption of the table warns."""
    synthetic = {'summary': [row(lam=0.0)], 'corpora': ['demo'], 'synthetic': True}
    terminal.print_results(RESULTS | synthetic, tmp_path)
    printed = ' '.join(capsys.readouterr().out.split())
    assert ' '.join(SYNTHETIC_WARNING.split()[:3]) in printed
