"""Tests of report.html: it is complete, loads nothing, and shows what results.json has."""

import csv
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers import finished_sweeps
from helpers.finished_sweeps import HTML_NAME, SPEAKERS, write_sweep
from helpers.html_page import Page, skip_drawing

from data_pipelines.errors import UserError
from jaxser.reporting.page import write_report
from jaxser.runs import SYNTHETIC_WARNING

ANSWER_LINKS = ('#card-forgetting', '#card-benefit', '#card-split')
ALL_DIVERGED = [(lam, seed, 0) for lam in (0.0, 0.3, 1.0) for seed in (0, 1)]


def read_page(path: Path) -> Page:
    """Writes the page of a sweep and reads it."""
    return Page(write_report(path).read_text())


@pytest.fixture(scope='module')
def full_sweep(tmp_path_factory) -> tuple[Path, dict, Page]:
    """Returns a sweep of which everything was measured, its results.json and its page."""
    path = tmp_path_factory.mktemp('runs') / '<b>&"'
    results = write_sweep(path)
    finished_sweeps.write_representations(path)
    return path, results, read_page(path)


@pytest.fixture
def no_figures(monkeypatch) -> None:
    """Figures are not drawn: a test of words is quick."""
    skip_drawing(monkeypatch)


def test_the_page_loads_nothing(full_sweep):
    """No script, style sheet, file or address; figures are inline, and have alternative texts."""
    _, _, page = full_sweep
    tags = {name for name, _ in page.elements}
    assert not tags & {'script', 'link', 'iframe', 'object', 'base', 'form', 'video'}
    assert all(attrs['href'].startswith('#') for attrs in page.elements_of('a'))
    images = page.elements_of('img')
    assert len(images) >= 15
    for attrs in images:
        assert attrs['src'].startswith('data:image/svg+xml;base64,')
        assert len(attrs['alt']) > 10
    assert len({attrs['alt'] for attrs in images}) == len(images), 'each has its own text'
    assert 'font' in ''.join(page.styles)
    assert 'url(' not in ''.join(page.styles)
    metas = page.elements_of('meta')
    assert any(attrs.get('http-equiv') == 'Content-Security-Policy' for attrs in metas)
    assert any(attrs.get('name') == 'viewport' for attrs in metas)


def test_the_contents_link_to_every_section(full_sweep):
    """In the order of the page: results, evidence, details."""
    _, _, page = full_sweep
    names = [attrs['id'] for attrs in page.elements_of('section') if 'id' in attrs]
    links = [attrs['href'] for attrs in page.elements_of('a')]
    assert links == [*ANSWER_LINKS, *(f'#{name}' for name in names)]
    assert names == [
        'data',
        'settings',
        'leakage',
        'speakers',
        'confusions',
        'groups',
        'split',
        'map',
        'calibration',
        'training',
        'failed',
        'details',
    ]


def test_names_from_data_never_become_html(full_sweep):
    """Names of a speaker, a folder, a command and a configuration are shown as they are."""
    _, _, page = full_sweep
    assert not page.elements_of('i')
    assert not page.elements_of('dir')
    assert not page.elements_of('x')
    for name in (HTML_NAME, '王', '<b>&"', '--config=<x>', '"<dir>"'):
        assert name in page.text


def test_the_best_setting_is_chosen_by_dev(full_sweep):
    """lam = 0.3 is better on test, and not chosen."""
    _, results, page = full_sweep
    assert [row['uar'] for row in results['summary']] == pytest.approx([0.5, 0.8, 0.6])
    assert 'dann, lam = 1 , compared with plain training (dann, lam = 0)' in page.text
    rule = 'Best dev UAR (0.700, mean of folds) of 2 settings compared with plain training.'
    assert rule in page.text


def test_the_page_says_which_setting_is_saved_as_the_model(tmp_path, monkeypatch, no_figures):
    """It may be plain training, which the page is never about."""
    assert 'This setting is saved as the model.' in full_sweep_words(tmp_path / 'a')
    monkeypatch.setitem(finished_sweeps.DEV_UAR, 0.0, 0.9)
    words = full_sweep_words(tmp_path / 'b')
    assert 'dann, lam = 1 , compared with' in words
    plain = 'Saved as the model: plain training (dann, lam = 0)'
    assert f'{plain}, which has the best dev UAR of all settings (0.900).' in words


