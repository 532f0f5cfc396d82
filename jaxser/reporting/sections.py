"""The sections of the report page on results: settings, speakers, confusions, groups."""

from collections.abc import Iterable

import numpy as np
from markupsafe import Markup

from data_pipelines.wording import pluralize
from jaxser.analysis import bootstrap
from jaxser.analysis.finished import SweepAnalysis
from jaxser.analysis.leakage import is_biased_low
from jaxser.analysis.measure import CCC, UAR, Measure
from jaxser.analysis.statistics import Statistics
from jaxser.reporting import speaker_sections
from jaxser.reporting.curve import curve_key, curve_panels, draw_curve_panel
from jaxser.reporting.figures import (
    draw_confusion_difference,
    draw_confusion_matrix,
    draw_heatmap,
)
from jaxser.reporting.formats import (
    OTHER_FIGURES,
    PEARSON_RMSE_NOTE,
    SEEN_NOTE,
    VOTE_KL_NOTE,
    describe_verdicts,
    format_enrolled,
    format_estimate,
    format_interval,
    format_leakage,
    format_number,
    format_p,
)
from jaxser.reporting.html import (
    Picture,
    Section,
    cells_table,
    html_details,
    html_figure,
    html_figures,
    html_paragraph,
)
from jaxser.reporting.plotting import MAX_COLOURS
from jaxser.reporting.target import define_measure
from jaxser.runs import distinct_values

MAX_NAMED_GROUPS = 3  # with the same figure
NO_COMPLETE_SETTING = 'No setting has figures: in every seed, a fold diverged.'


def settings_section(analysis: SweepAnalysis) -> Section:
    """Returns the table of all settings: the summary, as in results.json and summary.csv."""
    cells_by_row = [_setting_cells(analysis, row) for row in analysis.rows]
    best = [n for n, row in enumerate(analysis.rows) if row is analysis.best_row]  # one or none
    body = cells_table('Each setting and its figures', cells_by_row, highlighted=best)
    body += html_paragraph(
        *_measure_sentences(analysis),
        'Pooled: over the test parts of all folds together, mean over seeds.',
        'Mean of folds: each fold by itself, mean over folds and seeds; leakage is such a mean.',
        'Leakage: recall of the strongest attacker, which is named.',
        _seen_sentence(analysis.rows),
        '95 %: intervals of the pooled figures that resample speakers.',
        'Forgotten: see the section on leakage.' if _any_verdict(analysis.rows) else '',
        *_comparison_sentences(analysis),
    )
    for key in _curve_keys(analysis.results):
        pictures = []
        for panel in curve_panels(analysis.results):
            arguments = (analysis.results, key, panel)
            pictures.append(Picture(f'{panel.title} against {key}', draw_curve_panel, arguments))
        body += html_figures(
            f'{analysis.measure.title} (folds pooled) against {key}, and leakage (strongest '
            'attacker, mean of folds) where it was measured; bars: 95 % intervals that resample '
            'speakers.',
            pictures,
        )
    return Section('settings', 'All settings', body)


def _measure_sentences(analysis: SweepAnalysis) -> list[str]:
    """Returns what the measures in the table are, the main one first."""
    sentences = []
    for measure in _table_measures(analysis):
        sentences.append(f'{measure.title}: {define_measure(measure)}.')
    if analysis.ratings:
        sentences.append(f'{PEARSON_RMSE_NOTE} Both are averaged over the ratings.')
    if any(row.get('vote_kl') is not None for row in analysis.rows):
        sentences.append(VOTE_KL_NOTE)
    return sentences


def _comparison_sentences(analysis: SweepAnalysis) -> list[str]:
    """Returns what the columns and marks of a comparison are; none where nothing is compared."""
    sentences = []
    if analysis.compared_rows:
        sentences.append(f'vs plain: minus the {analysis.measure.title} of plain training.')
        sentences.append('p Holm: corrected for the number of rows that are compared.')
    if len(analysis.rows) > 1:
        highlighted = 'Highlighted: the setting that this report is about. It is the best on dev'
        if analysis.compared_rows:
            highlighted += ' of those that are compared with plain training'
        sentences.append(f'{highlighted}.')
    return sentences


