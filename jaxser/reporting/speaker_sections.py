"""The section of the report page on single speakers, and speakers.csv, which has all of them."""

import numpy as np

from data_pipelines import csv_files
from data_pipelines.wording import pluralize
from jaxser.analysis import bootstrap
from jaxser.analysis.finished import SweepAnalysis
from jaxser.analysis.measure import Measure
from jaxser.analysis.speaker_differences import SpeakerDifference, speaker_differences
from jaxser.reporting import plotting
from jaxser.reporting.figures import FOREST_ROWS, ForestAxis, ForestRow, draw_forest_plot
from jaxser.reporting.formats import format_number
from jaxser.reporting.html import Picture, Section, html_figures, html_paragraph

SPEAKERS_FILE = 'speakers.csv'
# With more than MAX_LISTED_SPEAKERS, the page shows a histogram, and by name only EXTREME_SPEAKERS
# at each end. Speakers with fewer than MIN_LISTED_UTTERANCES are not among these: the figures of
# few utterances are extreme by chance.
MAX_LISTED_SPEAKERS = 2 * FOREST_ROWS
EXTREME_SPEAKERS = 16
MIN_LISTED_UTTERANCES = 20
ATTRIBUTES = ('corpus', 'language', 'sex')
BINS = 40  # of the histogram
COLOURS = ('C1', '0.7', 'C0')  # of its speakers below 0, neither, and above 0


def speakers_section(analysis: SweepAnalysis) -> Section:
    """Returns the difference to plain training, speaker by speaker."""
    name, title = 'speakers', 'Speaker by speaker'
    if not analysis.plain_row:
        text = 'There is no plain training (lam = 0, erm) in this sweep to compare with.'
        if analysis.is_all_plain:
            text = 'All settings are plain training: nothing to compare.'
        return Section(name, title, html_paragraph(text))
    overall = bootstrap.difference_estimate(
        analysis.statistics(analysis.best_row),
        analysis.statistics(analysis.plain_row),
        with_p=False,
    )
    overall_name = 'all, 95 %' if overall.ci95 else 'all'
    overall_row = ForestRow(overall_name, overall.value, overall.ci95, is_summary=True)
    differences = speaker_differences(analysis, analysis.best_row, analysis.plain_row)
    differences.sort(key=_value, reverse=True)
    gains = sum(difference.value > 0 for difference in differences)
    losses = sum(difference.value < 0 for difference in differences)
    best_title = analysis.setting_title(analysis.best_row)
    plain_title = analysis.setting_title(analysis.plain_row)
    pictures, note = [], ''
    shown = differences
    if len(differences) > MAX_LISTED_SPEAKERS:
        pictures.append(_histogram(differences, analysis.measure))
        shown = _extremes(differences)
        note = (
            ' Shown by name are those with the largest gains and losses among the speakers with '
            f'{MIN_LISTED_UTTERANCES} utterances or more. All: {SPEAKERS_FILE}.'
        )
    rows = [ForestRow(one.speaker, one.value, one.ci95) for one in shown]
    pictures += _forest_pictures(rows, overall_row, analysis.measure)
    body = html_figures(
        f'{best_title} minus {plain_title}, speaker by speaker, folds pooled, mean over seeds: '
        f'{pluralize(gains, "speaker")} with a higher {analysis.measure.title}, {losses} with a '
        "lower one. Bars of speakers: about 95 %, from the spread of the speaker's utterances. "
        'Blue: the bar is above 0; orange: below 0; grey: no interval, or it includes 0. Of many '
        f'speakers, some are blue or orange by chance.{note}',
        pictures,
    )
    return Section(name, title, body)


def _value(difference: SpeakerDifference) -> float:
    return difference.value


def _extremes(differences: list[SpeakerDifference]) -> list[SpeakerDifference]:
    """Returns the largest gains and losses of speakers with enough utterances.

    `differences` are sorted, the largest first.
    """
    listed = [one for one in differences if one.utterances >= MIN_LISTED_UTTERANCES]
    if len(listed) <= 2 * EXTREME_SPEAKERS:
        return listed
    return [*listed[:EXTREME_SPEAKERS], *listed[-EXTREME_SPEAKERS:]]


