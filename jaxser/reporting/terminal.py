"""Prints the results at the end of training: a table with a row per setting, and its legend."""

import textwrap

import rich.table

from data_pipelines.terminal import format_table, print_text
from data_pipelines.wording import pluralize
from jaxser.analysis import bootstrap, enrolment, summary
from jaxser.analysis.adversary import COLLAPSED_HINT
from jaxser.analysis.leakage import HEADLINE_QUESTIONS, is_biased_low, question_title
from jaxser.analysis.measure import CCC, UAR, Measure
from jaxser.reporting import curve, figures, plotting
from jaxser.reporting.enrolment import DRAWS_NOTE, FEWER_NOTE, clarity_note, is_clear
from jaxser.reporting.formats import (
    CENTRED_NOTE,
    SAMPLED_NOTE,
    VERDICTS_NOTE,
    VOTE_KL_NOTE,
    folds_of_sweep,
    format_attack,
    format_leakage,
    format_number,
    format_shared,
    format_verdicts,
    rough_leakage_note,
    split_cells,
)
from jaxser.reporting.target import define_measure, find_target
from jaxser.runs import format_setting, run_label, synthetic_note
from jaxser.workdir_files import write_whole

LEGEND_WIDTH = 110  # characters of a line

# Columns that are shown even if they are empty.
ALWAYS_SHOWN = ('UAR', 'CCC', 'by fold', 'WA', 'Pearson')


def print_results(results: dict, folder) -> None:
    """Prints results.json as a table with its legend, and writes the figures to the folder."""
    swept = summary.swept_keys(results['summary'][0])
    table = _results_table(results, swept)
    print_text(format_table(table, is_uncut=True), kept='\n')
    print_text(
        f'Split {results["split_sha256"]}; trained and tested in {results["seconds"]:.0f} s '
        f'on {results["device"]}.'
    )
    for line in _legend(results):
        print_text(line, kept='\n')
    for line in _missing_runs(results, swept):
        print_text(line, kept='\n')
    print_enrolment(results)
    names = _write_figures(results, folder)
    print_text(
        f'{folder}: results.json, predictions.csv, metrics.jsonl, {", ".join(names)}; '
        f'tensorboard --logdir {folder}/tensorboard'
    )


def print_enrolment(results: dict) -> None:
    """Prints the enrolment curve of results.json with its legend; nothing if there is none."""
    rows = results.get('enrolment', {}).get('rows')
    if not rows:
        return
    measure = find_target(results).measure
    cells_by_row = []
    for source, name in enrolment.SOURCES.items():
        curves: dict[tuple, list[tuple[str, str]]] = {}
        for row in enrolment.rows_from(rows, source):
            setting = [(key, format_setting(row, key)) for key in enrolment.setting_keys(row)]
            cells = curves.setdefault(tuple(setting), [*setting, ('enrolled', name)])
            mark = '*' if is_clear(row) else ''
            cells.append((f'K = {row["enrol"]}', format_number(row[measure.key]) + mark))
        cells_by_row += curves.values()
    headings, texts_by_row = split_cells(cells_by_row)
    title = f'{measure.title} with K enrolled utterances of each tested speaker'
    table = rich.table.Table(title=title)
    for heading in headings:
        table.add_column(heading, justify='right')
    for texts in texts_by_row:
        table.add_row(*texts)
    print_text(format_table(table, is_uncut=True), kept='\n')
    draws = pluralize(results['enrolment']['draws'], 'draw')
    speakers = summary.tested_speakers(results['summary'])
    for sentences in (
        f'Mean of {draws} of the enrolled utterances, which are not scored. {DRAWS_NOTE}',
        f'All numbers except K = 0 are transductive. {FEWER_NOTE}',
        f'*: {clarity_note(rows, speakers, measure)}',
    ):
        print_text(textwrap.fill(sentences, LEGEND_WIDTH), kept='\n')


def _results_table(results: dict, swept: list[str]) -> rich.table.Table:
    """Returns a table with a row per setting; columns that are empty in all rows are left out."""
    table = rich.table.Table(
        *swept, title=_table_title(results, swept), caption=synthetic_note(results) or None
    )
    headings, rows = split_cells([_result_cells(results, row) for row in results['summary']])
    shown_columns = []
    for heading, *column in zip(headings, *rows):
        if heading in ALWAYS_SHOWN or any(column):
            table.add_column(heading, justify='right')
            shown_columns.append(column)
    for row, texts in zip(results['summary'], zip(*shown_columns)):
        setting = [format_setting(row, key) for key in swept]
        table.add_row(*setting, *texts)
    return table