def _table_measures(analysis: SweepAnalysis) -> list[Measure]:
    """Returns the measures of the sweep, the main one first."""
    others = [UAR] if analysis.classes else []
    if analysis.ratings:
        others.append(CCC)
    return list(dict.fromkeys((analysis.measure, *others)))


def _seen_sentence(rows: list[dict]) -> str:
    """Returns what 'seen' beside an attacker means, if it is in the table."""
    for row in rows:
        answer = (row['probe'] or {}).get('speaker')
        if answer and is_biased_low(answer):
            return SEEN_NOTE
    return ''


def _any_verdict(rows: list[dict]) -> bool:
    return any(row['adversary'] for row in rows)


def _curve_keys(results: dict) -> list[str]:
    """Returns the keys that have a curve: the usual one, and the number of training speakers."""
    keys = [curve_key(results)]
    if len(distinct_values(results['summary'], 'speakers')) > 1:
        keys.append('speakers')
    return list(dict.fromkeys(filter(None, keys)))


def _setting_cells(analysis: SweepAnalysis, row: dict) -> list[tuple[str, object]]:
    """Returns a row of the summary as (heading, text) of every column."""
    probe = row['probe'] or {}
    key, title = analysis.measure.key, analysis.measure.title
    cells = [
        ('setting', analysis.setting_title(row)),
        ('enrolled', format_enrolled(analysis.enrolled(row))),
        (f'{title} (pooled)', format_number(row[key])),
        ('95 %', format_interval(row[f'{key}_ci95'])),
        ('vs plain (pooled)', format_number(row[f'delta_{key}'], '+z.3f')),
        ('95 %', format_interval(row['delta_ci95'], '+z.3f')),
        ('p', format_p(row['p'])),
        ('p Holm', format_p(row['p_holm'])),
        ('leakage of training speakers', format_leakage(probe.get('speaker'))),
        ('chance', format_number(probe.get('speaker', {}).get('chance'))),
        ('leakage of unseen speakers', format_leakage(probe.get('unseen_speaker'))),
        ('chance', format_number(probe.get('unseen_speaker', {}).get('chance'))),
        ('forgotten', describe_verdicts(row['adversary'])),
        (f'dev {title} (mean of folds)', format_number(row[f'dev_{key}'])),
        (f'{title} (mean of folds)', format_number(row[f'{key}_folds'])),
        ('± seeds', format_number(row[f'{key}_sd_seeds'])),
    ]
    for other in _table_measures(analysis)[1:]:
        cells += _other_measure_cells(other, row)
    for figure, heading in OTHER_FIGURES.items():
        cells.append((f'{heading} (pooled)', format_number(row.get(figure))))
    return [*cells, ('seeds', row['seeds'])]


def _other_measure_cells(measure: Measure, row: dict) -> list[tuple[str, str]]:
    """Returns the cells of a measure by which settings are not compared."""
    return [
        (f'{measure.title} (pooled)', format_number(row[measure.key])),
        (f'95 % of {measure.title}', format_interval(row[f'{measure.key}_ci95'])),
        (f'dev {measure.title} (mean of folds)', format_number(row[f'dev_{measure.key}'])),
    ]


