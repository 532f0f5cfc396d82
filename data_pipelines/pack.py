"""A prepared corpus as one .npz beside its shards: training from it needs no TensorFlow and starts sooner.

  python -m data_pipelines.pack NAME [--dir data]

Copy data/NAME/*.npz to the same place on a machine without TensorFlow, and train there with the same command.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np

from data_pipelines.errors import UserError, exit_on_user_error
from data_pipelines.features.log_mel import LogMel
from data_pipelines.features.upstream import spec_from_name
from data_pipelines.storage import dataset, prepared, shards
from data_pipelines.storage.npz import npz_path
from data_pipelines.storage.prepared import resolve_feature_name


def write_npz(folder: Path, file: Path) -> None:
    """Writes the .npz of the data set in `folder`, whole or not at all."""
    utterances = shards.read_columns(folder)
    columns = {f'text_{k}': v for k, v in utterances.text.items()}
    numbers = {
        k: getattr(utterances, k)
        for k in ('frames_N', 'rating_NxA', 'mean_NxM', 'variance_NxM', 'signature_NxS')
    }
    record = prepared.read_record(folder)
    facts = json.dumps({k: record[k] for k in ('fingerprint', 'upstream') if k in record})
    part = file.with_name(f'.{file.name}.part')
    with open(part, 'wb') as to:
        np.savez(
            to,
            facts=np.array(facts),
            mel_RxM=dataset.read_all_features(utterances),
            **columns,
            **numbers,
        )
    part.rename(file)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog='python -m data_pipelines.pack',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('name', metavar='NAME', help='a corpus that is prepared')
    parser.add_argument(
        '--dir', default='data', help='where the prepared data sets are (%(default)s)'
    )
    parser.add_argument(
        '--upstream',
        default='',
        help='the states of this upstream, by the beginning of their name, not log-mel',
    )
    for field in dataclasses.fields(LogMel):
        parser.add_argument(
            f'--{field.name}', type=field.type, default=field.default, help='log-mel (%(default)s)'
        )
    arguments = vars(parser.parse_args())
    with exit_on_user_error():
        name, out, upstream = (arguments.pop(key) for key in ('name', 'dir', 'upstream'))
        spec = (
            spec_from_name(resolve_feature_name(out, [name], upstream))
            if upstream
            else LogMel(**arguments)
        )
        folder = prepared.find_dataset(out, name, spec)
        if folder is None:
            raise UserError(
                f'{name} is not prepared in {out}/. First: python -m data_pipelines.prepare {name} --source PATH --out {out}'
            )
        file = npz_path(out, name, spec)
        write_npz(folder, file)
        print(f'{file}: {file.stat().st_size / 2**20:.1f} MiB')


if __name__ == '__main__':
    main()
