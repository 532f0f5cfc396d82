"""A prepared corpus as one .npz beside its shards: training from it needs no TensorFlow and starts sooner.

  python -m data_pipelines.pack NAME [--dir data]

Copy data/NAME/*.npz to the same place on a machine without TensorFlow, and train there with the same command.
"""

import argparse
import contextlib
import dataclasses
import json
import zipfile
import zlib
from pathlib import Path

import numpy as np

from data_pipelines import prepare, shards
from data_pipelines.errors import UserError, exit_on_user_error
from data_pipelines.features.log_mel import LogMel
from data_pipelines.features.upstream import EncoderInput, EncoderStates, resolve_feature_name, spec_from_name
from data_pipelines.shards import Utterances


def npz_path(data_dir: str | Path, name: str, spec: LogMel | EncoderStates | EncoderInput) -> Path:
    """Where the .npz of a corpus is, if it is."""
    return Path(data_dir) / name / spec.npz_name


@contextlib.contextmanager
def open_npz(file: str | Path):
    """The content of an .npz; whatever is wrong with it ends in a sentence that names it."""
    try:
        with open(file, 'rb') as stream, np.load(stream, allow_pickle=False) as content:
            yield content
    except (ValueError, KeyError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as e:
        raise UserError(
            f'{file} is damaged or none of ours ({type(e).__name__}: {e}). Remove it and pack the corpus again.'
        ) from None


def read_fingerprint(file: Path) -> str | None:
    """Which data set the .npz holds; None where there is no such file."""
    return read_record(file)['fingerprint'] if file.exists() else None


def read_record(file: Path) -> dict:
    """What the .npz has of the record of its data set: its fingerprint and, of the states of an upstream, whose they are."""
    with open_npz(file) as content:
        found = json.loads(str(content['facts']))
        if not isinstance(found['fingerprint'], str):
            raise ValueError('no fingerprint')
        return found


def write_npz(folder: Path, file: Path) -> None:
    """Writes the .npz of the data set in `folder`, whole or not at all."""
    utterances = shards.read_columns(folder)
    columns = {f'text_{k}': v for k, v in utterances.text.items()}
    numbers = {k: getattr(utterances, k) for k in ('frames_N', 'rating_NxA', 'mean_NxM', 'variance_NxM', 'signature_NxS')}
    record = prepare.read_record(folder)
    facts = json.dumps({k: record[k] for k in ('fingerprint', 'upstream') if k in record})
    part = file.with_name(f'.{file.name}.part')
    with open(part, 'wb') as to:
        np.savez(to, facts=np.array(facts), mel_RxM=shards.read_all_features(utterances), **columns, **numbers)
    part.rename(file)


def read_columns(file: Path) -> Utterances:
    """The columns of an .npz; `offset_N` is the first row of an utterance in its features."""
    with open_npz(file) as content:
        text = {k.removeprefix('text_'): content[k] for k in content.files if k.startswith('text_')}
        frames = content['frames_N']
        return Utterances(
            text,
            frames_N=frames,
            **{k: content[k] for k in ('rating_NxA', 'mean_NxM', 'variance_NxM', 'signature_NxS')},
            file_N=np.zeros(len(frames), int),
            offset_N=np.cumsum(frames, dtype=np.int64) - frames,
            length_N=frames.astype(np.int64),
            files=[str(file)],
        )


def read_features(file: str) -> np.ndarray:
    """mel_RxM of all utterances, one after another."""
    with open_npz(file) as content:
        return content['mel_RxM']


def main() -> None:
    parser = argparse.ArgumentParser(
        prog='python -m data_pipelines.pack', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('name', metavar='NAME', help='a corpus that is prepared')
    parser.add_argument('--dir', default='data', help='where the prepared data sets are (%(default)s)')
    parser.add_argument('--upstream', default='', help='the states of this upstream, by the beginning of their name, not log-mel')
    for field in dataclasses.fields(LogMel):
        parser.add_argument(f'--{field.name}', type=field.type, default=field.default, help='log-mel (%(default)s)')
    arguments = vars(parser.parse_args())
    with exit_on_user_error():
        name, out, upstream = (arguments.pop(key) for key in ('name', 'dir', 'upstream'))
        spec = spec_from_name(resolve_feature_name(out, [name], upstream)) if upstream else LogMel(**arguments)
        folder = prepare.find_dataset(out, name, spec)
        if folder is None:
            raise UserError(
                f'{name} is not prepared in {out}/. First: python -m data_pipelines.prepare {name} --source PATH --out {out}'
            )
        file = npz_path(out, name, spec)
        write_npz(folder, file)
        print(f'{file}: {file.stat().st_size / 2**20:.1f} MiB')


if __name__ == '__main__':
    main()