def confusions_section(analysis: SweepAnalysis) -> Section | None:
    """Returns the confusion matrices of the best setting and of plain training.

    Returns None where no classes are predicted.
    """
    if not analysis.classes:
        return None
    best, plain = analysis.best_row, analysis.plain_row
    if not best:
        return Section('confusions', 'Confusions', html_paragraph(NO_COMPLETE_SETTING))
    rows = {'': best}
    if plain:
        rows = {'': best, ' (plain training)': plain}
    pictures = []
    for note, row in rows.items():
        title = f'{analysis.setting_title(row)}{note}'
        arguments = (row['confusion'], analysis.classes, title)
        pictures.append(Picture(f'Confusion matrix of {title}', draw_confusion_matrix, arguments))
    caption = 'Percent of each true class. Test parts of all folds and seeds.'
    if plain:
        arguments = (best['confusion'], plain['confusion'], analysis.classes)
        alt = 'Difference of the two confusion matrices'
        pictures.append(Picture(alt, draw_confusion_difference, arguments))
        caption += (
            ' Difference: in percentage points, computed before rounding. Blue is better (more on '
            'the diagonal, or less elsewhere), red is worse.'
        )
    body = html_figures(caption, pictures)
    tested = np.sum(best['confusion'], axis=1)
    absent = [name for name, count in zip(analysis.classes, tested) if not count]
    if absent:
        body += html_paragraph(
            f'No tested utterance is {", ".join(absent)}: UAR is the mean over the other classes.'
        )
    return Section('confusions', 'Confusions', body)


def groups_section(analysis: SweepAnalysis) -> Section:
    """Returns UAR or CCC by corpus, language, sex and speaker, and which group has the lowest.

    With many speakers, only those with enough utterances count, and only the lowest and the highest
    are shown.
    """
    if not analysis.best_row:
        return Section('groups', 'By group', html_paragraph(NO_COMPLETE_SETTING))
    best = analysis.statistics(analysis.best_row)
    all_plain = analysis.statistics(analysis.plain_row) if analysis.plain_row else None
    tables = Markup('')
    lowest_groups = []
    for kind in ('corpus', 'language', 'sex', 'speaker'):
        masks = analysis.speaker_groups(kind)
        is_shortened = kind == 'speaker' and len(masks) > speaker_sections.MAX_LISTED_SPEAKERS
        if is_shortened:
            masks = _with_enough_utterances(best, masks)
        if len(masks) < 2:
            continue
        values, cells_by_row = [], []
        for group, mask_S in masks.items():
            plain = all_plain.select_speakers(mask_S) if all_plain else None
            own = best.select_speakers(mask_S)
            estimate = bootstrap.measure_estimate(own)
            values.append(estimate.value)
            cells = _group_cells(own, plain, estimate)
            cells_by_row.append([(kind, group), *cells])
        lowest = _lowest_groups(values)
        lowest_groups.append(_describe_lowest(kind, list(masks), values, lowest))
        if is_shortened:
            tables += _shortened_table(analysis.measure, values, cells_by_row)
            continue
        table = cells_table(f'{analysis.measure.title} by {kind}', cells_by_row, highlighted=lowest)
        if kind == 'speaker':
            table = html_details(pluralize(len(masks), 'speaker'), table)
        tables += table
    return Section('groups', 'By group', _groups_note(analysis, lowest_groups) + tables)


