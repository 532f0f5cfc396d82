"""Tests of what a person reads of a sweep that predicts ratings: CCC in place of UAR."""

import csv
import json

import numpy as np
import pytest
from etils import epath
from helpers import finished_sweeps, rating_sweeps
from helpers.finished_sweeps import CLEAN_AUDIT
from helpers.html_page import Page, skip_drawing
from helpers.rating_sweeps import RATINGS, write_sweep

from jaxser.analysis import bootstrap
from jaxser.analysis.comparison import comparison_rows
from jaxser.analysis.finished import SweepAnalysis, read_finished_sweep
from jaxser.analysis.measure import CCC, UAR
from jaxser.reporting import (
    audit_sections,
    cards,
    comparison_page,
    curve,
    markdown,
    plotting,
    rating_sections,
    terminal,
    verdict,
)
from jaxser.reporting.page import write_report
from jaxser.reporting.target import chance_level, find_target, measure_titles

AUDIT = CLEAN_AUDIT | {'shortcuts': [], 'unmeasured': {}}
ALL_DIVERGED = [(lam, seed, 0) for lam in (0.0, 1.0) for seed in (0, 1)]


@pytest.fixture(scope='module', autouse=True)
def few_draws():
    """Intervals of few draws: the tests are about where they are shown."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(bootstrap, 'DRAWS', 200)
        monkeypatch.setattr(bootstrap, 'RARE_DRAWS', 400)
        yield


@pytest.fixture(scope='module')
def rating_sweep(tmp_path_factory):
    """Returns the workdir of a sweep of ratings of which everything was measured, and its page."""
    path = tmp_path_factory.mktemp('runs') / 'w'
    write_sweep(path, audit=AUDIT)
    finished_sweeps.write_representations(path)
    rating_sweeps.add_enrolment(path)
    with pytest.MonkeyPatch.context() as monkeypatch:
        skip_drawing(monkeypatch)
        return path, Page(write_report(path).read_text())


@pytest.fixture
def no_figures(monkeypatch) -> None:
    """Figures are not drawn: a test of words is quick."""
    skip_drawing(monkeypatch)


def read_analysis(path) -> SweepAnalysis:
    """Reads a finished sweep."""
    return SweepAnalysis(read_finished_sweep(path))


def test_nothing_on_the_page_is_called_uar(rating_sweep):
    """Neither in texts nor in the alternative texts of figures; the emotion is not the aim."""
    _, page = rating_sweep
    words = page.text + ' '.join(attrs['alt'] for attrs in page.elements_of('img'))
    assert 'UAR' not in words
    assert 'the emotion' not in words
    assert 'CCC (concordance correlation coefficient, averaged over the ratings) is' in words
    assert 'Best dev CCC (0.700, mean of folds) of 2 settings' in words
    assert 'collapsed (the ratings were forgotten too, or the run diverged)' in words
    assert 'coloured by arousal in thirds' in words
    assert 'Leakage of the predicted ratings alone' in words
    assert 'Any emotion: what was enrolled.' in words


def test_what_needs_classes_is_left_out(rating_sweep):
    _, page = rating_sweep
    names = [attrs['id'] for attrs in page.elements_of('section') if 'id' in attrs]
    assert 'ratings' in names
    assert not {'confusions', 'calibration'} & set(names)
    assert 'ratings arousal, valence, dominance (from -1 to 1)' in page.text
    assert 'emotions' not in page.text


def test_the_table_of_ratings_has_the_figures_of_the_summary(rating_sweep):
    """Each rating of the best setting, and of plain training; the mean and its difference."""
    path, page = rating_sweep
    analysis = read_analysis(path)
    for rating in RATINGS:
        for row in (analysis.best_row, analysis.plain_row):
            figures = row['ratings'][rating]
            low, high = figures['ccc_ci95']
            title = analysis.setting_title(row)
            assert f'{rating} {title} {figures["ccc"]:.3f} [{low:.3f}, {high:.3f}]' in page.text
            assert f'{figures["pearson"]:.3f} {figures["rmse"]:.3f}' in page.text
    row = analysis.best_row
    low, high = row['ccc_ci95']
    below, above = row['delta_ci95']
    assert (
        f'mean dann, lam = 1 {row["ccc"]:.3f} [{low:.3f}, {high:.3f}] {row["delta_ccc"]:+.3f} '
        f'[{below:+.3f}, {above:+.3f}] {row["pearson"]:.3f}'
    ) in page.text


def test_the_difference_of_a_rating_is_paired(rating_sweep):
    path, page = rating_sweep
    analysis = read_analysis(path)
    best, plain = (analysis.statistics(row) for row in (analysis.best_row, analysis.plain_row))
    difference = bootstrap.difference_estimate(best.select_rating(1), plain.select_rating(1))
    low, high = difference.ci95
    assert f'{difference.value:+.3f} [{low:+.3f}, {high:+.3f}]' in page.text


def test_a_fold_has_the_mean_of_its_seeds(rating_sweep):
    path, page = rating_sweep
    results = json.loads((path / 'results.json').read_text())
    for fold in (0, 1):
        runs = []
        for run in results['runs']:
            if run['hyper']['fold'] == fold and run['hyper']['lam'] == 1:
                runs.append(run['test'])
        cells = [f'{np.mean([t["ratings"][r]["ccc"] for t in runs]):.3f}' for r in RATINGS]
        cells.append(f'{np.mean([test["ccc"] for test in runs]):.3f}')
        assert f'{fold} 120 {" ".join(cells)}' in page.text


def test_a_group_has_the_ccc_of_its_own_utterances(rating_sweep):
    """By sex: speakers of even numbers are m, of odd ones f."""
    path, page = rating_sweep
    analysis = read_analysis(path)
    statistics = analysis.statistics(analysis.best_row)
    for sex, mask_S in analysis.speaker_groups('sex').items():
        own = statistics.select_speakers(mask_S)
        values = [own.select_rating(n).value_by_seed().mean() for n in range(3)]
        cells = ' '.join(f'{value:.3f}' for value in values)
        assert f'{sex} 4 120 {cells}' in page.text


def test_the_table_of_settings_can_be_read_as_csv(rating_sweep):
    path, _ = rating_sweep
    analysis = read_analysis(path)
    with (path / 'summary.csv').open() as file:
        rows = list(csv.DictReader(file))
    best = analysis.rows[2]
    assert float(rows[2]['ccc']) == best['ccc']
    assert float(rows[2]['ccc_low']) == best['ccc_ci95'][0]
    assert float(rows[2]['arousal_rmse']) == best['ratings']['arousal']['rmse']
    assert float(rows[2]['valence_ccc_high']) == best['ratings']['valence']['ccc_ci95'][1]
    assert 'ratings' not in rows[2]


@pytest.mark.parametrize(
    ('select', 'measure', 'other'), [('best dev UAR', UAR, CCC), ('best dev CCC', CCC, UAR)]
)
def test_both_tasks_at_once_have_everything(tmp_path, no_figures, select, measure, other):
    """The measure that selects the epoch is the main one; the table has the other too."""
    write_sweep(tmp_path / 'w', 'emotion+ratings', select=select, audit=AUDIT)
    page = Page(write_report(tmp_path / 'w').read_text())
    assert {'ratings', 'confusions', 'calibration'} <= set(page.ids())
    assert f'Best dev {measure.title} (' in page.text
    assert f'difference to plain training in {measure.title}' in page.text
    assert f'95 % of {other.title}' in page.text
    assert 'Leakage of the predictions alone' in page.text
    assert 'emotions A, B, C (labels: native)' in page.text


def test_the_data_say_that_training_used_the_votes_of_raters(tmp_path):
    train = {'select': 'last epoch', 'soft_labels': True}
    write_sweep(tmp_path / 'w', 'emotion+ratings', config={'train': train}, probed=False)
    facts = dict(audit_sections.data_facts(read_analysis(tmp_path / 'w')))
    assert facts['emotions'] == "A, B, C (labels: native; trained on the raters' votes)"


def test_without_figures_the_section_says_so(tmp_path, no_figures):
    write_sweep(tmp_path / 'w', lams=(0.0, 1.0), diverged=ALL_DIVERGED)
    page = Page(write_report(tmp_path / 'w').read_text())
    assert 'Ratings No setting has figures: in every seed, a fold diverged.' in page.text
    assert not (tmp_path / 'w' / 'ratings.png').exists()


def test_one_rating_has_no_mean(tmp_path, no_figures):
    """The mean of a single rating would be the rating again."""
    write_sweep(tmp_path / 'w', ratings=('valence',), probed=False)
    page = Page(write_report(tmp_path / 'w').read_text())
    assert 'valence dann, lam = 1 0.' in page.text
    assert 'mean dann' not in page.text


def test_predicted_values_are_drawn_against_rated_ones():
    """Points, the diagonal, and the least-squares line from the lowest to the highest rating."""
    truth_N = np.linspace(-0.8, 0.8, 1000)
    panel = rating_sections.RatedPanel('arousal', truth_N, 0.5 * truth_N + 0.1)
    (axes,) = rating_sections.draw_rated_panel(panel).axes
    (points,) = axes.collections
    assert len(points.get_offsets()) == rating_sections.MAX_POINTS
    diagonal, fitted = axes.lines
    np.testing.assert_array_equal(*diagonal.get_data())
    np.testing.assert_allclose(fitted.get_data(), [[-0.8, 0.8], [-0.3, 0.5]], atol=1e-12)
    assert axes.get_xlim() == axes.get_ylim() == rating_sections.SCALE


def test_ratings_that_are_all_equal_have_no_line():
    panel = rating_sections.RatedPanel('arousal', np.zeros(3), np.arange(3) / 3)
    (axes,) = rating_sections.draw_rated_panel(panel).axes
    assert len(axes.lines) == 1


def test_the_figure_is_written_as_a_file_too(tmp_path):
    write_sweep(tmp_path / 'w', probed=False)
    png = rating_sections.ratings_png(read_analysis(tmp_path / 'w'))
    assert png.startswith(b'\x89PNG')


def test_the_terminal_shows_ccc(tmp_path, no_figures, capsys):
    """No confusion matrices are written: there are no classes."""
    results = write_sweep(tmp_path / 'w', audit=AUDIT)
    rating_sweeps.add_enrolment(tmp_path / 'w')
    results |= {'method': 'dann'}
    results['enrolment'] = json.loads((tmp_path / 'w/results.json').read_text())['enrolment']
    terminal.print_results(results, epath.Path(tmp_path / 'w'))
    shown = capsys.readouterr().out
    assert 'UAR' not in shown
    assert 'WA' not in shown
    assert 'CCC with K enrolled utterances' in ' '.join(shown.split())
    assert 'vs plain: CCC, folds pooled, minus that of plain training.' in shown
    assert 'Pearson' in shown
    assert f'{results["summary"][2]["rmse"]:.3f}' in shown
    assert not (tmp_path / 'w' / 'confusion.png').exists()
    assert (tmp_path / 'w' / 'sweep.png').exists()


@pytest.mark.parametrize(('select', 'other'), [('best dev CCC', UAR), ('last epoch', CCC)])
def test_the_terminal_shows_both_measures_of_both_tasks(
    tmp_path, no_figures, capsys, select, other
):
    results = write_sweep(tmp_path / 'w', 'emotion+ratings', select=select, probed=False)
    terminal.print_results(results | {'method': 'dann'}, epath.Path(tmp_path / 'w'))
    shown = capsys.readouterr().out
    definition = {UAR: 'mean recall over classes', CCC: CCC.definition}[other]
    assert f'{other.title}: {definition}. WA: accuracy' in shown
    assert f'│ {results["summary"][2][other.key]:.3f} │' in shown
    assert (tmp_path / 'w' / 'confusion.png').exists()


def test_the_curve_begins_at_a_chance_of_0(tmp_path):
    results = write_sweep(tmp_path / 'w', probed=False) | {'method': 'dann'}
    (panel,) = curve.curve_panels(results)
    assert panel.title == 'CCC'
    (axes,) = curve.draw_curve_panel(results, 'lam', panel).axes
    assert axes.get_ylabel() == 'CCC, folds pooled, mean of seeds'
    (chance,) = [line for line in axes.lines if line.get_label() == 'chance']
    assert list(chance.get_ydata()) == [0, 0]
    assert axes.get_ylim()[0] < 0


@pytest.mark.parametrize(
    ('ends', 'limits'), [((-0.1, 0.0), (-0.2, 0.1)), ((-1.0, -0.9), (-1.0, -0.7))]
)
def test_axes_of_ccc_may_go_below_0(ends, limits):
    assert plotting.wide_limits(*ends, least=-1.0) == pytest.approx(limits)


def test_the_cards_say_when_training_on_ratings_was_short(tmp_path):
    """Plain training near a CCC of 0, and the last epoch was the best on dev."""
    write_sweep(tmp_path / 'w', probed=False)
    analysis = read_analysis(tmp_path / 'w')
    assert cards.short_training_note(analysis) == ''
    analysis.plain_row['ccc'] = 0.1
    for run in analysis.runs:
        run['epoch'] = 3
    assert 'and dev CCC was still rising' in cards.short_training_note(analysis)
    analysis.plain_row['ccc'] = 0.3
    assert 'and dev CCC was still rising' in cards.short_training_note(analysis)
    analysis.complete_runs(analysis.plain_row)[0]['epoch'] = 2
    assert cards.short_training_note(analysis) == '', 'one run may have its best epoch by chance'


def test_the_audit_knows_a_rating_in_thirds(tmp_path):
    """What the audit calls UAR is of a classifier of low, middle and high."""
    clear = {'feature': 'length', 'bits': 0.5, 'uar': 0.6, 'chance': 0.333, 'status': 'clear'}
    tells = {'speaker': {'bits': 0.9, 'chance': 0.1, 'of': 1.6, 'share': 0.5, 'word': 'strong'}}
    audit = CLEAN_AUDIT | {'shortcuts': [clear], 'tells': tells, 'transductive': True}
    write_sweep(tmp_path / 'w', ratings=('valence', 'arousal'), audit=audit, probed=False)
    text = Page(audit_sections.split_section(read_analysis(tmp_path / 'w')).body).text
    assert 'The speaker tells much about valence: 0.90 of 1.60 bits' in text
    figures = 'UAR of low, middle and high 0.600 (chance: 0.333)'
    assert f'The length of a recording alone gives valence away: {figures}.' in text
    assert 'without its ratings.' in text
    assert 'The audit knows valence in thirds of its scale: low, middle and high.' in text
    assert 'emotion' not in text


def test_what_is_predicted_follows_from_the_results():
    """Results of earlier versions have no task: they are about emotions."""
    older = {'classes': ['a', 'b'], 'selection': 'last epoch'}
    assert find_target(older).plural == 'emotions'
    assert find_target(older).lost == 'the emotion was forgotten too'
    assert chance_level(older) == 0.5
    ratings = {'task': 'ratings', 'ratings': ['valence'], 'classes': []}
    assert find_target(ratings).stratum == 'valence'
    assert find_target(ratings).lost == 'the ratings were forgotten too'
    assert chance_level(ratings) == 0
    assert measure_titles([CCC, UAR, CCC]) == 'UAR or CCC'


def make_tables(path) -> list[comparison_page.SweepTable]:
    """Returns a sweep of ratings and one of emotions with their rows."""
    write_sweep(path / 'rated')
    finished_sweeps.write_sweep(path / 'classified')
    tables = []
    for name in ('rated', 'classified'):
        sweep = read_finished_sweep(path / name)
        tables.append(comparison_page.SweepTable(sweep, comparison_rows(sweep)))
    return tables


def test_sweeps_of_both_kinds_are_compared_by_their_own_measure(tmp_path, no_figures):
    """Every difference names its measure."""
    tables = make_tables(tmp_path)
    (_, gained) = tables[0].rows
    rows = {table.sweep.path.name: table.rows for table in tables}
    sentence = verdict.comparison_verdict(rows)
    assert f'dann in rated, CCC {gained.gain.value:+.3f} [' in sentence
    assert 'dann in classified, UAR +0.100 [' in sentence
    assert f'/ 0.955), CCC {gained.gain.value:+.3f}.' in sentence
    page = Page(
        comparison_page.write_comparison([tmp_path / 'rated', tmp_path / 'classified']).read_text()
    )
    assert 'UAR or CCC and leakage of each method' in page.text
    assert f'dann {gained.ccc.value:.3f} CCC {gained.gain.value:+.3f}' in page.text
    assert 'dann 0.600 UAR +0.100' in page.text


def test_sweeps_of_one_kind_do_not_name_the_measure_in_every_difference(tmp_path):
    _, table = make_tables(tmp_path)
    assert 'UAR +0.100 [' not in verdict.comparison_verdict({'w': table.rows})


def test_from_corpus_to_corpus_each_measure_has_its_own_map(tmp_path, monkeypatch):
    """CCC is drawn from its chance, 0."""
    tables = make_tables(tmp_path)
    drawn = []

    def record_figure(title, caption, draw, values, sources, targets, labels, chance, name):
        drawn.append((title, values.tolist(), chance, name))
        return ''

    monkeypatch.setattr(comparison_page, 'html_figure', record_figure)
    for table in tables:
        protocol = {'name': 'source_target', 'source': ['a'], 'target': ['b']}
        table.sweep.metadata['config']['protocol'] = protocol
    comparison_page.cross_corpus_section(tables)
    rated = tables[0].rows
    assert drawn[:2] == [
        ('CCC of plain training by source and target', [[rated[0].ccc.value]], 0, POOLED),
        ('CCC of the best method on dev by source and target', [[rated[1].ccc.value]], 0, POOLED),
    ]
    assert [figure[0][:3] for figure in drawn[2:]] == ['UAR', 'UAR']
    assert drawn[2][2] == pytest.approx(1 / 3)


POOLED = 'CCC, folds pooled'


def test_the_markdown_has_a_column_of_each_rating(tmp_path):
    path = tmp_path / 'w'
    write_sweep(path)
    rating_sweeps.add_enrolment(path)
    sweep = read_finished_sweep(path)
    text = markdown.render_results([path], [], None, '', {str(path): {'ratings.png': 'r.png'}})
    (_, row) = comparison_rows(sweep)
    values = [row.statistics.select_rating(n).value_by_seed().mean() for n in range(3)]
    cells = ' | '.join(f'{value:.3f}' for value in values)
    assert '| arousal | valence | dominance | - plain |' in text
    assert f'| {cells} | {row.gain.value:+.3f} |' in text
    assert '- Ratings: arousal, valence, dominance' in text
    assert 'predictions alone' in text
    assert '![predicted against rated values, w](r.png)' in text
    assert 'UAR' not in text
    assert 'Labels' not in text
    assert '| dann, lam = 1 | any emotion | CCC | 0.600 |' in text


def test_the_markdown_of_both_tasks_has_both_measures(tmp_path):
    path = tmp_path / 'w'
    write_sweep(path, 'emotion+ratings', select='last epoch', probed=False)
    text = markdown.render_results([path], [], None, '')
    (_, row) = comparison_rows(read_finished_sweep(path))
    low, high = row.ccc.ci95
    assert '| UAR (pooled) | ± |  | CCC (pooled) |  | - plain |' in text
    assert f'| {row.ccc.value:.3f} | [{low:.3f}, {high:.3f}] | {row.gain.value:+.3f} |' in text


def test_ratings_of_a_split_that_leaks_are_not_valid(tmp_path, no_figures):
    write_sweep(tmp_path / 'w', audit=finished_sweeps.LEAKY_AUDIT, probed=False)
    page = Page(write_report(tmp_path / 'w').read_text())
    assert 'Ratings Not valid: the split leaks. ' in page.text
