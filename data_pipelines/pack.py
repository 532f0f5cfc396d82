"""Packs a prepared corpus into one .npz, next to the folder of its shards.

  python -m data_pipelines.pack NAME [--dir data]

The .npz is one file with all that training reads. Copy data/NAME/*.npz to the same folder on
another machine, and train there with the same command. After each `prepare`, pack again.
"""

import argparse
import dataclasses
import json
import os
from pathlib import Path

import numpy as np

from data_pipelines.arguments import path_text
from data_pipelines.errors import UserError, exit_on_user_error, sigterm_as_interrupt
from data_pipelines.features.log_mel import LogMel
from data_pipelines.features.upstream import FeatureSpec, spec_from_name
from data_pipelines.partial_folders import partial_folder
from data_pipelines.storage import dataset, near_duplicates, prepared, schema, shards
from data_pipelines.storage.npz import FACTS_COLUMN, NUMBER_COLUMNS, TEXT_PREFIX, npz_path

PACKED_RECORD_KEYS = ('fingerprint', prepared.VOTES_KEY, 'upstream', 'own')  # of prepared.json

MIB = 2**20  # bytes


def write_npz(folder: Path, file: Path) -> None:
    """Writes the data set in `folder` as an .npz, complete or not at all."""
    utterances = shards.read_columns(folder)
    record = prepared.read_record(folder)
    facts = {key: record[key] for key in PACKED_RECORD_KEYS if key in record}
    arrays = {
        'facts': np.array(json.dumps(facts)),
        'mel_RxM': dataset.read_all_features(utterances),
    }
    for key, column in utterances.text.items():
        # Without segments or votes, or from an earlier version: as before these columns.
        if key not in schema.LATER_TEXT_COLUMNS or (column != '').any():
            arrays[TEXT_PREFIX + key] = column
    for key in (*NUMBER_COLUMNS, FACTS_COLUMN):
        arrays[key] = getattr(utterances, key)
    arrays |= near_duplicates.arrays_to_store(utterances.signature_NxS, utterances.files)
    with partial_folder(file.parent, f'.{file.name}.partial-') as temporary:
        part = temporary / file.name
        with open(part, 'wb') as stream:
            np.savez(stream, **arrays)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)


def main() -> None:
    """Parses the command line and packs the corpus."""
    arguments = vars(make_parser().parse_args())
    with exit_on_user_error(), sigterm_as_interrupt():
        name = arguments.pop('name')
        data_dir = arguments.pop('dir')
        upstream = arguments.pop('upstream')
        spec = find_feature_spec(data_dir, name, upstream, LogMel(**arguments))
        folder = prepared.find_dataset(data_dir, name, spec)
        if folder is None:
            raise UserError(
                f'{name} is not prepared in {data_dir}/. First run: '
                f'python -m data_pipelines.prepare '
                f'{prepared.prepare_arguments(data_dir, name)} --out {data_dir}'
            )
        file = npz_path(data_dir, name, spec)
        write_npz(folder, file)
        print(f'{file}: {file.stat().st_size / MIB:.1f} MiB')


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m data_pipelines.pack',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('name', metavar='NAME', help='a corpus that is prepared')
    parser.add_argument(
        '--dir', type=path_text, default='data', help='the folder of all data sets (%(default)s)'
    )
    parser.add_argument(
        '--upstream',
        default='',
        help='pack features of a pretrained encoder, not log-mel: their name, or how it begins',
    )
    for field in dataclasses.fields(LogMel):
        parser.add_argument(
            f'--{field.name}', type=field.type, default=field.default, help='log-mel (%(default)s)'
        )
    return parser


def find_feature_spec(data_dir: str, name: str, upstream: str, log_mel: LogMel) -> FeatureSpec:
    """Returns the encoder features whose name begins with `upstream`; `log_mel` if it is empty."""
    if not upstream:
        return log_mel
    return spec_from_name(prepared.resolve_feature_name(data_dir, [name], upstream))


if __name__ == '__main__':
    main()
