"""Writes a submission to the leaderboard from a setting of a finished sweep.

  python -m jaxser.submission --workdir runs/dann_demo --out submissions/TASK/NAME
      --authors "A. Author" --licence Apache-2.0 [--setting "dann, lam = 0.3"]

The folder gets predictions.csv, with the test predictions of every fold and seed, and system.json,
the card. With --representations it also gets representations.npz, from which jaxser.score measures
leakage. Then score the folder, and build the leaderboard:

  python -m jaxser.score submissions/TASK/NAME --split split.csv --task TASK
      --out submissions/TASK/NAME
  python -m jaxser.leaderboard submissions --out leaderboard
"""

import argparse
import datetime
import io
from collections.abc import Sequence

import numpy as np

from data_pipelines import csv_files
from data_pipelines.arguments import local_path
from data_pipelines.errors import UserError, exit_on_user_error
from data_pipelines.terminal import print_text
from data_pipelines.wording import pluralize
from jaxser.analysis.finished import SweepAnalysis, read_finished_sweep
from jaxser.analysis.predictions import open_predictions
from jaxser.anonymity import anonymize_command, anonymize_value
from jaxser.cli import any_path
from jaxser.runs import run_label
from jaxser.scoring.card import SystemCard
from jaxser.scoring.systems import CARD, PREDICTIONS, REPRESENTATIONS
from jaxser.workdir_files import write_whole

TASK_DATA = 'only the training part of the task'


def main() -> None:
    """Parses the command line, writes the submission, and prints its files."""
    arguments = _make_parser().parse_args()
    with exit_on_user_error():
        analysis = SweepAnalysis(read_finished_sweep(arguments.workdir))
        row = find_row(analysis, arguments.setting)
        runs = [run['hyper'] for run in analysis.complete_runs(row)]
        if not runs:
            raise UserError(
                f'The setting {analysis.setting_title(row)} has no seed of which all folds '
                'finished. Choose another --setting, or train again with other values.'
            )
        card = make_card(analysis, row, runs, arguments)
        write_whole(arguments.out / PREDICTIONS, predictions_csv(analysis, runs))
        card.write(arguments.out / CARD)
        files = [PREDICTIONS, CARD]
        if arguments.representations:
            first_seed = min(run['seed'] for run in runs)
            chosen = [run for run in runs if run['seed'] == first_seed]
            write_whole(arguments.out / REPRESENTATIONS, representations_npz(arguments, chosen))
            files.append(REPRESENTATIONS)
        seeds = pluralize(len({run['seed'] for run in runs}), 'seed')
        print_text(f'{arguments.out}: {", ".join(files)}; {card.name}, {seeds}.')


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m jaxser.submission', description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add('--workdir', required=True, type=any_path, help='the workdir of a finished sweep')
    add('--out', required=True, type=local_path, help='the folder of the submission')
    add('--authors', required=True, help='who made the system')
    add('--licence', required=True, help='the licence of the system, e.g. Apache-2.0')
    add(
        '--setting',
        help='the setting, e.g. "dann, lam = 0.3", as the page writes it (default: that with the '
        'best dev UAR or CCC)',
    )
    add('--name', help='the name on the leaderboard (default: the setting and the encoder)')
    add('--description', help='what the system is (default: from the configuration)')
    add(
        '--training_data',
        help='all speech that it was trained on, with the pretraining of an encoder (default: from '
        'the configuration)',
    )
    add('--parameters', type=int, help='the number of parameters that prediction needs')
    add('--url', help='where the system is described')
    add(
        '--representations',
        action='store_true',
        help='also write the representations of the first seed, from the checkpoints: for leakage',
    )
    add('--data', help='the folder of the prepared corpora, if it has moved since training')
    return parser


def find_row(analysis: SweepAnalysis, wanted: str | None) -> dict:
    """Returns the row of a setting by its title, in which spaces do not matter.

    By default it is the setting with the best figure on dev. UserError if there is no such setting.
    """
    if wanted is None:
        return analysis.model_row
    rows = {}
    for row in analysis.rows:
        rows[analysis.setting_title(row)] = row
    for title, row in rows.items():
        if title.replace(' ', '') == wanted.replace(' ', ''):
            return row
    titles = ', '.join(f'"{title}"' for title in rows)
    raise UserError(f'--setting "{wanted}" is no setting of this sweep. There are: {titles}.')