def full_sweep_words(path: Path) -> str:
    """Writes a sweep; returns the text of its page."""
    write_sweep(path)
    return read_page(path).text


def test_identifiers_are_unique_and_headings_are_in_order(full_sweep):
    """A screen reader jumps by them: one h1, and no level is left out."""
    _, _, page = full_sweep
    assert len(set(page.ids())) == len(page.ids())
    levels = page.heading_levels()
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))


def test_the_answers_come_first(full_sweep):
    """In a line each, before the cards, so that the first screen of a phone shows them."""
    _, _, page = full_sweep
    assert 'Did it forget the speaker? ! In part Did it help? ✓ Yes, better Is the' in page.text
    assert page.text.index('Is the split clean?') < page.text.index('compared with plain training')
    assert set(ANSWER_LINKS) <= {f'#{name}' for name in page.ids()}


def test_the_cards_come_before_everything_else(full_sweep):
    _, _, page = full_sweep
    assert page.cards() == {'forgetting': 'amber', 'benefit': 'green', 'split': 'amber'}
    assert page.text.index('Is the split clean?') < page.text.index('Contents')


def test_the_page_says_what_the_data_are(full_sweep):
    _, _, page = full_sweep
    for fact in (
        'corpus one',
        'language de',
        'speakers 8 (4 f, 4 m)',
        'emotions A, B, C (labels: native)',
        'protocol speaker_folds, folds 0, 1 of 5',
        'epoch chosen by best dev UAR',
    ):
        assert fact in page.text, fact
    assert re.search(r'results written \d{4}-\d\d-\d\d', page.text)


def test_tables_can_be_scrolled_by_keyboard_and_have_titles(full_sweep):
    _, _, page = full_sweep
    scrolled = [attrs for attrs in page.elements_of('div') if attrs.get('class') == 'scroll']
    assert scrolled
    assert all(attrs['tabindex'] == '0' and attrs['aria-label'] for attrs in scrolled)
    assert len(page.elements_of('caption')) == len(page.elements_of('table'))
    assert all(attrs.get('scope') in ('row', 'col') for attrs in page.elements_of('th'))


def test_leakage_is_shown_beside_chance_and_the_input(full_sweep):
    """For each setting: UAR, training and unseen speakers by the strongest attacker."""
    _, results, page = full_sweep
    headings = (
        'setting UAR leakage of training speakers 95 % vs plain '
        'leakage of unseen speakers 95 % vs plain forgotten'
    )
    assert f'{headings} chance 0.333 0.200 0.250 the input alone 0.950 (RBF) 0.950 (RBF)' in (
        ' '.join(page.text.split())
    )
    delta = results['summary'][2]['probe']['speaker']['delta']
    training = f'0.505 (RBF) [0.505, 0.505] {delta:+.3f} ['
    assert f'dann, lam = 1 0.600 {training}' in page.text
    assert '0.555 (RBF) [0.555, 0.555]' in page.text
    assert 'in part (4 of 4 runs)' in page.text, 'as on the card'
    assert 'RBF, seen' not in page.text


def test_the_details_have_every_attacker_the_scores_and_verification(full_sweep):
    """Bits beside recall, what a service would release, the other domains, and LDA."""
    _, _, page = full_sweep
    text = ' '.join(page.text.split())
    attackers = '0.405 0.355 0.505 0.305 0.505 (RBF) [0.505, 0.505] 0.200 0.950 (RBF) 8 1.50'
    assert f'dann, lam = 1 training speakers {attackers}' in text
    assert 'dann, lam = 1 unseen speakers 0.400 (RBF) 0.20 0.555 (RBF) 0.250' in text
    assert 'setting emotion chance 0.333 the input alone 0.600 (RBF) dann, lam = 0 0.700' in text
    assert 'the input alone 0.300 0.350 dann, lam = 0 0.400 0.450 4' in text


