"""Checks the folds of a configuration for leaks between training, dev and test.

  python -m data_pipelines.audit --config=configs/dann_demo.py [--config.KEY=VALUE ...]
      [--allow_leak=speaker,audio] [--drop_copies] [--duplicates=FILE.csv]

A speaker or a recording in two parts of a fold is a leak, and so is one of dev or test in the
identity batches. A leak ends the command with status 2, unless --allow_leak allows it. Training
makes the same check.

It also measures what else predicts the emotion: sentence, length, level, silence at the beginning,
sampling rate and codec of the file. A classifier on each of them alone is tested on the test parts.
If its UAR is far above chance (a clear shortcut), the first lines say so: a model may then reach a
good UAR without the voice (data_pipelines/protocols/shortcuts.py).

--drop_copies keeps one of each group of copies of a recording, as in training. --duplicates writes
all pairs of copies to a CSV file: whether they leak, and which copy is left out.

Two recordings are the same if their decoded samples are equal, or if their signatures
(data_pipelines/features/signature.py) are nearly equal. The latter finds copies with another level,
codec (MP3, OGG, 8 bits) or sampling rate, with a little noise, or with silence removed from or
added to their ends. It does NOT find an excerpt of a longer recording, joined recordings, a changed
speed or pitch, added music, echo or loud noise, or codecs that leave less than 4 kHz or about 16
kbit/s. Where the list of a corpus gives start and end, windows of one file that overlap are found
exactly, whatever the length of the overlap. Links to a file and identical copies are that file.

Speakers are the same if their names differ only in case, blanks, invisible characters, Unicode
form, or leading zeros of a number. A person whom the corpus lists under two other names counts as
two speakers. If identical recordings are listed of both, the audit says that they are probably one
person.

The thresholds were set on real speech: the 2,179 utterances of RAVDESS, URDU and the four-class
EMO-DB, and 13 altered copies each of 320 of them. Similarity is at most 1. Among recordings that
are not copies, two takes of one actor, sentence and emotion reach 0.904, and two speakers reach
0.800. Of 4,160 copies 3 are missed, all with their ends cut off; copies that keep their ends reach
0.975. Synthetic speech repeats itself: two emotions of one voice of the demo corpus reach 0.956,
two voices 0.939.

Up to 10,000 recordings are all compared with each other. Among more, at least 99.9 % of the pairs
at the very threshold are found, and 99.999 % of those with a similarity of 0.98 or more
(data_pipelines/features/signature_search.py). Of a recording with more than 64 copies, such as
silence, not all pairs are listed and counted.

This command repeats the measurement of the thresholds:

  python -m pytest -m slow tests/data_pipelines/protocols/test_recordings.py -s
"""

import sys
import textwrap

import numpy as np
from absl import flags

from data_pipelines.errors import exit_on_user_error
from data_pipelines.labels import has_classes
from data_pipelines.protocols import duplicates
from data_pipelines.protocols.audit import check_leaks, compared_parts, inspect_folds
from data_pipelines.protocols.audit_report import (
    print_class_priors,
    print_findings,
    print_parts,
    shortcut_warnings,
)
from data_pipelines.protocols.folds import ALL_PARTS, rows_of_parts
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.terminal import print_text
from data_pipelines.wording import pluralize

MAX_COLUMNS = 80  # of a line

DUPLICATES = flags.DEFINE_string('duplicates', None, 'A CSV file for all pairs of copies.')


def main() -> None:
    """Parses the command line, prints the audit, and exits with status 2 on a leak."""
    with exit_on_user_error():
        if {'--help', '-h', '-help'} & set(sys.argv[1:]):
            print(__doc__)
        else:
            _print_audit()


def _print_audit() -> None:
    """Prints the audit of the configuration on the command line; raises UserError on a leak."""
    # Imported here, so that --help needs none of them.
    from configs import command
    from data_pipelines.protocols.split import make_split
    from data_pipelines.storage.dataset import find_prepared_data
    from jaxser.configuration import resolve

    config = resolve.resolve_config(command.parse_flags(sys.argv, 'data_pipelines.audit'))
    protocol = Protocol(**config.protocol)
    split = make_split(config, find_prepared_data(config.data))
    print_text(protocol.title)
    print(f'split {split.sha256}')
    rating = '' if has_classes(config.task) else config.data.ratings[0]
    dropped = split.dropped.findings
    findings = inspect_folds(split.utterances, split.folds, protocol, dropped, rating)
    for warning in shortcut_warnings(findings):
        for line in textwrap.wrap(warning, MAX_COLUMNS):
            print_text(line)
    label_space = config.data.labels if has_classes(config.task) else ''
    for sentence in split.describe_left_out(label_space):
        print_text(sentence)
    print()
    print_parts(split.utterances, split.folds)
    has_emotion_N = split.utterances.text['emotion'] != ''
    print_class_priors(split.utterances[np.flatnonzero(has_emotion_N)])
    print_findings(findings)
    if DUPLICATES.value is not None:
        _write_duplicates(split, protocol, DUPLICATES.value)
    check_leaks(findings)


def _write_duplicates(split, protocol: Protocol, path: str) -> None:
    """Writes all pairs of copies to a CSV file, with those that the split leaves out."""
    used_rows = rows_of_parts(split.folds, ALL_PARTS)
    rows = duplicates.list_duplicates(
        split.utterances, split.folds, compared_parts(protocol), used_rows
    )
    rows += split.dropped.rows
    duplicates.write_duplicates(path, rows)
    print(f'{pluralize(len(rows), "pair")} of copies: {path}')


if __name__ == '__main__':
    main()
