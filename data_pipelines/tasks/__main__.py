"""Lists the benchmark tasks, explains one, or writes its split.

  python -m data_pipelines.tasks
  python -m data_pipelines.tasks emodb_four
  python -m data_pipelines.tasks emodb_four --source PATH/TO/emodb --out split.csv
  python -m data_pipelines.tasks emodb_casia --source emodb=PATH --source casia=PATH --out split.csv

The split is a CSV file that says which utterance is in which part of which fold. Any framework can
train on it. It is made from the names of the files: nothing is decoded, and neither prepared data
nor TensorFlow or JAX are needed. Its SHA-256 is compared with that of the official split.
"""

import argparse
import shlex
import textwrap
from pathlib import Path

from data_pipelines import corpora, tasks
from data_pipelines.arguments import local_path, path_text
from data_pipelines.errors import UserError, exit_on_user_error
from data_pipelines.tasks import MEASURE_TITLES, BenchmarkTask
from data_pipelines.terminal import format_table, print_text
from data_pipelines.wording import pluralize

MAX_COLUMNS = 80  # of a line


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m data_pipelines.tasks',
        description='Lists the benchmark tasks, explains one (NAME), or writes its split (--out).',
    )
    parser.add_argument('name', nargs='?', metavar='NAME', help='name of a task')
    parser.add_argument(
        '--source',
        type=path_text,
        action='append',
        default=[],
        metavar='PATH',
        help='folder of the corpus as released; of several corpora CORPUS=PATH, once for each',
    )
    parser.add_argument('--out', type=local_path, help='CSV file for the split')
    parser.add_argument(
        '--allow_partial',
        action='store_true',
        help="writes the split of files that are not the official ones: it is not the task's",
    )
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line; lists the tasks, explains one, or writes its split."""
    options = make_parser().parse_args(arguments)
    if options.name is None:
        if options.out or options.source:
            raise UserError(
                'Which task? Name it: python -m data_pipelines.tasks NAME --source PATH --out '
                f'split.csv. The tasks: {", ".join(tasks.task_names())}.'
            )
        print_tasks()
        return
    task = tasks.load_task(options.name)
    if options.out is None:
        if options.source:
            raise UserError('--out is missing: the CSV file for the split, such as split.csv.')
        print_task(task)
        return
    sources = parse_sources(task, options.source)
    check_out(options.out)
    write_task_split(task, sources, options.out, options.allow_partial)


def print_tasks() -> None:
    """Prints the table of all tasks."""
    import rich.box
    import rich.table

    table = rich.table.Table(box=rich.box.SIMPLE)
    for heading in ('task', 'corpora', 'unseen', 'measure'):
        table.add_column(heading)
    table.add_column('utterances', justify='right')
    table.add_column('hash')
    for name in tasks.task_names():
        task = tasks.load_task(name)
        count = '' if task.utterances is None else f'{task.utterances:,}'
        hash_state = 'unknown' if task.split_sha256 is None else 'known'
        corpora_names = ', '.join(task.corpora)
        measure = MEASURE_TITLES[task.measure]
        table.add_row(name, corpora_names, task.unseen, measure, count, hash_state)
    print_text(format_table(table, is_uncut=True), kept='\n')
    print(
        '\nunseen: what training has not seen of the tested speech.\n'
        'hash: whether the SHA-256 of the official split is known here.\n'
        'To read about a task: python -m data_pipelines.tasks NAME\n'
        'To write its split:   python -m data_pipelines.tasks NAME --source PATH --out split.csv\n'
        'To train on it:       python -m jaxser.main --config=configs/task.py:NAME'
    )


def print_task(task: BenchmarkTask) -> None:
    """Prints what a task is, and how to write its split."""
    print_text(f'{task.name}: {task.title}')
    facts = {
        'unseen': task.unseen,
        'measure': MEASURE_TITLES[task.measure],
        'protocol': _describe_changes(task),
        'utterances': 'not known' if task.utterances is None else f'{task.utterances:,}',
    }
    for name, counts in (task.counts or {}).items():
        numbers = [f'{count} {emotion}' for emotion, count in counts.items()]
        facts[f'classes of {name}'] = ', '.join(numbers)
    if task.excluded:
        facts['excluded'] = f'{", ".join(task.excluded)} (no usable audio)'
    facts['allowed in training'] = task.allowed_in_training
    facts['split'] = task.split_sha256 or 'its SHA-256 is not known yet'
    if task.notes:
        facts['notes'] = task.notes
    for name in task.corpora:
        corpus = corpora.load_corpus(name)
        facts[corpus.title] = f'{corpus.licence}; {corpus.homepage}'
    indent = max(map(len, facts)) + 2
    for name, text in facts.items():
        lines = textwrap.wrap(text, MAX_COLUMNS - indent, break_long_words=False)
        print_text(f'{name:{indent}}{lines[0]}')
        for line in lines[1:]:
            print_text(f'{"":{indent}}{line}')
    print_text(f'\nTo write its split:\n  {_split_command(task)}', kept='\n')


def _describe_changes(task: BenchmarkTask) -> str:
    """Returns the keys of the configuration that the task sets."""
    words = []
    if task.task != 'emotion':
        words.append(f'task={task.task} ({", ".join(task.ratings)})')
    for key, value in task.changes.items():
        text = '+'.join(value) if isinstance(value, tuple) else value
        words.append(f'{key}={text}')
    return ', '.join(words)


def _split_command(task: BenchmarkTask) -> str:
    """Returns the command that writes the split of a task."""
    sources = '--source PATH'
    if len(task.corpora) > 1:
        sources = ' '.join([f'--source {name}=PATH' for name in task.corpora])
    return f'python -m data_pipelines.tasks {task.name} {sources} --out split.csv'


def parse_sources(task: BenchmarkTask, texts: list[str]) -> dict[str, Path]:
    """Returns the folder of each corpus of a task, from PATH or CORPUS=PATH.

    UserError if a corpus has no folder or two, or is not of the task.
    """
    sources: dict[str, Path] = {}
    for text in texts:
        name, equals, path = text.partition('=')
        if not equals or name not in task.corpora:
            if len(task.corpora) > 1:
                raise UserError(
                    f'--source {text} does not say of which corpus it is; the task {task.name} '
                    f'has {" and ".join(task.corpora)}. Run: {_split_command(task)}'
                )
            name, path = task.corpora[0], text
        if name in sources:
            raise UserError(f'--source names two folders of {name}: {sources[name]} and {path}.')
        if not path:
            raise UserError(f'--source {name}= has no path. Name the folder of {name}.')
        sources[name] = Path(path)
    missing = [name for name in task.corpora if name not in sources]
    if missing:
        corpus = corpora.load_corpus(missing[0])
        raise UserError(
            f'The folder of {corpus.title} is missing (its audio: {corpus.homepage}). '
            f'Run: {_split_command(task)}'
        )
    return sources


def check_out(out: Path) -> None:
    """Raises a UserError if the split's file cannot be written because of what is there."""
    if out.is_dir():
        raise UserError(f'--out {out} is a folder. Name a file, such as {out / "split.csv"}.')
    for folder in out.parents:
        if folder.exists() and not folder.is_dir():
            raise UserError(f'--out {out}: {folder} is a file and not a folder. Choose another.')