def test_chance_that_depends_on_the_setting_is_not_that_of_one_setting(
    tmp_path, no_figures, monkeypatch
):
    """As in a sweep over the number of training speakers; each setting has its own below."""
    answer = finished_sweeps.speaker_answer

    def answer_of_own_chance(linear: float, **arguments) -> dict:
        return answer(linear, **arguments) | {'chance': round(linear / 10, 2)}

    monkeypatch.setattr(finished_sweeps, 'speaker_answer', answer_of_own_chance)
    write_sweep(tmp_path / 'w')
    text = ' '.join(read_page(tmp_path / 'w').text.split())
    assert 'chance 0.333 varies varies the input alone' in text


def test_the_figure_of_uar_against_leakage_is_a_file_too(full_sweep):
    """For a README or a paper."""
    path, _, _ = full_sweep
    assert (path / 'leakage.png').read_bytes().startswith(b'\x89PNG')


def test_results_of_earlier_versions_are_called_biased_low(tmp_path, no_figures):
    """They have two attackers, tested on utterances seen in training, and no unseen speakers."""
    write_sweep(tmp_path / 'w', old_probe=True)
    text = ' '.join(read_page(tmp_path / 'w').text.split())
    assert 'dann, lam = 1 0.600 0.405 (linear, seen)' in text
    assert 'Leakage of unseen speakers was not measured.' in text
    assert 'used to train the encoder, so that their leakage is biased low' in text
    assert "'seen': the attacker was tested on utterances that training used" in text
    assert 'such leakage is biased low' in text, 'in the first card'


def test_the_page_says_that_speakers_were_sampled(tmp_path, no_figures, monkeypatch):
    answer = finished_sweeps.speaker_answer

    def sampled_answer(*arguments, **options):
        sampled_from = {'classes': 900, 'n': 20_000}
        return answer(*arguments, **options) | {'sampled_from': sampled_from}

    write_sweep(tmp_path / 'whole')
    monkeypatch.setattr(finished_sweeps, 'speaker_answer', sampled_answer)
    write_sweep(tmp_path / 'sample')
    sentence = 'fitted and tested on a random sample'
    assert sentence not in ' '.join(read_page(tmp_path / 'whole').text.split())
    assert sentence in ' '.join(read_page(tmp_path / 'sample').text.split())


def test_an_attacker_below_chance_is_a_warning(tmp_path, no_figures, monkeypatch):
    """In the table, too: an attacker that is always wrong knows the speaker."""
    answer = finished_sweeps.speaker_answer

    def answer_below_chance(linear: float, **arguments) -> dict:
        return answer(linear, **arguments) | {'below_chance': True}

    monkeypatch.setattr(finished_sweeps, 'speaker_answer', answer_below_chance)
    monkeypatch.setitem(finished_sweeps.ADDED_RECALL, 'knn', -0.4)
    write_sweep(tmp_path / 'w')
    page = read_page(tmp_path / 'w')
    assert 'An attacker is wrong more often than by guessing.' in page.text
    assert '(RBF, below chance)' in page.text
    assert page.cards()['forgetting'] == 'amber'


