"""Writes results.json of a score, and the table of its systems as CSV and for the terminal.

results.json contains, per system, the statistics of every speaker, from which all figures and
differences can be computed again: confusion matrices (`counts`, seeds x speakers x classes x
classes) and the moments of ratings (`moments`, seeds x speakers x ratings x 6).
"""

import json
import math
from collections.abc import Sequence

import numpy as np

from data_pipelines import csv_files
from jaxser.analysis.leakage import HEADLINE_QUESTIONS
from jaxser.reporting.formats import format_interval, format_leakage, format_number, format_p
from jaxser.scoring.evidence import Evidence, Task

KIND = 'score'  # of results.json; that of a sweep has no kind
CLASS_COLUMNS = {'uar': 'UAR', 'wa': 'WA', 'f1': 'macro-F1'}
RATING_COLUMNS = {'ccc': 'CCC', 'pearson': 'Pearson', 'rmse': 'RMSE'}


def results_json(task: Task, evidence: Sequence[Evidence], reference: str, command: str) -> str:
    """Returns the content of results.json."""
    results = {
        'kind': KIND,
        'task': task.name,
        'split_sha256': task.truth.split_sha256 or '',
        'split_file_sha256': task.truth.rows.file_sha256,
        'measure': task.measure.key,
        'classes': list(task.classes),
        'ratings': list(task.ratings),
        'reference': reference,
        'utterances': len(task.truth),
        'folds': list(task.truth.rows.fold_names.values()),
        'command': command,
        'systems': [_system_results(task, system) for system in evidence],
    }
    return json.dumps(_finite(results), ensure_ascii=False, separators=(',', ':')) + '\n'


def _system_results(task: Task, system: Evidence) -> dict:
    predictions = system.predictions
    speakers = np.unique(task.truth.column('speaker')).tolist()
    counts, moments = system.count_ZxSxCxC, system.moment_ZxSxAx6
    return {
        'name': system.name,
        'card': predictions.system.card,
        'predictions_sha256': predictions.sha256,
        **system.row,
        'seeds': predictions.seeds,
        'calibration': system.calibration,
        'by_fold': system.folds,
        'groups': system.groups,
        'leakage': system.leakage,
        'notes': predictions.notes,
        'statistics': {
            'speakers': speakers,
            'counts': None if counts is None else counts.tolist(),
            'moments': None if moments is None else moments.tolist(),
        },
    }


def _finite(value):
    """Returns a value for JSON: NaN and infinity, which JSON lacks, are null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_finite, value))
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def table_csv(task: Task, evidence: Sequence[Evidence]) -> str:
    """Returns the table of the systems as CSV, one figure a column."""
    lines = []
    for system in evidence:
        line = {'system': system.name}
        for key, value in system.row.items():
            if key.endswith('_ci95'):
                low, high = value or (None, None)
                line[f'{key.removesuffix("_ci95")}_low'] = low
                line[f'{key.removesuffix("_ci95")}_high'] = high
            elif key == 'ratings':
                line |= _rating_columns(value)
            elif key != 'confusion':
                line[key] = value
        line |= system.calibration or {}
        for question in HEADLINE_QUESTIONS:
            line |= _leakage_columns(question, (system.leakage or {}).get(question))
        lines.append(line)
    columns: dict[str, None] = {}
    for line in lines:
        columns |= dict.fromkeys(line)
    return csv_files.format_rows(lines, columns)


def _rating_columns(ratings: dict[str, dict]) -> dict:
    columns = {}
    for name, figures in ratings.items():
        for key in RATING_COLUMNS:
            columns[f'{name}_{key}'] = figures[key]
        columns[f'{name}_ccc_low'], columns[f'{name}_ccc_high'] = figures['ccc_ci95'] or ('', '')
    return columns


def _leakage_columns(question: str, answer: dict | None) -> dict:
    if not answer:
        return {}
    low, high = answer['ci95'] or (None, None)
    return {
        f'{question}_strongest': answer['strongest'],
        f'{question}_attacker': answer['attacker'],
        f'{question}_chance': answer['chance'],
        f'{question}_low': low,
        f'{question}_high': high,
    }


def system_cells(task: Task, system: Evidence) -> list[tuple[str, str]]:
    """Returns the row of a system as (heading, text): the main measure, and leakage."""
    row = system.row
    key, title = task.measure.key, task.measure.title
    leakage = system.leakage or {}
    return [
        ('system', system.name),
        (title, format_number(row[key])),
        ('95 %', format_interval(row[f'{key}_ci95'])),
        ('vs reference', format_number(row[f'delta_{key}'], '+z.3f')),
        ('95 %', format_interval(row['delta_ci95'], '+z.3f')),
        ('p Holm', format_p(row['p_holm'])),
        ('leakage, training speakers', format_leakage(leakage.get('speaker'))),
        ('leakage, unseen speakers', format_leakage(leakage.get('unseen_speaker'))),
    ]


def other_cells(task: Task, system: Evidence) -> list[tuple[str, str]]:
    """Returns the other figures of a system as (heading, text), its name first."""
    row, calibration = system.row, system.calibration or {}
    key, title = task.measure.key, task.measure.title
    cells = [('system', system.name)]
    others = (CLASS_COLUMNS if task.classes else {}) | (RATING_COLUMNS if task.ratings else {})
    for other, heading in others.items():
        if other != key:
            cells.append((heading, format_number(row[other])))
            cells.append(('95 %', format_interval(row.get(f'{other}_ci95'))))
    cells.append(('ECE', format_number(calibration.get('ece'))))
    cells.append(('NLL', format_number(calibration.get('nll'))))
    cells.append(('KL to votes', format_number(row['vote_kl'])))
    by_fold = row[f'{key}_folds'] if len(system.folds) > 1 else None
    cells.append((f'{title}, mean of folds', format_number(by_fold)))
    cells.append((f'{title}, ± seeds', format_number(row[f'{key}_sd_seeds'])))
    cells.append(('seeds', str(row['seeds'])))
    return cells


def text_table(cells_by_row: Sequence[list[tuple[str, str]]]) -> str:
    """Returns rows of (heading, text) for the terminal; empty columns are left out."""
    columns = []
    for cells in zip(*cells_by_row):
        texts = [text for _, text in cells]
        if any(texts):
            columns.append([cells[0][0], *texts])
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for texts in zip(*columns):
        first = f'{texts[0]:{widths[0]}}'
        rest = [f'{text:>{width}}' for text, width in zip(texts[1:], widths[1:])]
        lines.append('  '.join([first, *rest]).rstrip())
    return '\n'.join(lines)
