"""The page of a sweep: it is whole, needs nothing but itself, and says what results.json says."""

import csv
import html.parser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from data_pipelines import csv_files
from data_pipelines.errors import UserError
from jaxser import report
from jaxser.analysis import adversary, calibration, summary
from jaxser.analysis.predictions import read_predictions
from jaxser.reporting import figures
from jaxser.reporting.html import STYLESHEET, html_table
from jaxser.reporting.page import write_report
from jaxser.runs import SYNTHETIC_WARNING, run_label, varying_keys

ODD = '<i>&"$x$'  # a speaker whose name is HTML and a formula
SPEAKERS = (ODD, '_b', '王', 'd', 'e', 'f', 'g', 'h')
CLASSES = ('A', 'B', 'C')
RIGHT = {0.0: 0.5, 0.3: 0.8, 1.0: 0.6}  # by coefficient: the share of right test predictions,
DEV = {0.0: 0.5, 0.3: 0.6, 1.0: 0.7}  # dev UAR, by which 1.0 is the best,
TOLD = {0.0: 0.8, 0.3: 0.75, 1.0: 0.4}  # and how well speakers are told


def probe(lam: float, seed: int) -> dict:
    """Of a run."""
    told = TOLD[lam] + 0.01 * seed
    recall = {s: told for s in SPEAKERS}
    speaker = {'linear': told, 'mlp': told, 'chance': 0.2, 'classes': 5, 'n': 9, 'strangers': False}
    speaker |= {'recall': {'linear': recall, 'mlp': recall}, 'input': {'linear': 0.95, 'mlp': 0.9}}
    emotion = {
        'linear': 0.7,
        'mlp': 0.7,
        'chance': 1 / 3,
        'strangers': True,
        'input': {'linear': 0.6, 'mlp': 0.6},
    }
    return {
        'speaker': speaker,
        'emotion': emotion,
        'verification': {'eer': 0.4, 'speakers': 4, 'input': {'eer': 0.3}},
    }


