"""What became of a corpus's utterances: the two CSV files for people, and what is printed."""

import collections
from pathlib import Path
from typing import NamedTuple

from data_pipelines import csv_files
from data_pipelines.corpora import Corpus, Utterance
from data_pipelines.storage import schema
from data_pipelines.terminal import format_table, print_text

MAX_PRINTED_REJECTIONS = 20


class WrittenDataset(NamedTuple):
    """Where a data set was written, and what became of each utterance."""

    folder: Path
    accepted: list[tuple[Utterance, dict]]  # with `schema.audio_summary`
    rejected: list[tuple[Utterance, str]]  # with the reason


def write_lists(written: WrittenDataset) -> None:
    """Writes utterances.csv and rejected.csv, for people to read."""
    accepted_rows = []
    for utterance, summary in written.accepted:
        row = schema.label_columns(utterance) | summary | {'path': utterance.path}
        accepted_rows.append(row)
    rejected_rows = []
    for utterance, reason in written.rejected:
        row = {'path': utterance.path, 'utterance': utterance.name, 'reason': reason}
        rejected_rows.append(row)
    # File names that are not UTF-8 are written as their bytes.
    csv_files.write_rows(written.folder / 'utterances.csv', accepted_rows, errors='surrogateescape')
    csv_files.write_rows(
        written.folder / 'rejected.csv',
        rejected_rows,
        ('path', 'utterance', 'reason'),
        errors='surrogateescape',
    )


def print_summary(corpus: Corpus, written: WrittenDataset, folder: Path) -> None:
    """Prints how many utterances were accepted and rejected, duplicates and rejections."""
    print_counts(corpus, written)
    speakers = {utterance.speaker for utterance, _ in written.accepted}
    speakers.discard('')
    hours = sum(summary['seconds'] for _, summary in written.accepted) / 3600
    print_text(f'{len(speakers)} speakers, {hours:.2f} hours: {folder}')
    print_identical_audio(written)
    for utterance, reason in written.rejected[:MAX_PRINTED_REJECTIONS]:
        print_text(f'rejected: {utterance.location}: {reason}')
    more = len(written.rejected) - MAX_PRINTED_REJECTIONS
    if more > 0:
        print_text(f'... and {more} more, in {folder / "rejected.csv"}')


def print_counts(corpus: Corpus, written: WrittenDataset) -> None:
    """Prints the table of accepted and rejected utterances for each emotion."""
    import rich.table

    accepted = collections.Counter(utterance.emotion for utterance, _ in written.accepted)
    rejected = collections.Counter(utterance.emotion for utterance, _ in written.rejected)
    table = rich.table.Table('emotion', title=corpus.title)
    table.add_column('accepted', justify='right')
    table.add_column('rejected', justify='right')
    for emotion in sorted({*accepted, *rejected}):
        table.add_row(emotion, str(accepted[emotion]), str(rejected[emotion]))
    table.add_section()
    table.add_row('all', str(accepted.total()), str(rejected.total()))
    print_text(format_table(table), kept='\n')


def print_identical_audio(written: WrittenDataset) -> None:
    """Prints which accepted utterances have the same decoded audio."""
    by_audio = collections.defaultdict(list)
    for utterance, summary in written.accepted:
        by_audio[summary['sha256']].append(utterance)
    for group in by_audio.values():
        if len(group) == 1:
            continue
        names = ' = '.join(utterance.name for utterance in group)
        labels = {(utterance.speaker, utterance.emotion) for utterance in group}
        note = '' if len(labels) == 1 else ', although their speakers or emotions differ'
        print_text(f'identical audio{note}: {names}')
