"""TODO: data_pipelines.storage.prepared."""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Iterable
from pathlib import Path

from data_pipelines.corpora import Utterance, load_corpus
from data_pipelines.errors import UserError
from data_pipelines.features.log_mel import LogMel
from data_pipelines.features.upstream import (
    INPUT_KIND,
    INPUT_NAME_PATTERN,
    STATES_NAME_PATTERN,
    EncoderInput,
    EncoderStates,
)
from data_pipelines.storage import schema


def resolve_feature_name(data_dir: str | Path, corpora: Iterable[str], prefix: str) -> str:
    """The name of the prepared features of all `corpora` in `data_dir` that begins with `prefix`; refuses none, and more than one.

    States go before what is heard: Whisper's have one beginning.
    """
    there = {
        name: {p.name.removesuffix('.npz') for p in (Path(data_dir) / name).glob(f'{prefix}*')}
        for name in corpora
    }
    there = {
        name: {
            n for n in found if STATES_NAME_PATTERN.fullmatch(n) or INPUT_NAME_PATTERN.fullmatch(n)
        }
        for name, found in there.items()
    }
    both = set.intersection(*there.values())
    both = {n for n in both if STATES_NAME_PATTERN.fullmatch(n)} or both
    if len(both) == 1:
        return both.pop()
    if both:
        raise UserError(
            f'config.data.upstream is {prefix!r}, and there are {" and ".join(sorted(both))}: name one of them.'
        )
    options = '--features upstream:FOLDER' + f' --states {INPUT_KIND}' * (
        prefix.startswith('wave') or f'-{INPUT_KIND}-' in prefix
    )
    lacking = [name for name, found in there.items() if not found] or list(there)
    source = {name: '' if load_corpus(name).synthesise else ' --source PATH' for name in lacking}
    lines = '\n'.join(
        f'  python -m data_pipelines.prepare {name}{source[name]} --out {data_dir} {options}'
        for name in lacking
    )
    found = '; '.join(f'{name}: {", ".join(sorted(f))}' for name, f in there.items() if f)
    raise UserError(
        f'{" and ".join(lacking)} {"is" if len(lacking) == 1 else "are"} not prepared in {data_dir}/ with features of an upstream '
        f'that begin with {prefix!r}{f" (there are {found})" if found else ""}. First, with the Hugging Face folder of the '
        f'encoder:\n{lines}'
    )


RECORD_FILE = 'prepared.json'


def find_dataset(
    data_dir: str | os.PathLike, name: str, spec: LogMel | EncoderStates | EncoderInput
) -> Path | None:
    """The folder of the finished data set, or None; costs no TensorFlow."""
    try:
        folder = Path(data_dir) / name / spec.name / schema.DATASET_VERSION
    except (
        importlib.metadata.PackageNotFoundError
    ):  # no librosa here: nothing can have been prepared for it
        return None
    return folder if (folder / RECORD_FILE).exists() else None


def read_record(folder: Path) -> dict:
    """What is said of a finished data set when it was prepared; refuses a damaged file by its name."""
    try:
        found = json.loads((folder / RECORD_FILE).read_text())
        if not isinstance(found['fingerprint'], str):
            raise ValueError('no fingerprint')
        return found
    except (OSError, ValueError, KeyError, TypeError) as e:
        what = f'{type(e).__name__}: {e}'
        raise UserError(
            f'{folder / RECORD_FILE} is damaged ({what}). Remove {folder} and prepare the corpus again.'
        ) from None


def librosa_version() -> str | None:
    """The version that is installed, if any; importing it would take seconds."""
    try:
        return importlib.metadata.version('librosa')
    except importlib.metadata.PackageNotFoundError:
        return None


def find_other_librosa_datasets(
    data_dir: str | os.PathLike, name: str, spec: LogMel
) -> dict[str, Path]:
    """The folders of data sets of the same features by versions of librosa that are not installed."""
    found = {}
    for file in sorted((Path(data_dir) / name).glob(f'*/{schema.DATASET_VERSION}/{RECORD_FILE}')):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads(file.read_text())
            if (
                record['log_mel'] == dataclasses.asdict(spec)
                and record['librosa'] != librosa_version()
            ):
                found[record['librosa']] = file.parent
    return found


def fingerprint_utterances(utterances: list[Utterance]) -> str:
    """What tells two lists of utterances apart, wherever their files lie."""
    facts = [
        dataclasses.astuple(dataclasses.replace(u, path=Path(u.path.name))) for u in utterances
    ]
    return hashlib.sha256(repr(facts).encode(errors='surrogateescape')).hexdigest()