def finished(
    path: Path,
    lams=(0.0, 0.3, 1.0),
    folds=2,
    seeds=2,
    speakers=SPEAKERS,
    lost=(),
    asked=True,
    gain=None,
    absent='',
    **facts,
) -> dict:
    """Leaves in `path` what a sweep leaves, and returns results.json.

    `lost` are the (coefficient, seed, fold) that diverged; `gain` replaces the shares of right predictions at lam = 1 by speaker;
    no utterance is `absent`; `facts` replace some of results.json.
    """
    path.mkdir(parents=True)
    hypers = [
        {'lam': lam, 'seed': s, 'fold': f}
        for f in range(folds)
        for lam in lams
        for s in range(seeds)
    ]
    varied, random, runs, predictions, metrics = (
        varying_keys(hypers),
        np.random.default_rng(0),
        [],
        [],
        [],
    )
    for h in hypers:
        bad = (h['lam'], h['seed'], h['fold']) in lost
        status = {'status': 'nonfinite', 'step': 7} if bad else {'status': 'ok'}
        metrics += [
            h
            | {
                'epoch': e + 1,
                'emotion_loss': None if bad else 1 / (e + 1),
                'speaker_loss': 1.5,
                'dev_uar': 0.5,
                'loss': None,
            }
            for e in range(3)
        ]
        if bad:
            runs.append(
                {'hyper': h, 'epoch': None, 'dev': None, 'test': None, 'selected': None} | status
            )
            continue
        counts = np.zeros((3, 3), int)
        for n, speaker in enumerate(speakers):
            if n % folds != h['fold']:
                continue
            share = gain[n] if gain and h['lam'] == 1 else RIGHT[h['lam']]
            for i in range(30):
                truth = i % 3
                if CLASSES[truth] == absent:
                    continue
                said = truth if i < 30 * share else (truth + 1) % 3
                counts[truth, said] += 1
                top = random.uniform(0.5, 1)
                row = {
                    'run': run_label(h, varied),
                    'fold': h['fold'],
                    'utterance': f'{n}_{i}',
                    'speaker': speaker,
                }
                row |= {'truth': CLASSES[truth]} | {
                    c: top if k == said else (1 - top) / 2 for k, c in enumerate(CLASSES)
                }
                predictions.append(row)
        test = {'uar': 0.5, 'confusion': counts.tolist()}
        selected = {'speaker_loss': 1.5, 'lam_p': h['lam']}
        runs.append(
            {
                'hyper': h,
                'epoch': 2,
                'dev': {'uar': DEV[h['lam']]},
                'test': test,
                'selected': selected,
            }
            | status
        )
        runs[-1]['entropy'] = {'speaker': 1.6}
    for run in runs if asked else ():
        run['probe'] = (
            probe(run['hyper']['lam'], run['hyper']['seed']) if run['status'] == 'ok' else None
        )
    config = {
        'method': 'dann' if len(lams) > 1 else 'erm',
        'domain': 'speaker',
        'speaker_norm': 'tap',
        'data': {'dir': '<dir>'},
    }
    config['protocol'] = {'name': 'speaker_folds', 'source': [], 'target': []}
    for run, verdict in zip(runs, adversary.adversary_verdicts(runs, config)):
        run['adversary'] = verdict
    people = {s: {'sex': 'f' if n % 2 else 'm', 'language': 'de'} for n, s in enumerate(speakers)}
    results = {
        'protocol': 'speaker_folds',
        'corpora': ['one'],
        'labels': 'native',
        'folds': [str(f) for f in range(folds)],
    }
    results |= {
        'selection': 'best dev UAR',
        'normalisation': 'global',
        'classes': list(CLASSES),
        'synthetic': False,
    }
    results |= {
        'split_sha256': 'f' * 64,
        'matmul_precision': 'default',
        'device': '1 x cpu',
        'seconds': 60.0,
        'speakers': people,
    }
    results |= {
        'audit': {'leaks': []},
        'groups': [{'runs': len(runs), 'seconds': 2.0}],
        'runs': runs,
    } | facts
    (path / 'predictions.csv').write_text(csv_files.format_rows(predictions))
    (path / 'metrics.jsonl').write_text(''.join(json.dumps(m) + '\n' for m in metrics))
    config |= facts.get('config', {})
    described = {
        'command': 'python -m jaxser.main --config=<x>',
        'git_commit': None,
        'config': config,
        'versions': {'jax': '1'},
    }
    (path / 'config.json').write_text(json.dumps(described))
    predicted = read_predictions(predictions, list(CLASSES))
    results['summary'] = summary.summary_rows(runs, predicted, config, len(CLASSES))
    (path / 'results.json').write_text(json.dumps(results))
    return json.loads(json.dumps(results))


