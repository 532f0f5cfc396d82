"""Scores the predictions of any system, and compares systems.

  python -m jaxser.score predictions.csv --split split.csv --out score
  python -m jaxser.score first.csv OURS=second.csv folder --split split.csv --task emodb_four
      --out score

A system is predictions.csv, or a folder that has predictions.csv, and perhaps system.json (its
card) and representations.npz, of which leakage is measured. NAME= before it names it, as in
OURS=second.csv or OURS=folder. The split file is
what `python -m data_pipelines.tasks NAME --out split.csv` writes, or a truth file of your own with
the columns utterance, speaker and emotion (or ratings, or votes).

Writes report.html, results.json and table.csv. Needs neither JAX nor TensorFlow.
"""

import argparse
import json
import shlex
import sys
import time
from pathlib import Path

from data_pipelines.arguments import local_path, path_text
from data_pipelines.errors import UserError, exit_on_user_error
from data_pipelines.tasks import BenchmarkTask, load_task
from data_pipelines.terminal import print_text
from data_pipelines.wording import pluralize
from jaxser.scoring.evidence import Evidence, Task, compare, make_evidence, make_task
from jaxser.scoring.page import score_page
from jaxser.scoring.predictions_file import read_predictions
from jaxser.scoring.results_file import (
    KIND,
    other_cells,
    results_json,
    system_cells,
    table_csv,
    text_table,
)
from jaxser.scoring.systems import choose_reference, find_systems
from jaxser.scoring.truth import Truth, read_truth
from jaxser.workdir_files import write_whole

REPORT, RESULTS, TABLE = 'report.html', 'results.json', 'table.csv'
# The key of a task's measure in our figures.
MEASURE_KEYS = {'uar': 'uar', 'macro-F1': 'f1', 'ccc': 'ccc'}


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m jaxser.score', description=__doc__.partition('\n')[0]
    )
    parser.add_argument(
        'system',
        nargs='+',
        type=path_text,
        metavar='SYSTEM',
        help='predictions.csv, or a folder that has predictions.csv; NAME= before it names it',
    )
    parser.add_argument(
        '--split',
        required=True,
        type=local_path,
        help='split file of a task, or a truth file of your own',
    )
    parser.add_argument('--task', help="name of the benchmark task; the split must be the task's")
    parser.add_argument(
        '--reference', metavar='NAME', help='system that the others are compared with; the first'
    )
    parser.add_argument('--out', required=True, type=local_path, help='folder for the results')
    return parser


def main() -> None:
    """Parses the command line and runs the command."""
    options = make_parser().parse_args()
    with exit_on_user_error():
        score_systems(options, f'python -m jaxser.score {shlex.join(sys.argv[1:])}')


def score_systems(options: argparse.Namespace, command: str) -> None:
    """Scores the systems that the options of the command name, and writes the results."""
    start = time.perf_counter()
    check_replaceable(options.out)
    systems = find_systems(options.system)
    reference = choose_reference(systems, options.reference)
    benchmark = load_task(options.task) if options.task else None
    truth = read_truth(options.split, benchmark.changes.get('data.labels') if benchmark else None)
    if benchmark:
        check_split(benchmark, truth)
    predictions = [read_predictions(system, truth) for system in systems]
    measure = MEASURE_KEYS[benchmark.measure] if benchmark else None
    task = make_task(truth, predictions, benchmark.name if benchmark else '', measure)
    evidence = [make_evidence(task, system) for system in predictions]
    compare(task, evidence, reference)
    measure_leakages(task, evidence, reference)
    write_whole(options.out / RESULTS, results_json(task, evidence, reference, command))
    write_whole(options.out / TABLE, table_csv(task, evidence))
    page = score_page(options.out.absolute().name, task, benchmark, evidence, reference, command)
    write_whole(options.out / REPORT, page)
    print_results(task, evidence, reference)
    files = f'{options.out / REPORT}, {RESULTS}, {TABLE}'
    print_text(f'{files} ({time.perf_counter() - start:.1f} s)')


def check_replaceable(folder: Path) -> None:
    """Raises a UserError if the folder has results of another command, such as a sweep."""
    file = folder / RESULTS
    if not file.exists():
        return
    try:
        kind = json.loads(file.read_bytes()).get('kind')
    except (ValueError, AttributeError, RecursionError):
        kind = None
    if kind != KIND:
        raise UserError(
            f'{file} exists and was not written by jaxser.score. Choose another folder for --out.'
        )


def check_split(benchmark: BenchmarkTask, truth: Truth) -> None:
    """Raises a UserError unless the split is that of the task."""
    file = truth.rows.path
    remedy = (
        f'Write the split of the task: python -m data_pipelines.tasks {benchmark.name} --source '
        'PATH --out split.csv'
    )
    if not truth.is_split:
        raise UserError(
            f'{file} is no split file, so that it cannot be compared with the task '
            f'{benchmark.name}. {remedy}, or leave out --task.'
        )
    if benchmark.split_sha256 is None:
        print_text(
            f'The SHA-256 of the official split of {benchmark.name} is not known yet: {file} '
            f'({truth.split_sha256}) was compared with nothing.'
        )
        return
    if truth.split_sha256 != benchmark.split_sha256:
        expected = benchmark.utterances
        counts = f'{len(set(truth.rows.text["utterance"].tolist()))} utterances in the parts'
        if expected is not None:
            counts += f'; the release of the task has {expected}'
        raise UserError(
            f'{file} is not the split of the task {benchmark.name}: its SHA-256 is '
            f'{truth.split_sha256}, and that of the task {benchmark.split_sha256} ({counts}). '
            f'{remedy}. Or leave out --task: then the result is not one on the task.'
        )


def measure_leakages(task: Task, evidence: list[Evidence], reference: str) -> None:
    """Measures the leakage of the systems that have representations."""
    measured = [system for system in evidence if system.predictions.system.representations]
    if not measured:
        return
    # Imported here: scikit-learn takes seconds.
    from jaxser.scoring.leakage_measurement import add_leakage

    add_leakage(task.truth, measured, reference)


def print_results(task: Task, evidence: list[Evidence], reference: str) -> None:
    """Prints the table of the systems, and their notes."""
    speakers = pluralize(evidence[0].row['tested_speakers'], 'speaker')
    for make_cells in (system_cells, other_cells):
        table = text_table([make_cells(task, system) for system in evidence])
        print_text(f'{table}\n', kept='\n')
    print_text(
        f'{task.measure.title}: {task.measure.definition}; {len(task.truth)} tested utterances of '
        f'{speakers}, folds pooled, mean over seeds. 95 %: intervals that resample speakers.'
    )
    if len(evidence) > 1:
        print_text(f'vs reference: minus the {task.measure.title} of {reference}.')
    for system in evidence:
        for note in system.predictions.notes:
            print_text(f'{system.name}: {note}')


if __name__ == '__main__':
    main()