def write_task_split(
    task: BenchmarkTask, sources: dict[str, Path], out: Path, allow_partial: bool = False
) -> None:
    """Writes the split of a task; UserError if it is not the official one, unless allowed."""
    # Imported here: the list of tasks and --help need none of them.
    from configs.task import get_config
    from data_pipelines.protocols.split_file import write_split_file
    from data_pipelines.tasks import _splitting

    config = get_config(task.name)
    split, audio_paths = _splitting.make_task_split(config, task, sources)
    differences = _splitting.find_differences(task, split)
    if differences and not allow_partial:
        raise UserError(_difference_message(task, differences))
    for sentence in split.describe_left_out(config.data.labels):
        print_text(sentence)
    print_folds(split.folds)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_split_file(out, split.utterances, split.folds, task.ratings, audio_paths=audio_paths)
    print_text(f'Written: {out}, {pluralize(len(split.utterances), "utterance")}')
    print_text(f'SHA-256 of the split: {split.sha256}')
    if differences:
        print_text(
            f'This is NOT the split of the task {task.name}, and results on it are not comparable '
            f'with others: {"; ".join(differences)}.'
        )
    elif task.split_sha256 is None:
        print_text(
            f'The SHA-256 of the official split of {task.name} is not known yet, so that this one '
            'was compared with nothing. If your corpus is the complete release, please report it: '
            f'{split.sha256}'
        )
    else:
        print_text(f'This is the official split of the task {task.name}.')
    print_next_commands(task, out, is_official=not differences)


def _difference_message(task: BenchmarkTask, differences: list[str]) -> str:
    """Returns the message for a split that is not the official one."""
    notes = f' {task.notes}' if task.notes else ''
    return (
        f'These files do not give the split of the task {task.name}: {"; ".join(differences)}.'
        f'{notes} Compare the folder with the release. --allow_partial writes the split of what is '
        "there, which is not the task's."
    )


def print_folds(folds: list) -> None:
    """Prints the size of each part of each fold."""
    import rich.box
    import rich.table

    table = rich.table.Table('fold', box=rich.box.SIMPLE)
    for part in ('train', 'dev', 'test'):
        table.add_column(part, justify='right')
    for fold in folds:
        table.add_row(
            fold.name, f'{len(fold.train):,}', f'{len(fold.dev):,}', f'{len(fold.test):,}'
        )
    print_text(format_table(table), kept='\n')


def print_next_commands(task: BenchmarkTask, out: Path, is_official: bool) -> None:
    """Prints how to train on the task, and how to score predictions of it."""
    option = f' --task {task.name}' if is_official else ''
    print_text(
        f'To train jaxser on it: python -m jaxser.main --config=configs/task.py:{task.name}\n'
        'To score any system:   python -m jaxser.score predictions.csv '
        f'--split {shlex.quote(str(out))}{option} --out score',
        kept='\n',
    )


def run() -> None:
    """Runs the command."""
    with exit_on_user_error():
        main()


if __name__ == '__main__':
    run()