def represented(path: Path) -> None:
    """Leaves representations.npz of two settings."""
    random, N = np.random.default_rng(0), 24
    arrays = {
        'utterance': np.arange(N).astype(str),
        'speaker': np.array(SPEAKERS).repeat(3),
        'emotion': np.resize(CLASSES, N),
    }
    arrays['setting'] = np.array(['lam=0', 'lam=1'])
    for n in range(2):
        arrays |= {
            f'z_{n}': random.normal(size=(N, 4)).astype(np.float16),
            f'row_{n}': np.arange(N),
        }
        arrays[f'part_{n}'] = np.repeat(['train', 'test'], N // 2)
    np.savez(path / 'representations.npz', allow_pickle=False, **arrays)


class Page(html.parser.HTMLParser):
    """A page as a browser reads it; fails where an element is not closed, or closed and not open."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ('meta', 'img'):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ['style']:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r'\s+', ' ', ' '.join(self.texts))

    def elements_of(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope='module')
def whole(tmp_path_factory) -> tuple[Path, dict, Page]:
    """A sweep with everything, its results.json and its page."""
    path = tmp_path_factory.mktemp('runs') / '<b>&"'
    results = finished(path)
    represented(path)
    return path, results, Page(write_report(path).read_text())


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Pictures are not drawn: a test of words is quick."""
    monkeypatch.setattr(figures, 'render_png', lambda draw, *of: b'')


def banners(page: Page) -> int:
    """How many there are."""
    return sum(attrs.get('role') == 'alert' for attrs in page.elements_of('div'))


def test_the_page_needs_nothing_but_itself(whole):
    """No script, no style sheet, no file, no address; every picture is within, and has a text for who cannot see it."""
    _, _, page = whole
    tags = {name for name, _ in page.elements}
    assert not tags & {'script', 'link', 'iframe', 'object', 'base', 'form', 'video'}
    assert all(attrs['href'].startswith('#') for attrs in page.elements_of('a'))
    assert len(page.elements_of('img')) == 7
    for attrs in page.elements_of('img'):
        assert attrs['src'].startswith('data:image/png;base64,iVBORw0KGgo')
        assert len(attrs['alt']) > 10
    assert 'url(' not in STYLESHEET
    assert any(
        attrs.get('http-equiv') == 'Content-Security-Policy' for attrs in page.elements_of('meta')
    )
    assert any(attrs.get('name') == 'viewport' for attrs in page.elements_of('meta'))


def test_the_contents_lead_to_every_section(whole):
    """In the order of the page: what came out, the evidence, the details."""
    _, _, page = whole
    names = [attrs['id'] for attrs in page.elements_of('section')]
    assert [attrs['href'] for attrs in page.elements_of('a')] == [f'#{n}' for n in names]
    assert names == [
        *(
            'settings',
            'leakage',
            'speakers',
            'confusions',
            'groups',
            'map',
            'calibration',
            'training',
            'failed',
            'details',
        )
    ]


def test_names_are_names_and_never_html(whole):
    """Of a speaker, a folder, a command, a configuration: the browser shows what the data say."""
    _, _, page = whole
    assert not page.elements_of('i')
    assert not page.elements_of('dir')
    assert not page.elements_of('x')
    for name in (ODD, '王', '<b>&"', '--config=<x>', '"<dir>"'):
        assert name in page.text


def test_the_best_setting_is_chosen_by_dev(whole):
    """lam = 0.3 is better on test, and not taken."""
    _, results, page = whole
    assert [r['uar'] for r in results['summary']] == pytest.approx([0.5, 0.8, 0.6])
    assert (
        'setting dann, lam = 1 best dev UAR (0.700, mean of folds) of 2 settings compared with plain training'
        in page.text
    )


def test_a_tie_with_plain_training_is_called_so(tmp_path, undrawn, monkeypatch):
    """Dev prefers neither, or plain training."""
    for dev, said in (
        (0.7, 'dev prefers neither plain training has a dev UAR of 0.700'),
        (0.8, 'dev prefers plain training'),
    ):
        monkeypatch.setitem(DEV, 0.0, dev)
        finished(tmp_path / str(dev))
        assert said in Page(write_report(tmp_path / str(dev)).read_text()).text


def test_what_is_told_stands_beside_chance_and_the_input(whole):
    """A line a setting: the linear classifier, the one with a hidden layer, verification, the difference to plain training."""
    _, results, page = whole
    assert (
        'setting speaker emotion verification speaker - plain chance 0.200 0.333 0.500' in page.text
    )
    assert 'the input (raw) 0.950 (0.900) 0.600 (0.600) 0.300' in page.text
    delta = results['summary'][2]['probe']['speaker']['delta']
    assert f'dann, lam = 1 0.405 (0.405) 0.700 (0.700) 0.400 {delta:+.3f} [' in page.text
    assert (
        'The encoder had heard those for speaker in its training. Those for emotion the encoder has not heard either.'
        in page.text
    )


def test_a_column_without_any_text_is_left_out():
    """Of one seed there is no spread to show; a cell that is there keeps its column."""
    shown = html_table(['a', 'none', 'b'], [['1', '', ''], ['2', '', '3']])
    assert 'none' not in shown
    assert shown.count('<th>') == 2
    assert shown.count('<td>') == 4


def test_the_figures_are_those_of_results_json(whole):
    """In the box and in the table; summary.csv has them in full."""
    path, results, page = whole
    row = results['summary'][2]
    beside = (
        f'UAR, folds pooled 0.600 [{row["uar_ci95"][0]:.3f}, {row["uar_ci95"][1]:.3f}] chance 0.333'
    )
    assert beside in page.text
    ends = f'[{row["delta_ci95"][0]:+.3f}, {row["delta_ci95"][1]:+.3f}]'
    sure = f'p = {row["p"]:.3g}, by Holm {row["p_holm"]:.3g}'
    assert f'difference to plain training, folds pooled +0.100 {ends} {sure}' in page.text
    leakage = row['probe']['speaker']['linear']
    levels = 'plain training 0.805, the input (raw) 0.950, chance 0.200'
    assert f'leakage of the speaker, mean of folds {leakage:.3f} {levels}' in page.text
    assert f'sha256 {"f" * 64}' in page.text
    with open(path / 'summary.csv', newline='') as file:
        lines = list(csv.DictReader(file))
    for line, row in zip(lines, results['summary'], strict=True):
        for key in ('lam', 'dev_uar', 'uar', 'wa', 'delta_uar', 'p_holm'):
            assert line[key] == ('' if row[key] is None else str(row[key]))
        assert float(line['uar_low']) == row['uar_ci95'][0]
        assert float(line['speaker_linear']) == row['probe']['speaker']['linear']


@pytest.mark.parametrize(
    ('facts', 'words'),
    [
        ({}, ()),
        ({'gain': (0.4, 0.6) * 4}, ('Undecided: the interval',)),
        ({'speakers': SPEAKERS[:4]}, ('Undecided: 4 tested speakers',)),
        ({'lams': (0.0, 0.3)}, ('The adversary was inert in 4 of 4 runs',)),
        ({'audit': {'leaks': ['audio']}}, ('Leak of audio allowed',)),
        ({'lams': (0.0,)}, ()),
        ({'lost': [(1.0, 0, 0)]}, ('The adversary was collapsed in 1 of 4 runs',)),
    ],
)
def test_a_banner_says_what_must_not_be_missed(tmp_path, undrawn, facts, words):
    """Inert, collapsed, undecided, leaking; and there is none where all is well."""
    finished(tmp_path / 'w', **facts)
    page = Page(write_report(tmp_path / 'w').read_text())
    assert banners(page) == len(words)
    for word in words:
        assert word in page.text


@pytest.mark.parametrize(
    ('facts', 'word'),
    [
        ({'asked': False}, 'Nobody has asked the representation'),
        ({'lams': (0.0,)}, 'Here is no plain training'),
        ({'folds': 1, 'seeds': 1, 'speakers': SPEAKERS[:1]}, 'too few for an interval'),
        ({'lost': [(0.3, 0, 0), (1.0, 0, 1)]}, '2 of 12 runs'),
        ({'lost': [(0.0, 0, 0), (0.0, 1, 0)]}, 'Here is no plain training'),
        ({'lost': [(lam, s, 0) for lam in (0.0, 0.3, 1.0) for s in (0, 1)]}, 'No setting is whole'),
        ({'absent': 'B'}, 'No tested utterance is B'),
        ({'speakers': SPEAKERS, 'corpora': ['demo'], 'synthetic': True}, SYNTHETIC_WARNING),
    ],
)
def test_what_is_missing_is_said_and_the_rest_is_shown(tmp_path, facts, word):
    """No probe, no plain training, one speaker, diverged runs, an absent class: always a whole page."""
    finished(tmp_path / 'w', **facts)
    page = Page(write_report(tmp_path / 'w').read_text())
    assert word in page.text
    assert 'Here is no representations.npz' in page.text
    assert len(page.elements_of('section')) == 10


def test_files_that_are_not_there_are_no_reason_to_fail(tmp_path, undrawn):
    """Metrics, and what an earlier program did not write down of speakers and entropies."""
    results = finished(tmp_path / 'w')
    (tmp_path / 'w' / 'metrics.jsonl').unlink()
    del results['speakers']
    for run in results['runs']:
        del run['entropy']
    (tmp_path / 'w' / 'results.json').write_text(json.dumps(results))
    page = Page(write_report(tmp_path / 'w').read_text())
    assert 'There is no metrics.jsonl' in page.text
    assert 'results.json does not say sex, language and corpus' in page.text


def test_the_worst_group_is_named(tmp_path, undrawn):
    """By sex and by speaker, with its UAR; a group that all are in is none."""
    finished(tmp_path / 'w', gain=(0.6, 0.4, 0.6, 0.4, 0.6, 0.4, 0.6, 0.1))
    page = Page(write_report(tmp_path / 'w').read_text())
    assert 'The worst group of each kind: sex f (0.325); speaker h (0.100).' in page.text


def test_the_page_says_who_chose_the_epoch_and_who_the_setting(tmp_path, undrawn):
    """Under `last epoch` too, which chooses no setting."""
    finished(tmp_path / 'w', selection='last epoch')
    page = Page(write_report(tmp_path / 'w').read_text())
    assert (
        'epoch chosen by last epoch the setting is chosen by its dev UAR; the test part chooses nothing'
        in page.text
    )


def test_pooled_figures_and_means_of_folds_are_called_so(whole):
    """No figure of one kind stands beside one of the other without a word."""
    page = whole[2].text
    for heading in (
        'dev UAR (mean of folds)',
        'UAR (pooled)',
        'UAR (mean of folds)',
        'WA (pooled)',
        'F1 (pooled)',
    ):
        assert heading in page
    assert 'UAR (folds pooled) against leakage (mean of folds)' in page


def drawn_colours(figure) -> dict[str, set]:
    """The colours in the axes of a figure by the label of what is drawn, as RGBA."""
    found: dict[str, set] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels()):
            line = handle.lines[0] if hasattr(handle, 'lines') else handle
            found.setdefault(label, set()).add(matplotlib.colors.to_rgba(line.get_color()))
    return found