def _forest_pictures(rows: list[ForestRow], overall: ForestRow, measure: Measure) -> list[Picture]:
    """Returns panels of at most FOREST_ROWS speakers, with the same axis."""
    difference = f'{measure.title} minus that of plain training'
    axis = ForestAxis.of(difference, [*rows, overall])
    panels = max(-(-len(rows) // FOREST_ROWS), 1)
    size = max(-(-len(rows) // panels), 1)
    pictures = []
    for panel in range(panels):
        start = panel * size
        shown = rows[start : start + size]
        part = f', speakers {start + 1} to {start + len(shown)}' if panels > 1 else ''
        alt = (
            f'{measure.title} of each speaker minus that of plain training{part}; '
            f'all: {overall.value:+z.3f}'
        )
        pictures.append(Picture(alt, draw_forest_plot, ([*shown, overall], axis)))
    return pictures


def _histogram(differences: list[SpeakerDifference], measure: Measure) -> Picture:
    """Returns the histogram of all speakers' differences."""
    label = f'{measure.title} minus that of plain training'
    alt = f'Histogram of {label}, over {len(differences)} speakers'
    return Picture(alt, draw_speaker_histogram, (differences, label))


def draw_speaker_histogram(differences: list[SpeakerDifference], label: str):
    """Draws a histogram of differences, in the colours of the forest plot.

    Speakers are counted by whether their interval is below 0, above 0, or neither.
    """
    values: dict[str, list[float]] = {'below 0': [], 'neither': [], 'above 0': []}
    for difference in differences:
        low, high = difference.ci95 or (0.0, 0.0)
        side = 'neither'
        if low > 0:
            side = 'above 0'
        elif high < 0:
            side = 'below 0'
        values[side].append(difference.value)
    figure, ((axes,),) = plotting.make_figure(plotting.PANEL_WIDTH, plotting.PANEL_HEIGHT)
    axes.hist(
        list(values.values()),
        bins=BINS,
        stacked=True,
        color=COLOURS,
        label=[f'{side} ({len(own)})' for side, own in values.items()],
    )
    axes.axvline(0, color='grey', linewidth=0.8)
    axes.set(xlabel=label, ylabel='speakers')
    plotting.legend_below(figure, columns=3)
    return figure


def speakers_csv(analysis: SweepAnalysis) -> str | None:
    """Returns speakers.csv: a row for each tested speaker; None if no setting has figures.

    It has the UAR or CCC of the setting that the page is about, that of plain training if there is
    one, and their difference with its rough 95 % interval.
    """
    best, plain, key = analysis.best_row, analysis.plain_row, analysis.measure.key
    if not best:
        return None
    statistics = {key: analysis.statistics(best)}
    differences = [None] * len(analysis.tested_speakers)
    if plain:
        statistics[f'{key}_plain'] = analysis.statistics(plain)
        differences = speaker_differences(analysis, best, plain)
    known = analysis.results.get('speakers', {})
    rows = []
    pairs = zip(analysis.tested_speakers, differences, strict=True)
    for n, (speaker, difference) in enumerate(pairs):
        attributes = known.get(speaker, {})
        row = {'speaker': speaker} | {name: attributes.get(name, '') for name in ATTRIBUTES}
        for name, all_speakers in statistics.items():
            own = all_speakers.select_speakers(np.array([n]))
            row['utterances'] = own.utterances
            row[name] = format_number(bootstrap.measure_estimate(own).value, '.6g')
        if difference:
            figures = (difference.value, *(difference.ci95 or (None, None)))
            for name, value in zip((f'delta_{key}', 'delta_low', 'delta_high'), figures):
                row[name] = format_number(value, '.6g')
        rows.append(row)
    return csv_files.format_rows(rows)
