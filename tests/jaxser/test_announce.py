"""The table at the end."""

from jaxser import announce, summary

RESULTS = {'method': 'dann', 'protocol': 'speaker_folds', 'folds': ['a'], 'selection': 'best dev UAR', 'synthetic': False}
RESULTS |= {'classes': ['A', 'B'], 'runs': [], 'split_sha256': '0' * 64, 'seconds': 0.0, 'device': '1 x cpu'}


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
    return swept | dict.fromkeys(summary.FIGURES) | figures | {'confusion': [[6, 4], [4, 6]]}


def test_no_figure_is_cut_off(tmp_path, capsys, monkeypatch):
    """However narrow the terminal and many the swept values; a table of 0.5... was printed once."""
    monkeypatch.setenv('COLUMNS', '50')
    same = {'per_class': 1000, 'model.batch_norm': 'separate'}
    rows = [row(method=m, lam=lam, **same) for m, lam in (('crossgrad', 0.0), ('speaker_norm', 0.123))]
    rows[1] |= {'delta_uar': 0.1234, 'delta_ci95': (-0.3333, 0.4444), 'p_holm': 0.055}
    announce.show(RESULTS | {'summary': rows}, tmp_path)
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
    announce.show(RESULTS | {'summary': rows}, tmp_path)
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
            for probe in ({'speaker': answer | {'n': 60}}, {'speaker': answer | {'n': held_out}}, None)
        ]
        announce.show(RESULTS | {'summary': rows, 'runs': runs}, tmp_path)
        said = capsys.readouterr().out
        assert 'by the input alone 0.900.' in said
        assert ('Rough: a run held out 18 utterances of 6 speakers.' in said) == rough