def _result_cells(results: dict, row: dict) -> list[tuple[str, str]]:
    """Returns a row of the summary as (heading, text) of every column."""
    probe = row['probe'] or {}
    measure = find_target(results).measure
    key = measure.key
    return [
        (measure.title, format_number(row[key], '.3f')),
        ('95 %', _format_ends(row[f'{key}_ci95'], '.3f')),
        ('±', format_number(row[f'{key}_sd_seeds'], '.3f')),
        *_other_measure_cells(results, row),
        ('by fold', format_number(row[f'{key}_folds'], '.3f')),
        *_other_cells(results, row),
        ('vs plain', format_number(row[f'delta_{key}'], '+z.3f')),
        ('95 %', _format_ends(row['delta_ci95'], '+z.3f')),
        ('p Holm', format_number(row['p_holm'], '.3f')),
        ('leakage,\ntraining speakers', format_leakage(probe.get('speaker'))),
        ('chance', format_number(probe.get('speaker', {}).get('chance'), '.3f')),
        ('leakage,\nunseen speakers', format_leakage(probe.get('unseen_speaker'))),
        ('chance', format_number(probe.get('unseen_speaker', {}).get('chance'), '.3f')),
        ('verdicts', format_verdicts(row['adversary'])),
        ('seeds', str(row['seeds'])),
    ]


def _other_measure_cells(results: dict, row: dict) -> list[tuple[str, str]]:
    """Returns the cells of the measure that is not the main one, with its interval."""
    other = _other_measure(results)
    if not other:
        return []
    return [
        (other.title, format_number(row[other.key], '.3f')),
        ('95 %', _format_ends(row[f'{other.key}_ci95'], '.3f')),
    ]


def _other_cells(results: dict, row: dict) -> list[tuple[str, str]]:
    """Returns the cells of the figures that are neither UAR nor CCC."""
    cells = []
    if results['classes']:
        cells.append(('WA', format_number(row['wa'], '.3f')))
    if results.get('ratings'):
        cells.append(('Pearson', format_number(row['pearson'], '.3f')))
        cells.append(('RMSE', format_number(row['rmse'], '.3f')))
    cells.append(('KL(votes ‖\nposterior)', format_number(row.get('vote_kl'), '.3f')))
    return cells


def _other_measure(results: dict) -> Measure | None:
    """Returns the measure that is not the main one, of a sweep that predicts both kinds."""
    if not results['classes'] or not results.get('ratings'):
        return None
    return UAR if find_target(results).measure == CCC else CCC


def _format_ends(ci95: tuple[float, float] | None, number_format: str) -> str:
    """Returns an interval without brackets, which would make the table wider."""
    return f'{ci95[0]:{number_format}} {ci95[1]:{number_format}}' if ci95 else ''


def _table_title(results: dict, swept: list[str]) -> str:
    names = []
    for key in ('method', 'protocol'):
        if key in results and key not in swept:
            names.append(results[key])
    folds = folds_of_sweep(results)
    return f'{"; ".join(names)}, {folds}; {results["selection"]}'


def _legend(results: dict) -> list[str]:
    """Returns lines that explain the columns of the table."""
    rows = results['summary']
    speakers = summary.tested_speakers(rows)
    target = find_target(results)
    has_intervals = any(summary.collect(rows, f'{target.measure.key}_ci95'))
    is_compared = any(row[f'delta_{target.measure.key}'] is not None for row in rows)
    lines = []
    if speakers:
        lines += _measure_legend(results, speakers, has_intervals, is_compared)
    else:
        lines.append('There are no figures: in every setting, a fold diverged in every seed.')
    if has_intervals and is_compared:
        lines.append(
            'p Holm: how often the choice of speakers alone would cause such a difference, '
            'corrected for the number of rows.'
        )
    lines += _leakage_legend(results)
    if any(summary.collect(rows, 'adversary')):
        verdicts = VERDICTS_NOTE.format(lost=target.lost)
        lines.append(textwrap.fill(f'verdicts, number of runs: {verdicts}', LEGEND_WIDTH))
        lines += _next_steps(results['runs'])
    return lines


def _measure_legend(
    results: dict, speakers: int, has_intervals: bool, is_compared: bool
) -> list[str]:
    """Returns the lines about measures, differences and intervals."""
    measure = find_target(results).measure
    plain = 'plain training'
    if results['method'] == 'speaker_norm snp':
        plain = "lam = 0, SNP's layer without its ascent"
    others = []
    other = _other_measure(results)
    if other:
        others.append(f'{other.title}: {define_measure(other)}.')
    if results['classes']:
        others.append('WA: accuracy, folds pooled.')
    if results.get('ratings'):
        others.append('Pearson, RMSE (on the scale from -1 to 1): folds pooled, mean over ratings.')
    if any(row.get('vote_kl') is not None for row in results['summary']):
        others.append(VOTE_KL_NOTE)
    if is_compared:
        others.append(f'vs plain: {measure.title}, folds pooled, minus that of {plain}.')
    if has_intervals:
        coverage = 100 * (bootstrap.interval_coverage(speakers, measure) or 0)
        intervals = (
            f'95 %: intervals that resample the {speakers} speakers (in simulations with so many, '
            f'{coverage:.0f} % of them included the true value).'
        )
    else:
        intervals = (
            f'{pluralize(speakers, "tested speaker")}: too few for intervals '
            f'({bootstrap.MIN_SPEAKERS} or more are needed).'
        )
    definition = (
        f'{measure.title}: {define_measure(measure)}, folds pooled, mean over seeds (± their '
        'standard deviation); by fold: mean of the folds.'
    )
    return [definition, ' '.join(others), intervals]