def test_no_setting_has_the_colour_of_plain_training(tmp_path):
    """With a hundred settings, of which some are plain training, in every picture that draws them as lines."""
    names = [f'setting {n}' for n in range(100)]
    plain = {'setting 0', 'setting 50'}
    lines = {name: {'emotion_loss': [1.0, 0.5]} for name in names}
    reliability = calibration.reliability_bins(np.full(10, 0.7), np.arange(10) < 7)
    for figure in (
        figures.draw_training_curves(lines, {}, names, plain),
        figures.draw_reliability_diagram(dict.fromkeys(names, reliability), plain),
    ):
        colours = {label.partition(':')[0]: of for label, of in drawn_colours(figure).items()}
        black = set.union(*(colours[name] for name in plain))
        others = [colours[name] for name in names if name not in plain]
        assert len(black) == 1
        assert not black & set.union(*others)
        assert len(set.union(*others)) == 98, 'nor do others share one'


def test_no_line_of_the_curve_has_the_colour_of_plain_training():
    """Twelve encoders by erm, which has no coefficient, and by dann, whose lam = 0 is plain training too."""
    rows = []
    for width in range(12):
        for method, lam in (('erm', None), ('leace', None), ('dann', 0.0), ('dann', 1.0)):
            row = {'method': method, 'lam': lam, 'model.width': width} | dict.fromkeys(
                summary.RESULT_KEYS
            )
            rows.append(row | {'uar': 0.5 + width / 100, 'seeds': 1, 'tested_speakers': 3})
    results = {
        'summary': rows,
        'method': 'dann',
        'protocol': '',
        'folds': ['1'],
        'classes': ['A', 'B'],
    }
    results |= {'corpora': ['emodb'], 'synthetic': False}
    figure = figures.draw_curve(results, 'lam')
    found, black = drawn_colours(figure), matplotlib.colors.to_rgba(figures.PLAIN_COLOUR)
    settings = {label: of for label, of in found.items() if 'model.width' in label}
    assert len(settings) == 36
    assert {label for label, of in settings.items() if black in of} == {
        f'erm, model.width = {n} (no lam)' for n in range(12)
    }
    assert found['plain training'] == {black}
    dots = [
        line
        for line in figure.axes[0].lines
        if line.get_marker() == 'o' and matplotlib.colors.to_rgba(line.get_color()) == black
    ]
    assert sum(len(line.get_xdata()) for line in dots) == 12, 'a black dot for each lam = 0'