def test_the_figures_are_those_of_results_json(full_sweep):
    """In the box and in the table; summary.csv has all their digits."""
    path, results, page = full_sweep
    row = results['summary'][2]
    low, high = row['delta_ci95']
    p_values = 'p: < 0.001, corrected by Holm: < 0.001'
    difference = f'+0.100 [{low:+.3f}, {high:+.3f}], {p_values}'
    assert f'difference to plain training in UAR, folds pooled {difference}' in page.text
    for question, recall, plain_recall, chance in (
        ('training speakers', '0.505', '0.905', '0.200'),
        ('unseen speakers', '0.555', '0.955', '0.250'),
    ):
        levels = f'[{recall}, {recall}], plain training: {plain_recall} (RBF), chance: {chance}'
        name = f'leakage of {question}, strongest attacker'
        assert f'{name} {recall} (RBF) {levels}' in page.text
    assert f'sha256 {"f" * 64}' in page.text
    with open(path / 'summary.csv', newline='') as file:
        lines = list(csv.DictReader(file))
    for line, row in zip(lines, results['summary'], strict=True):
        for key in ('lam', 'dev_uar', 'uar', 'wa', 'delta_uar', 'p_holm'):
            assert line[key] == ('' if row[key] is None else str(row[key]))
        assert float(line['uar_low']) == row['uar_ci95'][0]
        for question in ('speaker', 'unseen_speaker'):
            answer = row['probe'][question]
            for key in ('linear', 'rbf', 'strongest', 'bits'):
                assert float(line[f'{question}_{key}']) == answer[key]
            assert line[f'{question}_attacker'] == 'rbf'
            assert float(line[f'{question}_low']) == answer['ci95'][0]
            assert float(line[f'{question}_scores_strongest']) == answer['scores']['strongest']
        assert float(line['verification_lda_eer']) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ('facts', 'card', 'status', 'text'),
    [
        ({'share_by_speaker': (0.4, 0.6) * 4}, 'benefit', 'amber', 'No difference shown'),
        ({'speakers': SPEAKERS[:4]}, 'benefit', 'amber', 'Too few speakers to say'),
        ({'lams': (0.0, 0.3)}, 'forgetting', 'amber', '4 of 4 runs are inert'),
        ({'lams': (0.0, 0.3)}, 'forgetting', 'amber', 'Next: try another lam'),
        (
            {'audit': {'leaks': ['audio']}},
            'split',
            'red',
            'The same or nearly the same recordings are in',
        ),
        ({'lams': (0.0,)}, 'forgetting', 'amber', 'Nothing to compare with'),
        ({'diverged': [(1.0, 0, 0)]}, 'forgetting', 'amber', '1 of 4 runs collapsed'),
        ({'diverged': ALL_DIVERGED}, 'benefit', 'red', 'No result'),
    ],
)
def test_what_must_not_be_missed_is_in_a_card(tmp_path, no_figures, facts, card, status, text):
    """Inert, collapsed, undecided, leaking."""
    write_sweep(tmp_path / 'w', **facts)
    page = read_page(tmp_path / 'w')
    assert page.cards()[card] == status
    assert text in page.text


@pytest.mark.parametrize(
    ('facts', 'text'),
    [
        ({'probed': False}, 'Leakage was not measured'),
        ({'lams': (0.0,)}, 'There is no plain training'),
        ({'folds': 1, 'seeds': 1, 'speakers': SPEAKERS[:1]}, 'Only 1 speaker'),
        ({'diverged': [(0.3, 0, 0), (1.0, 0, 1)]}, '2 of 12 runs'),
        ({'diverged': [(0.0, 0, 0), (0.0, 1, 0)]}, 'There is no plain training'),
        ({'diverged': ALL_DIVERGED}, 'no setting has figures'),
        ({'absent': 'B'}, 'No tested utterance is B'),
        ({'speakers': SPEAKERS, 'corpora': ['demo'], 'synthetic': True}, SYNTHETIC_WARNING),
    ],
)
def test_the_page_says_what_is_missing_and_shows_the_rest(tmp_path, facts, text):
    """No probe, no plain training, one speaker, diverged runs, an absent class: a page always."""
    write_sweep(tmp_path / 'w', **facts)
    page = read_page(tmp_path / 'w')
    assert text in page.text
    assert 'There is no representations.npz' in page.text
    assert len(page.elements_of('section')) == 12 + len(page.cards())


def test_the_results_of_a_split_that_leaks_are_marked_everywhere(tmp_path, no_figures):
    """Every section with results, and no other; a clean split has no such mark."""
    write_sweep(tmp_path / 'w', audit=finished_sweeps.LEAKY_AUDIT)
    marked = re.findall(r'(\w[\w ]*?) Not valid: the split leaks\.', read_page(tmp_path / 'w').text)
    assert len(marked) == 7
    for name in ('settings', 'Leakage', 'speaker', 'Confusions', 'group', 'Calibration'):
        assert any(title.endswith(name) for title in marked), name
    write_sweep(tmp_path / 'clean')
    assert 'Not valid' not in read_page(tmp_path / 'clean').text


