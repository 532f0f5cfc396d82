"""What stands in results.json beside the figures, and the figures that are made of others."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_pipelines.folds import Protocol
from jaxser import report

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
    return report.results(config, task, [], 0.0)


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


def run(fold: int, seed: int, uar: float, lam: float = 0.0) -> dict:
    right = round(100 * uar)
    confusion = [[right, 100 - right], [100 - right, right]]
    return {
        'hyper': {'lam': lam, 'seed': seed, 'fold': fold},
        'status': 'ok',
        'test': {'uar': uar, 'confusion': confusion},
    }


def test_the_interval_is_over_folds_however_many_seeds_there_are():
    """Student's t of three folds' means: 4.303 standard errors; more seeds are no more evidence about people."""
    uars = {0: 0.5, 1: 0.6, 2: 0.7}
    (one,) = report.summary([run(f, 0, u) for f, u in uars.items()])
    (many,) = report.summary([run(f, s, u) for f, u in uars.items() for s in range(4)])
    half = 4.3027 * 0.1 / np.sqrt(3)
    assert one['uar_folds_ci95'] == pytest.approx([0.6 - half, 0.6 + half], abs=1e-4)
    assert many['uar_folds_ci95'] == pytest.approx(one['uar_folds_ci95'])
    assert many['uar_folds'] == pytest.approx(0.6)


def test_too_few_folds_have_no_interval_and_no_interval_leaves_0_to_1():
    """Two folds say next to nothing."""
    assert report.summary([run(0, 0, 0.5), run(1, 0, 0.9)])[0]['uar_folds_ci95'] is None
    assert report.interval([0.1, 0.5, 0.99]) == [0.0, 1.0]


def test_plain_training_is_lam_0_or_erm():
    """Whichever of the two a sweep has."""
    adversary = run(0, 0, 0.7, lam=1.0)
    assert report.summary([run(0, 0, 0.6), adversary])[1]['delta_uar'] == pytest.approx(0.1)
    erm, dann = run(0, 0, 0.6), run(0, 0, 0.7, lam=1.0)
    erm['hyper'] |= {'lam': None, 'method': 'erm'}
    dann['hyper']['method'] = 'dann'
    assert report.summary([erm, dann])[1]['delta_uar'] == pytest.approx(0.1)


def test_no_figure_is_cut_off(tmp_path, capsys, monkeypatch):
    """However narrow the terminal and many the swept values; a table of 0.5... was printed once."""
    monkeypatch.setenv('COLUMNS', '50')
    runs = [run(0, s, 0.62, lam) for s in range(2) for lam in (0.0, 0.123)]
    for r in runs:
        r['hyper'] |= {
            'method': 'speaker_norm' if r['hyper']['lam'] else 'crossgrad',
            'per_class': 1000,
            'model.batch_norm': 'separate',
        }
    report.show(results() | {'folds': ['a'], 'runs': runs, 'summary': report.summary(runs)}, tmp_path)
    said = capsys.readouterr().out
    assert '…' not in said
    assert said.count('0.620') == 4 * 2
    assert 'speaker_norm' in said


def test_every_method_is_compared_with_plain_training():
    """With or without a lam; never plain training itself, nor with another network's."""
    runs = []
    for width in (8, 16):
        for method, lam, uar in (('erm', None, 0.5), ('leace', None, 0.4), ('dann', 0.0, 0.5), ('dann', 1.0, 0.75)):
            one = run(0, 0, uar + (width == 16) / 10, lam=lam)
            one['hyper'] |= {'method': method, 'model.width': width}
            runs.append(one)
    deltas = [row['delta_uar'] for row in report.summary(runs)]
    assert deltas == [None, pytest.approx(-0.1), None, pytest.approx(0.25)] * 2
