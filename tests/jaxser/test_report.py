"""What stands in results.json beside the figures, and the figures that are made of others."""

import sys
from pathlib import Path
from types import SimpleNamespace

from data_pipelines.folds import Protocol
from jaxser import report, summary

sys.path.insert(0, str(Path(__file__).parent.parent))
import tiny_config


def results(normalise: str = 'global', leaks: tuple[str, ...] = ()) -> dict:
    """Of a sweep without runs."""
    config = tiny_config.get_config()
    config.data.normalise = normalise
    task = SimpleNamespace(
        protocol=Protocol('speaker_dependent'),
        folds=[],
        table=SimpleNamespace(classes=['sad']),
        sha256='0' * 64,
        audit={'leaks': list(leaks)},
        split=SimpleNamespace(left_out={'fear': 3}, unused=2),
    )
    return report.results(config, task, [], {}, 0.0)


def test_what_makes_a_result_look_better_stands_in_its_title():
    """Shared speakers, statistics of tested audio, and leaks that were let pass; and nothing of it where there is none."""
    plain = results()['protocol']
    assert 'speakers are shared' in plain
    assert 'transductive' not in plain
    assert 'LEAK' not in plain
    assert 'tested audio too (transductive)' in results('speaker_transductive')['protocol']
    assert 'LEAK OF AUDIO ALLOWED' in results(leaks=('audio',))['protocol']


def test_what_was_not_used_is_written_down():
    """With the label space and the corpora that it was left out of."""
    found = results()
    assert (found['left_out'], found['unused'], found['labels'], found['corpora']) == ({'fear': 3}, 2, 'native', ['folder'])


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
    report.show(results() | {'folds': ['a'], 'classes': ['A', 'B'], 'runs': [], 'summary': rows}, tmp_path)
    said = capsys.readouterr().out
    assert '…' not in said
    assert said.count('0.620') == 3 * 2
    for word in ('speaker_norm', '0.511 0.711', '+0.123', '-0.333 +0.444', '0.055'):
        assert word in said
    assert 'resample the 8 speakers' in said


def test_few_speakers_have_no_intervals_and_are_told_so(tmp_path, capsys):
    """No column for what there is not."""
    rows = [row(lam=0.0) | {'tested_speakers': 4, 'uar_ci95': None}]
    report.show(results() | {'folds': ['a'], 'classes': ['A', 'B'], 'runs': [], 'summary': rows}, tmp_path)
    said = capsys.readouterr().out
    assert '4 tested speakers: too few for intervals' in said
    assert '95 %' not in said
    assert 'vs plain' not in said
