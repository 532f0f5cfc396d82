"""Tests of the comparison of sweeps that enrol speakers with plain training without enrolment."""

import pytest
from helpers.compared_sweeps import write_sweep
from helpers.html_page import Page

from jaxser.analysis.comparison import comparison_rows
from jaxser.analysis.reference import compare_with_references
from jaxser.reporting import comparison_page, markdown

ENROLLED_RUNS = {('erm', None): (0.75, (0.7, 0.7)), ('dann', 0.3): (1.0, (0.7, 0.5))}
PLAIN_RUNS = {('erm', None): (0.5, (0.6, 0.6))}


def make_table(path, runs: dict, normalise: str, enrol: int | str, split: str = 'f' * 64) -> tuple:
    """Returns a finished sweep with its rows."""
    sweep = write_sweep(path, runs)
    sweep.metadata['config'] |= {'data': {'normalise': normalise}, 'protocol': {'enrol': enrol}}
    sweep.results['split_sha256'] = split
    for run in sweep.results['runs']:
        recall = 0.8 if normalise == 'global' else 0.6
        recalls = {speaker: recall + 0.01 * n for n, speaker in enumerate('abcdefgh')}
        answer = {'linear': recall, 'chance': 0.25, 'recall': {'linear': recalls}}
        run['probe'] = {'unseen_speaker': answer}
    return sweep, comparison_rows(sweep)


def test_every_row_is_compared_with_the_reference_on_the_same_utterances(tmp_path):
    """In UAR and in the leakage of unseen speakers, with intervals over speakers."""
    enrolled = make_table(tmp_path / 'enrolled', ENROLLED_RUNS, 'speaker_enrolled', 'all')
    plain = make_table(tmp_path / 'plain', PLAIN_RUNS, 'global', 0)
    (comparison,) = compare_with_references([plain, enrolled])
    assert comparison.sweep is enrolled[0]
    assert comparison.reference is plain[0]
    erm, dann = comparison.gains
    assert erm.gain.value == pytest.approx(0.25)
    assert dann.gain.value == pytest.approx(0.5)
    for gain in comparison.gains:
        low, high = gain.gain.ci95
        assert low <= gain.gain.value <= high
        assert gain.p_holm >= gain.gain.p
        assert gain.unseen_leakage['delta'] == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ('normalise', 'enrol', 'split', 'runs'),
    [
        ('global', 0, '0' * 64, PLAIN_RUNS),
        ('global', 'none', 'f' * 64, PLAIN_RUNS),
        ('speaker', 0, 'f' * 64, PLAIN_RUNS),
        ('global', 0, 'f' * 64, {('dann', 0.3): (0.5, (0.6, 0.6))}),
    ],
    ids=['another split', 'nothing set aside', 'another normalisation', 'no plain training'],
)
def test_without_a_fair_reference_there_is_no_comparison(tmp_path, normalise, enrol, split, runs):
    enrolled = make_table(tmp_path / 'enrolled', ENROLLED_RUNS, 'speaker_enrolled', 'all')
    other = make_table(tmp_path / 'other', runs, normalise, enrol, split)
    assert compare_with_references([enrolled, other]) == []


def test_the_markdown_and_the_page_have_the_table(tmp_path, monkeypatch):
    tables = {
        tmp_path / 'e': make_table(tmp_path / 'e', ENROLLED_RUNS, 'speaker_enrolled', 8),
        tmp_path / 'p': make_table(tmp_path / 'p', PLAIN_RUNS, 'global', 0),
    }
    for module in (markdown, comparison_page):
        monkeypatch.setattr(module, 'read_finished_sweep', lambda path: tables[path][0])
    for sweep, _ in tables.values():
        sweep.metadata['config']['protocol']['name'] = 'speaker_folds'
    text = markdown.render_results(list(tables), [], None, '')
    assert text.count('### Against plain training without enrolment') == 1
    assert '|  | erm |  | 8 | 0.750 | 0.500 | +0.250 |' in text
    assert '|  | dann | lam 0.3 | 8 | 1.000 | 0.500 | +0.500 |' in text
    assert text.count('- Enrolled utterances of each tested speaker: 8 (transductive)\n') == 1
    html = comparison_page.write_comparison(list(tables)).read_text()
    assert 'reference' in [attrs['id'] for attrs in Page(html).elements_of('section')]
    assert '+0.500' in html


def test_sweeps_without_enrolment_have_no_such_table(tmp_path):
    path = write_sweep(tmp_path / 'w').path
    assert 'without enrolment' not in markdown.render_results([path], [], None, '')
