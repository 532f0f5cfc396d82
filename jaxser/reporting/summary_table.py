"""The table of settings of a finished sweep as CSV, summary.csv."""

from data_pipelines import csv_files
from jaxser.analysis.finished import SweepAnalysis
from jaxser.analysis.leakage import ATTACKERS

# Figures of a probe that summary.csv has, and those of attackers on the emotion scores alone.
PROBE_COLUMNS = (
    *ATTACKERS,
    'strongest',
    'attacker',
    'chance',
    'bits',
    'withheld',
    'below_chance',
    'delta',
    'eer',
    'lda_eer',
)
# Values of a row that have columns of their own.
NESTED_KEYS = ('confusion', 'probe', 'adversary', 'ratings')
PROBE_INTERVALS = {'ci95': '', 'bits_ci95': '_bits', 'delta_ci95': '_delta'}
SCORES_COLUMNS = ('strongest', 'attacker', 'bits')


def summary_csv(analysis: SweepAnalysis) -> str:
    """Returns summary.csv: the rows of the summary, one figure per column."""
    lines = list(map(_csv_line, analysis.rows))
    columns: dict[str, None] = {}
    for line in lines:
        columns |= dict.fromkeys(line)
    return csv_files.format_rows(lines, columns)


def _csv_line(row: dict) -> dict:
    line = {}
    for key, value in row.items():
        if key not in NESTED_KEYS and not key.endswith('_ci95'):
            line[key] = value
    for key in ('uar', 'ccc', 'delta'):
        if f'{key}_ci95' in row:
            line[f'{key}_low'], line[f'{key}_high'] = row[f'{key}_ci95'] or (None, None)
    for rating, figures in (row.get('ratings') or {}).items():
        line |= _csv_rating(rating, figures)
    for question, answer in (row['probe'] or {}).items():
        line |= _csv_answer(question, answer)
    for verdict, count in (row['adversary'] or {}).items():
        line[f'adversary_{verdict}'] = count
    return line


def _csv_rating(rating: str, figures: dict) -> dict:
    """Returns the columns of a rating, e.g. arousal_ccc, arousal_ccc_low, arousal_ccc_high."""
    columns = {}
    for key, value in figures.items():
        if key.endswith('_ci95'):
            name = f'{rating}_{key.removesuffix("_ci95")}'
            columns[f'{name}_low'], columns[f'{name}_high'] = value or (None, None)
        else:
            columns[f'{rating}_{key}'] = value
    return columns


def _csv_answer(question: str, answer: dict) -> dict:
    """Returns the columns of a question, e.g. speaker_strongest, speaker_low, speaker_high."""
    columns = {}
    for key in PROBE_COLUMNS:
        if key in answer:
            columns[f'{question}_{key}'] = answer[key]
    for key, suffix in PROBE_INTERVALS.items():
        if key in answer:
            low, high = answer[key] or (None, None)
            columns[f'{question}{suffix}_low'] = low
            columns[f'{question}{suffix}_high'] = high
    for key in SCORES_COLUMNS:
        if key in answer.get('scores', {}):
            columns[f'{question}_scores_{key}'] = answer['scores'][key]
    return columns
