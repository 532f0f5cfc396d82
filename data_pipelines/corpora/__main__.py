"""python -m data_pipelines.corpora [--dir data]: which corpora are known, what is in them, and which are prepared."""

import argparse
from pathlib import Path

import rich.console
import rich.table

from data_pipelines import corpora
from data_pipelines.corpora import Corpus
from data_pipelines.features.upstream import STATES_NAME_PATTERN

UNTRAINED_EMOTIONS = {'other', 'undecided'}


def table_row(corpus: Corpus, out: Path) -> list[str]:
    """A corpus's line of the table: the numbers are its largest release's, and none where releases differ at will."""
    largest = max(corpus.expected_counts, key=lambda e: sum(e.values()), default={})
    numbers = (corpus.speakers, sum(largest.values()), len({*largest} - UNTRAINED_EMOTIONS))
    return [
        corpus.name,
        ' '.join(corpus.languages),
        *(f'{n:,}' if n else '' for n in numbers),
        describe_prepared(out / corpus.name),
    ]


def describe_prepared(folder: Path) -> str:
    """What there is of a corpus: log-mel of whichever kind as shards, an .npz, or both, and which states of upstreams."""
    records = sorted(folder.glob('logmel*/*/prepared.json'))
    partial = any('"complete": false' in record.read_text() for record in records)
    shards = ['shards, partial' if partial else 'shards'] * bool(records)
    states = {
        ' '.join(m.group(1, 4))
        for m in map(STATES_NAME_PATTERN.match, sorted(p.name for p in folder.glob('*')))
        if m
    }
    return ', '.join(shards + ['.npz'] * any(folder.glob('logmel*.npz')) + sorted(states))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog='python -m data_pipelines.corpora', description=__doc__.split(': ')[1]
    )
    parser.add_argument(
        '--dir', default='data', help='where the prepared data sets are (%(default)s)'
    )
    out = Path(parser.parse_args().dir)
    known = [corpora.load_corpus(name) for name in corpora.corpus_names()]
    grid = rich.table.Table('corpus', 'language', title=f'Prepared: in {out}')
    for heading in ('speakers', 'utterances', 'classes'):
        grid.add_column(heading, justify='right')
    grid.add_column('prepared')
    for corpus in known:
        grid.add_row(*table_row(corpus, out))
    console = rich.console.Console(highlight=False)
    console.print(grid)
    print('\nWhere to get them, and on which terms:\n')
    for (
        corpus
    ) in known:  # not by rich, which would break an address that is wider than the terminal
        print(f'{corpus.name:12} {corpus.homepage}\n{"":12} {corpus.title}: {corpus.licence}')


if __name__ == '__main__':
    main()