def test_missing_files_are_no_reason_to_fail(tmp_path, no_figures):
    """Metrics, and the speakers and entropies that earlier versions did not write."""
    results = write_sweep(tmp_path / 'w')
    (tmp_path / 'w' / 'metrics.jsonl').unlink()
    del results['speakers']
    for run in results['runs']:
        del run['entropy']
    (tmp_path / 'w' / 'results.json').write_text(json.dumps(results))
    page = read_page(tmp_path / 'w')
    assert 'There is no metrics.jsonl' in page.text
    assert 'results.json does not contain the sex, language and corpus' in page.text


def test_the_group_with_the_lowest_uar_is_named(tmp_path, no_figures):
    """By sex and by speaker; a group that all speakers are in does not count."""
    shares = (0.6, 0.4, 0.6, 0.4, 0.6, 0.4, 0.6, 0.1)
    write_sweep(tmp_path / 'w', share_by_speaker=shares)
    page = read_page(tmp_path / 'w')
    assert 'The lowest UAR of each kind of group: sex f (0.325); speaker h (0.100).' in page.text


@pytest.mark.parametrize(
    ('shares', 'groups', 'lowest'),
    [
        ((0.5,) * 8, 'sex: no difference between groups (0.500); speaker: no difference', 0),
        ((0.5, 0.5, 0.4, 0.4, *(0.5,) * 4), 'between groups (0.475); speaker d, 王 (0.400).', 2),
        ((0.4,) * 4 + (0.5,) * 4, 'speaker: 4 of 8 groups (0.400).', 4),
    ],
)
def test_of_equal_groups_none_is_the_lowest(tmp_path, no_figures, shares, groups, lowest):
    """The setting of the page is highlighted, and the lowest groups."""
    write_sweep(tmp_path / 'w', share_by_speaker=shares)
    page = read_page(tmp_path / 'w')
    assert groups in page.text
    highlighted = [a for a in page.elements_of('tr') if a.get('class') == 'highlighted']
    assert len(highlighted) == 1 + lowest


def test_the_page_says_what_chose_the_epoch_and_what_the_setting(tmp_path, no_figures):
    """Under `last epoch` too, which chooses no setting."""
    write_sweep(tmp_path / 'w', selection='last epoch')
    text = read_page(tmp_path / 'w').text
    assert 'epoch chosen by last epoch; test data choose nothing' in text
    assert 'Best dev UAR (0.700, mean of folds) of 2 settings' in text


def test_pooled_figures_and_means_of_folds_are_called_so(full_sweep):
    """The two kinds are never side by side without a word."""
    _, _, page = full_sweep
    for heading in (
        'dev UAR (mean of folds)',
        'UAR (pooled)',
        'UAR (mean of folds)',
        'WA (pooled)',
        'F1 (pooled)',
    ):
        assert heading in page.text
    assert 'against leakage (the strongest attacker, mean of folds)' in page.text


def test_a_sweep_that_leaves_out_corpora_has_a_table_of_them(tmp_path):
    """A row per setting, a column per corpus that was left out."""
    protocol = {'name': 'leave_one_corpus_out', 'source': [], 'target': []}
    write_sweep(tmp_path / 'w', config={'protocol': protocol})
    assert 'Across corpora' in read_page(tmp_path / 'w').text


def test_an_unfinished_sweep_is_refused(tmp_path):
    with pytest.raises(UserError, match='no finished sweep'):
        write_report(tmp_path)


def test_a_browser_shows_the_page(full_sweep, tmp_path):
    """On a phone's width, from the disk."""
    browser = shutil.which('chromium') or shutil.which('google-chrome')
    if not browser:
        pytest.skip('no browser here (chromium or google-chrome)')
    page, screenshot = tmp_path / 'report.html', tmp_path / 'shot.png'
    shutil.copy(full_sweep[0] / 'report.html', page)
    options = ['--headless', '--no-sandbox', f'--screenshot={screenshot}']
    command = [browser, *options, '--window-size=390,844', page.as_uri()]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    assert screenshot.read_bytes()[:4] == b'\x89PNG'