def _next_steps(runs: list[dict]) -> list[str]:
    """Returns lines on what to try: after collapsed runs, then after inert ones.

    For the inert ones there is a line for each hint, as their verdicts name them. Runs that
    diverged are listed elsewhere.
    """
    lines = []
    collapsed = 0
    for run in runs:
        verdict = (run.get('adversary') or {}).get('verdict')
        collapsed += verdict == 'collapsed' and run['status'] == 'ok'
    if collapsed:
        lines.append(f'{pluralize(collapsed, "run")} collapsed: first {COLLAPSED_HINT}.')
    hints = {}
    for run in runs:
        hint = (run.get('adversary') or {}).get('next')
        if hint:
            hints.setdefault(hint, []).append(run)
    for hint, inert in hints.items():
        lines.append(f'{pluralize(len(inert), "inert run")}: {hint}.')
    return lines


def _leakage_legend(results: dict) -> list[str]:
    """Returns lines that explain the leakage columns; none if speakers were not probed."""
    answers = summary.probed_answers(results['summary'])
    if not answers:
        is_probed = any('probe' in run for run in results['runs'])
        return [] if is_probed else ['Leakage was not measured; python -m jaxser.probe does it.']
    unseen_answers = summary.probed_answers(results['summary'], 'unseen_speaker')
    lines = [
        'leakage: speaker-recognition recall of the strongest attacker, which is named (a new '
        'classifier of the frozen\n'
        'representation, tested on utterances on which it was not fitted; mean of the folds). '
        'chance: that of guessing.',
    ]
    lines += _input_note(results['summary'])
    rough = rough_leakage_note(results['runs'])
    if rough:
        lines.append(rough)
    if any(is_biased_low(answer) for answer in answers):
        lines.append(
            'seen: tested on utterances that the encoder was trained on; biased low '
            '(config.protocol.withhold = 0.2 withholds some).'
        )
    if any(answer.get('centred') for answer in [*answers, *unseen_answers]):
        lines.append(textwrap.fill(CENTRED_NOTE, LEGEND_WIDTH))
    if any(answer.get('below_chance') for answer in [*answers, *unseen_answers]):
        lines.append('below chance: an attacker is significantly below chance, which is a leak.')
    if any(answer.get('sampled_from') for answer in [*answers, *unseen_answers]):
        lines.append(textwrap.fill(SAMPLED_NOTE, LEGEND_WIDTH))
    return lines


def _input_note(rows: list[dict]) -> list[str]:
    """Returns a line on the leakage of the input, if attackers of it were fitted."""
    parts = []
    for question in HEADLINE_QUESTIONS:
        answers = summary.probed_answers(rows, question)
        recall = format_shared([format_attack(answer.get('input')) for answer in answers])
        if recall == 'varies':
            recall = 'differs between settings (see the page)'
        if recall:
            parts.append(f'{question_title(question)} {recall}')
    return [f'Leakage from the input alone: {", ".join(parts)}.'] if parts else []


def _missing_runs(results: dict, swept: list[str]) -> list[str]:
    """Returns lines on what is missing from the table: plain training, and diverged runs."""
    lines = []
    coefficients = summary.collect(results['summary'], 'lam') if 'lam' in swept else [0]
    if 0 not in coefficients and None not in coefficients:
        lines.append('No lam = 0 in this sweep: there is no plain training to compare with.')
    for run in results['runs']:
        if run['status'] != 'ok':
            label = run_label(run['hyper'], [*swept, 'seed', 'fold'])
            lines.append(f'{label}: {run["status"]} from step {run["step"]}; not in the table.')
    return lines


def _write_figures(results: dict, folder) -> list[str]:
    """Writes the figures of a sweep into the folder; returns their names."""
    pictures = {}
    if results['classes']:
        confusion = plotting.render_png(figures.draw_confusion_matrices, results)
        pictures['confusion.png'] = confusion
    key = curve.curve_key(results)
    if key:
        pictures['sweep.png'] = plotting.render_png(curve.draw_curve, results, key)
    for name, content in pictures.items():
        write_whole(folder / name, content)
    return list(pictures)