def _with_enough_utterances(
    statistics: Statistics, masks: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Returns the groups with at least MIN_LISTED_UTTERANCES tested utterances."""
    enough = {}
    for group, mask_S in masks.items():
        if statistics.select_speakers(mask_S).utterances >= speaker_sections.MIN_LISTED_UTTERANCES:
            enough[group] = mask_S
    return enough


def _shortened_table(
    measure: Measure, values: list[float], cells_by_row: list[list[tuple[str, object]]]
) -> Markup:
    """Returns the table of the speakers with the lowest and the highest values."""
    order = np.argsort(values, kind='stable').tolist()
    ends = speaker_sections.EXTREME_SPEAKERS
    shown = list(dict.fromkeys((*order[:ends], *order[-ends:])))
    title = f'Speakers with the lowest and the highest {measure.title}'
    table = cells_table(title, [cells_by_row[n] for n in shown])
    least, file = speaker_sections.MIN_LISTED_UTTERANCES, speaker_sections.SPEAKERS_FILE
    counted = f'{len(values)} speakers with {least} utterances or more'
    return html_details(title, table + html_paragraph(f'Of {counted}. All: {file}.'))


def _group_cells(
    best: Statistics, plain: Statistics | None, estimate: bootstrap.Estimate
) -> list[tuple[str, object]]:
    """Returns the row of a group, without its name, as (heading, text) of every column."""
    title = best.measure.title
    value, interval = format_estimate(estimate)
    cells = [('speakers', best.speakers), ('utterances', best.utterances)]
    if plain is None:
        return [*cells, (title, value), ('95 %', interval)]
    plain_estimate = bootstrap.measure_estimate(plain)
    difference = bootstrap.difference_estimate(best, plain, with_p=False)
    difference_text, difference_interval = format_estimate(difference, '+z.3f')
    return [
        *cells,
        (f'{title} plain', format_number(plain_estimate.value)),
        (title, value),
        ('95 %', interval),
        ('vs plain', difference_text),
        ('95 %', difference_interval),
    ]


def _lowest_groups(values: list[float]) -> list[int]:
    """Returns which groups have the lowest figure as the table shows it; [] if all are equal."""
    shown = np.round(values, 3)
    lowest = np.flatnonzero(shown == shown.min()).tolist()
    return lowest if len(lowest) < len(shown) else []


def _describe_lowest(kind: str, names: list[str], values: list[float], lowest: list[int]) -> str:
    """Returns e.g. 'sex f (0.325)', or that there is no difference."""
    if not lowest:
        return f'{kind}: no difference between groups ({values[0]:.3f})'
    if len(lowest) > MAX_NAMED_GROUPS:
        return f'{kind}: {len(lowest)} of {len(names)} groups ({values[lowest[0]]:.3f})'
    group_names = ', '.join(names[n] for n in lowest)
    return f'{kind} {group_names} ({values[lowest[0]]:.3f})'


def _groups_note(analysis: SweepAnalysis, lowest_groups: list[str]) -> Markup:
    if lowest_groups:
        title, lowest = analysis.measure.title, '; '.join(lowest_groups)
        summary = f'The lowest {title} of each kind of group: {lowest}.'
    else:
        summary = 'One speaker: there are no groups.'
    unknown = ''
    if not analysis.results.get('speakers'):
        unknown = 'results.json does not contain the sex, language and corpus of the speakers.'
    if analysis.measure == UAR:
        note = (
            'In a group without utterances of some classes, UAR is the mean over the other classes.'
        )
    else:
        note = (
            'CCC is that of the utterances of the group alone: it is lower where their ratings '
            'differ little.'
        )
    pooled = f'{analysis.measure.title}: folds pooled, mean over seeds.'
    return html_paragraph(summary, unknown, pooled, note)


def held_out_section(analysis: SweepAnalysis) -> Section | None:
    """Returns UAR or CCC of every setting on every corpus or language that was left out.

    Returns None if the protocol leaves out neither.
    """
    kind = analysis.config['protocol']['name'].removeprefix('leave_one_').removesuffix('_out')
    if kind not in ('corpus', 'language') or not analysis.best_row:
        return None
    rows_by_title = {}
    for row in (analysis.plain_row, analysis.best_row, *analysis.rows):
        if row:
            rows_by_title.setdefault(analysis.setting_title(row), row)
    titles = list(rows_by_title)[:MAX_COLOURS]
    folds = sorted({run['hyper']['fold'] for run in analysis.runs})
    measure = analysis.measure
    values = np.full((len(titles), len(folds)), np.nan)
    for n, title in enumerate(titles):
        complete = analysis.complete_runs(rows_by_title[title])
        for m, fold in enumerate(folds):
            values[n, m] = _mean_or_nan(
                run['test'][measure.key] for run in complete if run['hyper']['fold'] == fold
            )
    body = html_figure(
        f'{measure.title} by setting and {kind} left out',
        f'{measure.title} on the {kind} that was left out: each fold by itself, mean over seeds.',
        draw_heatmap,
        values,
        titles,
        analysis.results['folds'][: len(folds)],
        ('', f'{kind} left out'),
        analysis.chance,
        f'{measure.title} by fold',
    )
    title = 'Across corpora' if kind == 'corpus' else 'Across languages'
    return Section('cross', title, body)


def _mean_or_nan(values: Iterable[float]) -> float:
    values = list(values)
    return float(np.mean(values)) if values else float('nan')