def test_the_points_of_plain_training_have_a_colour_of_their_own():
    """On the front and off it, in the picture of UAR against leakage."""
    uar_N, leakage_N = np.array([0.6, 0.5, 0.4, 0.3]), np.array([0.5, 0.4, 0.6, 0.7])
    plain_N = np.array([True, False, True, False])
    axes = figures.draw_tradeoff(list('abcd'), plain_N, uar_N, leakage_N, 0.2, 0.9).axes[0]
    black_N = [tuple(c) == (0, 0, 0, 1) for c in axes.collections[0].get_facecolors()]
    assert black_N == plain_N.tolist()


def test_the_front_is_paretos():
    """Less of both, or as much of one and less of the other, is surpassed; equals are not."""
    uar_N, leakage_N = np.array([0.5, 0.6, 0.6, 0.4, 0.6]), np.array([0.2, 0.5, 0.6, 0.3, 0.5])
    assert figures.pareto_front(uar_N, leakage_N).tolist() == [True, True, False, False, True]


def test_the_calibration_error_is_what_confidence_exceeds_accuracy_by():
    """In closed form: 0 where every bin keeps its word, 0.4 where 90 % sure is right every second time; 1.0 is in a bin."""
    right_N = np.arange(100) < 70
    assert calibration.reliability_bins(np.full(100, 0.7), right_N).expected_error == pytest.approx(
        0
    )
    assert calibration.reliability_bins(
        np.full(10, 0.9), np.arange(10) % 2 == 0
    ).expected_error == pytest.approx(0.4)
    both = calibration.reliability_bins(
        np.array([0.9] * 10 + [1.0] * 30), np.array([True, False] * 5 + [True] * 30)
    )
    assert both.expected_error == pytest.approx(0.1)
    assert both.share_B.tolist() == [0.25, 0.75]


