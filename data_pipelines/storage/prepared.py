"""Finds the folder of one prepared data set, and reads its record, prepared.json.

preparation.py makes such a folder; dataset.py reads all data sets of a configuration.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from data_pipelines import labels
from data_pipelines.corpora import Utterance, load_corpus, own_names
from data_pipelines.corpora import prepare_arguments as corpora_arguments
from data_pipelines.errors import UserError
from data_pipelines.features.log_mel import LogMel
from data_pipelines.features.upstream import (
    INPUT_KIND,
    INPUT_NAME_PATTERN,
    STATES_NAME_PATTERN,
    FeatureSpec,
)
from data_pipelines.storage import npz, schema

RECORD_FILE = 'prepared.json'  # written last: a data set without it is not complete
VOTES_KEY = 'votes_fingerprint'  # of that record; only a data set with votes has it
ANY_ENCODER = 'any'  # in place of the beginning of the name of encoder features


def find_dataset(data_dir: str | os.PathLike, name: str, spec: FeatureSpec) -> Path | None:
    """Returns the folder of a complete data set, or None; does not import TensorFlow."""
    try:
        feature_name = spec.name
    except importlib.metadata.PackageNotFoundError:
        # librosa's version is part of the name. Without librosa nothing can have been prepared.
        return None
    folder = Path(data_dir) / name / feature_name / schema.DATASET_VERSION
    return folder if (folder / RECORD_FILE).exists() else None


def read_record(folder: Path) -> dict:
    """Returns the content of a data set's prepared.json; UserError if the file is damaged."""
    file = folder / RECORD_FILE
    try:
        record = json.loads(file.read_text())
        if not isinstance(record['fingerprint'], str):
            raise ValueError('no fingerprint')
        return record
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{file} is damaged ({type(error).__name__}: {error}). '
            f'Remove {folder} and prepare the corpus again.'
        ) from None


def incomplete_error(folder: Path) -> UserError:
    """Returns the error for a data set without prepared.json."""
    return UserError(
        f'{folder} contains a data set without its {RECORD_FILE}: it is not complete. '
        'Remove that folder, and prepare the corpus again.'
    )


def resolve_feature_name(data_dir: str | Path, corpora: Iterable[str], prefix: str) -> str:
    """Returns the name of the encoder features that begins with `prefix` and all `corpora` have.

    The prefix 'any' is the beginning of every name. States are preferred to an encoder's input,
    since the names of Whisper's begin alike. UserError if a corpus has no such features, or if
    several names fit.
    """
    names_by_corpus = {name: _feature_names(Path(data_dir) / name, prefix) for name in corpora}
    shared_names = set.intersection(*names_by_corpus.values())
    shared_states = {name for name in shared_names if STATES_NAME_PATTERN.fullmatch(name)}
    candidates = sorted(shared_states or shared_names)
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise UserError(
            f'config.data.upstream is {prefix!r}, which fits {" and ".join(candidates)}: '
            'set it to one of these names.'
        )
    raise _missing_features_error(data_dir, names_by_corpus, prefix)


def _feature_names(corpus_folder: Path, prefix: str) -> set[str]:
    """Returns the corpus's encoder features, shards or .npz, whose names begin with `prefix`."""
    names = set()
    beginning = '' if prefix == ANY_ENCODER else prefix
    for path in corpus_folder.glob(f'{beginning}*'):
        name = path.name.removesuffix('.npz')
        if STATES_NAME_PATTERN.fullmatch(name) or INPUT_NAME_PATTERN.fullmatch(name):
            names.add(name)
    return names


