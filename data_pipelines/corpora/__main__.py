"""Prints the table of corpora: python -m data_pipelines.corpora [--dir data].

The table says what is in each corpus, whether it is prepared, and where to get it.
"""

import argparse
import json
from pathlib import Path

import rich.table

from data_pipelines import corpora
from data_pipelines.arguments import local_path
from data_pipelines.corpora import Corpus
from data_pipelines.errors import exit_on_user_error
from data_pipelines.features.upstream import STATES_NAME_PATTERN
from data_pipelines.labels import UNTRAINED_EMOTIONS
from data_pipelines.terminal import format_table, print_text


def make_table_row(corpus: Corpus, data_dir: Path) -> list[str]:
    """Returns the cells of a corpus's row.

    The counts are those of its largest release. A count is empty if releases differ in it.
    """
    largest = max(corpus.expected_counts, key=count_utterances, default={})
    classes = set(largest) - set(UNTRAINED_EMOTIONS)
    return [
        corpus.name,
        ' '.join(corpus.languages),
        format_count(corpus.speakers),
        format_count(count_utterances(largest)),
        format_count(len(classes)),
        describe_prepared(data_dir / corpus.name),
    ]


def make_own_row(name: str, data_dir: Path) -> list[str]:
    """Returns the cells of a corpus of the user's own, whose counts are those of its record."""
    facts: dict = {}
    accepted = None
    for file in sorted((data_dir / name).glob('*/*/prepared.json')):
        try:
            record = json.loads(file.read_text())
        except ValueError:  # damaged: the commands that need it say so
            continue
        facts = record.get('own', facts)
        accepted = record.get('accepted', accepted)
    return [
        name,
        ' '.join(facts.get('languages', ())),
        format_count(facts.get('speakers')),
        format_count(accepted),
        format_count(len(facts.get('classes', ()))),
        describe_prepared(data_dir / name),
    ]


def count_utterances(expected_counts: dict[str, int]) -> int:
    """Returns the number of utterances of a release."""
    return sum(expected_counts.values())


def format_count(count: int | None) -> str:
    """Returns a count as text, or '' if it is unknown (None or 0)."""
    return f'{count:,}' if count else ''


def describe_prepared(folder: Path) -> str:
    """Returns which features of a corpus are prepared.

    They are log-mel features, as shards or as an .npz file, and the states of pretrained encoders.
    """
    descriptions = []
    records = list(folder.glob('logmel*/*/prepared.json'))
    if records:
        partial = any('"complete": false' in record.read_text() for record in records)
        descriptions.append('shards, partial' if partial else 'shards')
    if any(folder.glob('logmel*.npz')):
        descriptions.append('.npz')
    states = set()
    for path in folder.glob('*'):
        match = STATES_NAME_PATTERN.match(path.name)
        if match:
            states.add(' '.join(match.group(1, 4)))
    return ', '.join(descriptions + sorted(states))


def make_table(corpus_list: list[Corpus], data_dir: Path) -> rich.table.Table:
    """Returns the table of the corpora, one row for each; the user's own are last."""
    table = rich.table.Table(
        'corpus', 'language', title=f'Corpora and their prepared data in {data_dir}'
    )
    for heading in ('speakers', 'utterances', 'classes'):
        table.add_column(heading, justify='right')
    table.add_column('prepared')
    for corpus in corpus_list:
        table.add_row(*make_table_row(corpus, data_dir))
    own_names = corpora.own_names(data_dir)
    if own_names:
        table.add_section()
    for name in own_names:
        table.add_row(*make_own_row(name, data_dir))
    return table


def main() -> None:
    """Parses the command line and prints the table, then the homepages and the licences."""
    parser = argparse.ArgumentParser(
        prog='python -m data_pipelines.corpora',
        description='Prints what is in each corpus, whether it is prepared, and where to get it.',
    )
    parser.add_argument(
        '--dir',
        type=local_path,
        default='data',
        help='folder of the prepared corpora (default: %(default)s)',
    )
    data_dir = parser.parse_args().dir
    corpus_list = [corpora.load_corpus(name) for name in corpora.corpus_names()]
    print_text(format_table(make_table(corpus_list, data_dir)), kept='\n')
    print('\nWhere to get them, and their licences:\n')
    # Plain print: rich would break a web address that is wider than the terminal.
    for corpus in corpus_list:
        print(f'{corpus.name:12} {corpus.homepage}\n{"":12} {corpus.title}: {corpus.licence}')


def run() -> None:
    """Runs the command."""
    with exit_on_user_error():
        main()


if __name__ == '__main__':
    run()