def test_several_sweeps_are_compared(tmp_path, undrawn, monkeypatch):
    """Each has its page, the first the comparison, with a map from corpus to corpus where that is what was trained."""
    drawn = []
    monkeypatch.setattr(figures, 'render_png', lambda draw, *of: drawn.append((draw, of)) or b'')
    for source, target, sha in (('a', 'b', 'e'), ('b', 'a', 'f')):
        protocol = {'name': 'source_target', 'source': [source], 'target': [target]}
        finished(tmp_path / source, config={'protocol': protocol}, split_sha256=sha * 64)
    monkeypatch.setattr(
        sys, 'argv', ['report', '--workdir', str(tmp_path / 'a'), str(tmp_path / 'b')]
    )
    report.main()
    assert (tmp_path / 'b' / 'report.html').exists()
    page = Page((tmp_path / 'a' / 'comparison.html').read_text())
    assert '2 sweeps compared' in page.text
    assert '2 splits' in page.text
    assert 'speaker 0.405 (0.200)' in page.text, 'of the coefficient that dev has chosen'
    assert 'p Holm' in page.text
    plain, best = (of for draw, of in drawn if draw is figures.draw_heatmap)
    np.testing.assert_allclose(plain[0], [[np.nan, 0.5], [0.5, np.nan]])
    np.testing.assert_allclose(best[0], [[np.nan, 0.6], [0.6, np.nan]])
    assert plain[1:3] == (['a', 'b'], ['a', 'b'])


def test_a_sweep_over_corpora_has_a_map_of_them(tmp_path):
    """A row a setting, a column what was left out."""
    finished(
        tmp_path / 'w',
        config={'protocol': {'name': 'leave_one_corpus_out', 'source': [], 'target': []}},
    )
    page = Page(write_report(tmp_path / 'w').read_text())
    assert 'Across corpora' in page.text


def test_what_is_not_finished_is_refused(tmp_path):
    """A sentence."""
    with pytest.raises(UserError, match='no finished sweep'):
        write_report(tmp_path)


def test_a_browser_shows_it(whole, tmp_path):
    """On a phone's width, from the disk."""
    if not (browser := shutil.which('chromium') or shutil.which('google-chrome')):
        pytest.skip('no browser here (chromium or google-chrome)')
    page, shot = tmp_path / 'report.html', tmp_path / 'shot.png'
    shutil.copy(whole[0] / 'report.html', page)
    size = '--window-size=390,844'
    command = [browser, '--headless', '--no-sandbox', f'--screenshot={shot}', size, page.as_uri()]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    assert shot.read_bytes()[:4] == b'\x89PNG'