def _missing_features_error(
    data_dir: str | Path, names_by_corpus: dict[str, set[str]], prefix: str
) -> UserError:
    """Returns the error that says how to prepare what is missing."""
    missing = []
    existing = []
    for corpus, names in names_by_corpus.items():
        if names:
            existing.append(f'{corpus}: {", ".join(sorted(names))}')
        else:
            missing.append(corpus)
    if not missing:  # each corpus has some, but no name is shared by all
        missing = list(names_by_corpus)
    options = '--features upstream:FOLDER'
    if prefix.startswith('wave') or f'-{INPUT_KIND}-' in prefix:
        options += f' --states {INPUT_KIND}'
    commands = ''
    for corpus in missing:
        commands += (
            f'\n  python -m data_pipelines.prepare {prepare_arguments(data_dir, corpus)} '
            f'--out {data_dir} {options}'
        )
    verb = 'is' if len(missing) == 1 else 'are'
    instead = f' (prepared are {"; ".join(existing)})' if existing else ''
    wanted = '' if prefix == ANY_ENCODER else f' whose name begins with {prefix!r}'
    return UserError(
        f'{" and ".join(missing)} {verb} not prepared in {data_dir}/ with features of a pretrained '
        f'encoder{wanted}{instead}. First run, with the Hugging Face '
        f'folder of the encoder:{commands}'
    )


def prepare_arguments(data_dir: str | Path, name: str) -> str:
    """Returns the arguments of `prepare` for a data set, for messages.

    Those of a corpus of the user's own are the ones with which it has been prepared already.
    UserError if there is no such corpus.
    """
    own = own_names(data_dir)
    corpus = load_corpus(name, own)
    arguments = corpora_arguments(name)
    if corpus.synthesise:
        return arguments
    for file in sorted((Path(data_dir) / name).glob(f'*/*/{RECORD_FILE}')):
        record = read_record(file.parent)
        if 'own' in record and name in own:
            words = ['--source', record['source'], *record['own']['arguments']]
            list_format = record['own'].get('format', 'folder')  # earlier records have none
            arguments = arguments.replace('folder', list_format, 1)
            return f'{arguments} {shlex.join(words)}'
    return f'{arguments} --source PATH'


def librosa_version() -> str | None:
    """Returns the installed version, or None; does not import librosa, which takes seconds."""
    try:
        return importlib.metadata.version('librosa')
    except importlib.metadata.PackageNotFoundError:
        return None


def find_other_librosa_datasets(
    data_dir: str | os.PathLike, name: str, spec: LogMel
) -> dict[str, Path]:
    """Returns the folders of data sets with the same features by other versions of librosa.

    Keys are the versions.
    """
    folders = {}
    pattern = f'*/{schema.DATASET_VERSION}/{RECORD_FILE}'
    for file in sorted((Path(data_dir) / name).glob(pattern)):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads(file.read_text())
            has_same_features = record['log_mel'] == dataclasses.asdict(spec)
            if has_same_features and record['librosa'] != librosa_version():
                folders[record['librosa']] = file.parent
    return folders


def fingerprint_utterances(utterances: list[Utterance]) -> str:
    """Returns a digest of a list of utterances, which ignores the folders of their files.

    Speed and channel count only where they are chosen: earlier versions had neither. `file` depends
    on where the files are. Votes are in `fingerprint_votes`, so that a corpus whose votes are read
    since a later version is still the same.
    """
    facts = []
    for utterance in utterances:
        without_folder = dataclasses.replace(utterance, path=Path(utterance.path.name))
        values = dataclasses.asdict(without_folder)
        del values['file'], values['votes']
        if utterance.speed == 1:
            del values['speed']
        if not utterance.channel:
            del values['channel']
        facts.append(tuple(values.values()))
    return hashlib.sha256(repr(facts).encode(errors='surrogateescape')).hexdigest()


def fingerprint_votes(utterances: list[Utterance]) -> str:
    """Returns a digest of the utterances' votes; '' if none has votes."""
    if not any(utterance.votes for utterance in utterances):
        return ''
    votes = [(utterance.name, labels.format_votes(utterance.votes)) for utterance in utterances]
    return hashlib.sha256(repr(votes).encode(errors='surrogateescape')).hexdigest()


def is_packed_from(packed: Path, folder: Path) -> bool:
    """Returns whether the .npz was packed from the data set that is in `folder` now."""
    packed_record = npz.read_record(packed)
    record = read_record(folder)
    return all(packed_record.get(key) == record.get(key) for key in ('fingerprint', VOTES_KEY))
