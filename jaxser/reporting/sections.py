"""The sections of the report page on results: settings, speakers, confusions, groups."""

from collections.abc import Iterable

import numpy as np
from markupsafe import Markup

from data_pipelines.wording import pluralize
from jaxser.analysis import bootstrap
from jaxser.analysis.finished import SweepAnalysis
from jaxser.analysis.leakage import is_biased_low
from jaxser.analysis.speaker_differences import speaker_differences
from jaxser.analysis.statistics import Statistics
from jaxser.reporting.curve import curve_key, curve_panels, draw_curve_panel
from jaxser.reporting.figures import (
    FOREST_ROWS,
    ForestAxis,
    ForestRow,
    draw_confusion_difference,
    draw_confusion_matrix,
    draw_forest_plot,
    draw_heatmap,
)
from jaxser.reporting.formats import (
    SEEN_NOTE,
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
from jaxser.runs import distinct_values

MAX_NAMED_GROUPS = 3  # with the same UAR
NO_COMPLETE_SETTING = 'No setting has figures: in every seed, a fold diverged.'


def settings_section(analysis: SweepAnalysis) -> Section:
    """Returns the table of all settings: the summary, as in results.json and summary.csv."""
    cells_by_row = [_setting_cells(analysis, row) for row in analysis.rows]
    best = [n for n, row in enumerate(analysis.rows) if row is analysis.best_row]  # one or none
    body = cells_table('Each setting and its figures', cells_by_row, highlighted=best)
    body += html_paragraph(
        'UAR: mean recall over classes.',
        'Pooled: over the test parts of all folds together, mean over seeds.',
        'Mean of folds: each fold by itself, mean over folds and seeds; leakage is such a mean.',
        'Leakage: recall of the strongest attacker, which is named.',
        _seen_sentence(analysis.rows),
        '95 %: intervals of the pooled figures that resample speakers.',
        'vs plain: minus the UAR of plain training.',
        'Forgotten: see the section on leakage.' if _any_verdict(analysis.rows) else '',
        'Highlighted: the setting that this report is about. It is the best on dev of those that',
        'are compared with plain training.',
        'p Holm: corrected for the number of rows that are compared.',
    )
    for key in _curve_keys(analysis.results):
        pictures = []
        for panel in curve_panels(analysis.results):
            arguments = (analysis.results, key, panel)
            pictures.append(Picture(f'{panel.title} against {key}', draw_curve_panel, arguments))
        body += html_figures(
            f'UAR (folds pooled) against {key}, and leakage (strongest attacker, mean of folds) '
            'where it was measured; bars: 95 % intervals that resample speakers.',
            pictures,
        )
    return Section('settings', 'All settings', body)


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
    return [
        ('setting', analysis.setting_title(row)),
        ('enrolled', format_enrolled(analysis.enrolled(row))),
        ('UAR (pooled)', format_number(row['uar'])),
        ('95 %', format_interval(row['uar_ci95'])),
        ('vs plain (pooled)', format_number(row['delta_uar'], '+z.3f')),
        ('95 %', format_interval(row['delta_ci95'], '+.3f')),
        ('p', format_p(row['p'])),
        ('p Holm', format_p(row['p_holm'])),
        ('leakage of training speakers', format_leakage(probe.get('speaker'))),
        ('chance', format_number(probe.get('speaker', {}).get('chance'))),
        ('leakage of unseen speakers', format_leakage(probe.get('unseen_speaker'))),
        ('chance', format_number(probe.get('unseen_speaker', {}).get('chance'))),
        ('forgotten', describe_verdicts(row['adversary'])),
        ('dev UAR (mean of folds)', format_number(row['dev_uar'])),
        ('UAR (mean of folds)', format_number(row['uar_folds'])),
        ('± seeds', format_number(row['uar_sd_seeds'])),
        ('WA (pooled)', format_number(row['wa'])),
        ('F1 (pooled)', format_number(row['f1'])),
        ('seeds', row['seeds']),
    ]


def speakers_section(analysis: SweepAnalysis) -> Section:
    """Returns the difference to plain training, speaker by speaker."""
    name, title = 'speakers', 'Speaker by speaker'
    if not analysis.plain_row:
        text = 'There is no plain training (lam = 0, erm) in this sweep to compare with.'
        if analysis.is_all_plain:
            text = 'All settings are plain training: nothing to compare.'
        return Section(name, title, html_paragraph(text))
    overall = bootstrap.difference_estimate(
        analysis.statistics(analysis.best_row), analysis.statistics(analysis.plain_row)
    )
    overall_name = 'all, 95 %' if overall.ci95 else 'all'
    overall_row = ForestRow(overall_name, overall.value, overall.ci95, is_summary=True)
    rows = []
    for difference in speaker_differences(analysis, analysis.best_row, analysis.plain_row):
        rows.append(ForestRow(*difference))
    rows.sort(key=_forest_value, reverse=True)
    gains = sum(row.value > 0 for row in rows)
    losses = sum(row.value < 0 for row in rows)
    best_title = analysis.setting_title(analysis.best_row)
    plain_title = analysis.setting_title(analysis.plain_row)
    body = html_figures(
        f'{best_title} minus {plain_title}, speaker by speaker, folds pooled, mean over seeds: '
        f'{pluralize(gains, "speaker")} with a higher UAR, {losses} with a lower one. Bars of '
        "speakers: about 95 %, from the spread of the speaker's utterances. Blue: the bar is above "
        '0; orange: below 0; grey: no interval, or it includes 0. Of many speakers, some are blue '
        'or orange by chance.',
        _forest_pictures(rows, overall_row),
    )
    return Section(name, title, body)


def _forest_value(row: ForestRow) -> float:
    return row.value


def _forest_pictures(rows: list[ForestRow], overall: ForestRow) -> list[Picture]:
    """Returns panels of at most FOREST_ROWS speakers, with the same axis."""
    axis = ForestAxis.of('UAR minus that of plain training', [*rows, overall])
    panels = -(-len(rows) // FOREST_ROWS)
    size = -(-len(rows) // panels)
    pictures = []
    for start in range(0, len(rows), size):
        shown = rows[start : start + size]
        part = f', speakers {start + 1} to {start + len(shown)}' if panels > 1 else ''
        alt = f'UAR of each speaker minus that of plain training{part}; all: {overall.value:+.3f}'
        pictures.append(Picture(alt, draw_forest_plot, ([*shown, overall], axis)))
    return pictures


def confusions_section(analysis: SweepAnalysis) -> Section:
    """Returns the confusion matrices of the best setting and of plain training."""
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
    """Returns UAR by corpus, language, sex and speaker, and the group with the lowest of each."""
    if not analysis.best_row:
        return Section('groups', 'By group', html_paragraph(NO_COMPLETE_SETTING))
    best = analysis.statistics(analysis.best_row)
    all_plain = analysis.statistics(analysis.plain_row) if analysis.plain_row else None
    tables = Markup('')
    lowest_groups = []
    for kind in ('corpus', 'language', 'sex', 'speaker'):
        masks = analysis.speaker_groups(kind)
        if len(masks) < 2:
            continue
        uars, cells_by_row = [], []
        for group, mask_S in masks.items():
            plain = all_plain.select_speakers(mask_S) if all_plain else None
            uar = bootstrap.measure_estimate(best.select_speakers(mask_S))
            uars.append(uar.value)
            cells = _group_cells(best.select_speakers(mask_S), plain, uar)
            cells_by_row.append([(kind, group), *cells])
        lowest = _lowest_groups(uars)
        lowest_groups.append(_describe_lowest(kind, list(masks), uars, lowest))
        table = cells_table(f'UAR by {kind}', cells_by_row, highlighted=lowest)
        if kind == 'speaker':
            table = html_details(pluralize(len(masks), 'speaker'), table)
        tables += table
    return Section('groups', 'By group', _groups_note(analysis, lowest_groups) + tables)


def _group_cells(
    best: Statistics, plain: Statistics | None, uar: bootstrap.Estimate
) -> list[tuple[str, object]]:
    """Returns the row of a group, without its name, as (heading, text) of every column."""
    uar_text, uar_interval = format_estimate(uar)
    cells = [('speakers', best.speakers), ('utterances', best.utterances)]
    if plain is None:
        return [*cells, ('UAR', uar_text), ('95 %', uar_interval)]
    plain_uar = bootstrap.measure_estimate(plain)
    difference = bootstrap.difference_estimate(best, plain)
    difference_text, difference_interval = format_estimate(difference, '+z.3f')
    return [
        *cells,
        ('UAR plain', format_number(plain_uar.value)),
        ('UAR', uar_text),
        ('95 %', uar_interval),
        ('vs plain', difference_text),
        ('95 %', difference_interval),
    ]


def _lowest_groups(uars: list[float]) -> list[int]:
    """Returns which groups have the lowest UAR as the table shows it; [] if all are equal."""
    shown = np.round(uars, 3)
    lowest = np.flatnonzero(shown == shown.min()).tolist()
    return lowest if len(lowest) < len(shown) else []


def _describe_lowest(kind: str, names: list[str], uars: list[float], lowest: list[int]) -> str:
    """Returns e.g. 'sex f (0.325)', or that there is no difference."""
    if not lowest:
        return f'{kind}: no difference between groups ({uars[0]:.3f})'
    if len(lowest) > MAX_NAMED_GROUPS:
        return f'{kind}: {len(lowest)} of {len(names)} groups ({uars[lowest[0]]:.3f})'
    group_names = ', '.join(names[n] for n in lowest)
    return f'{kind} {group_names} ({uars[lowest[0]]:.3f})'


def _groups_note(analysis: SweepAnalysis, lowest_groups: list[str]) -> Markup:
    if lowest_groups:
        summary = f'The lowest UAR of each kind of group: {"; ".join(lowest_groups)}.'
    else:
        summary = 'One speaker: there are no groups.'
    unknown = ''
    if not analysis.results.get('speakers'):
        unknown = 'results.json does not contain the sex, language and corpus of the speakers.'
    return html_paragraph(
        summary,
        unknown,
        'UAR: folds pooled, mean over seeds.',
        'In a group without utterances of some classes, UAR is the mean over the other classes.',
    )


def held_out_section(analysis: SweepAnalysis) -> Section | None:
    """Returns UAR of every setting on every corpus or language that was left out.

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
    uar = np.full((len(titles), len(folds)), np.nan)
    for n, title in enumerate(titles):
        complete = analysis.complete_runs(rows_by_title[title])
        for m, fold in enumerate(folds):
            uar[n, m] = _mean_or_nan(
                run['test']['uar'] for run in complete if run['hyper']['fold'] == fold
            )
    body = html_figure(
        f'UAR by setting and {kind} left out',
        f'UAR on the {kind} that was left out: each fold by itself, mean over seeds.',
        draw_heatmap,
        uar,
        titles,
        analysis.results['folds'][: len(folds)],
        ('', f'{kind} left out'),
        analysis.chance,
        'UAR by fold',
    )
    title = 'Across corpora' if kind == 'corpus' else 'Across languages'
    return Section('cross', title, body)


def _mean_or_nan(values: Iterable[float]) -> float:
    values = list(values)
    return float(np.mean(values)) if values else float('nan')