def predictions_csv(analysis: SweepAnalysis, runs: Sequence[dict]) -> str:
    """Returns predictions.csv of a submission: the test predictions of the runs.

    Its columns are utterance, fold, seed, the posterior of each class, and the ratings. The numbers
    are copied as the sweep has written them.
    """
    columns = ('utterance', 'fold', 'seed', *analysis.classes, *analysis.results.get('ratings', ()))
    seed_by_run = {}
    for run in runs:
        seed_by_run[run_label(run, analysis.varying_keys), run['fold']] = run['seed']
    rows = []
    for block in open_predictions(analysis.path):
        run_keys = zip(block['run'], map(int, block['fold']))
        seeds = [seed_by_run.get(key) for key in run_keys]  # None of other runs
        cells = block | {'seed': seeds}
        for seed, *row in zip(seeds, *(cells[name] for name in columns)):
            if seed is not None:
                rows.append(row)
    return csv_files.format_lines([columns, *rows])


def make_card(
    analysis: SweepAnalysis, row: dict, runs: Sequence[dict], arguments: argparse.Namespace
) -> SystemCard:
    """Returns the card of a setting; `arguments` are those of the command.

    The card is published: it has no folders of a person and no names of speakers.
    """
    command = anonymize_command(analysis.metadata.get('command') or '')
    title = analysis.setting_title(row)
    features = analysis.config.get('data', {}).get('upstream') or 'log-mel features'
    encoder = analysis.config.get('model', {}).get('name')
    seeds = pluralize(len({run['seed'] for run in runs}), 'seed')
    description = f'jaxser: {title}; encoder {encoder} on {features}; {seeds}.'
    return SystemCard(
        name=arguments.name or f'{title} ({encoder})',
        authors=arguments.authors,
        description=arguments.description or description,
        training_data=arguments.training_data or describe_training_data(analysis.config),
        licence=arguments.licence,
        command=command or 'python -m jaxser.main',
        date=datetime.date.today().isoformat(),
        parameters=arguments.parameters,
        url=arguments.url,
    )


def describe_training_data(config: dict) -> str:
    """Returns what a configuration trains on, besides the task's training part."""
    parts = [TASK_DATA]
    protocol = config.get('protocol', {})
    if protocol.get('adapt', 'none') != 'none':
        parts = [f'the training part of the task, and target speech ({protocol["adapt"]})']
    if protocol.get('identity'):
        parts.append(f'speakers of {", ".join(protocol["identity"])}')
    upstream = config.get('data', {}).get('upstream') or config.get('model', {}).get('upstream')
    if upstream:
        parts.append(f'the pretrained encoder {anonymize_value(upstream)}')
    return '; '.join(parts)


def representations_npz(arguments: argparse.Namespace, runs: Sequence[dict]) -> bytes:
    """Returns representations.npz of runs of one seed, restored from their checkpoints.

    Its arrays are utterance_N, z_NxD (float32) and fold_N.
    """
    # Only this part needs JAX, which takes seconds to import.
    from jaxser import distributed, plugins
    from jaxser.training import restore
    from jaxser.workdir import Workdir

    distributed.configure_jax()
    workdir = Workdir.open(arguments.workdir, arguments.data, None)
    names, representations, folds = [], [], []
    with plugins.matmul_precision_context(workdir.config):
        for trainer, group, selected in restore.restored_groups(workdir, runs.__contains__):
            collected, _ = restore.predict_part(trainer, group, selected, 'used_rows')
            utterance_N = trainer.task.utterances.text['utterance']
            for n, run in enumerate(group.runs):
                if run in runs:
                    rows, z_NxD = collected.get_run(n)
                    names.append(utterance_N[rows].astype(str))
                    representations.append(z_NxD.astype(np.float32))
                    folds.append(np.full(len(rows), run['fold']))
    content = io.BytesIO()
    np.savez_compressed(
        content,
        utterance_N=np.concatenate(names),
        z_NxD=np.concatenate(representations),
        fold_N=np.concatenate(folds),
    )
    return content.getvalue()


if __name__ == '__main__':
    main()
