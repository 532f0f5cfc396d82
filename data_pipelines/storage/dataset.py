"""Finds and reads all data sets that a configuration names, each from an .npz or from shards.

prepared.py finds the folder of one data set; preparation.py makes it.
"""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines import corpora, labels, speaker_names
from data_pipelines.corpora import Corpus
from data_pipelines.errors import UserError
from data_pipelines.features import upstream
from data_pipelines.features.log_mel import LogMel
from data_pipelines.features.upstream import FeatureSpec
from data_pipelines.storage import npz, preparation, prepared, schema, shards
from data_pipelines.storage.schema import Utterances

FEATURE_ALIGNMENT = 64  # bytes


class PreparedData(NamedTuple):
    """The prepared data sets of a configuration; looked up once in a run, and passed on."""

    spec: FeatureSpec  # which features they have
    paths: tuple[Path, ...]  # for each data set an .npz or a folder of shards
    fingerprints: dict[str, str]  # by the name of the data set


def feature_spec(config) -> FeatureSpec:
    """Returns the features that `config.data` names."""
    name = config.get('upstream')  # models of the first versions have no such key
    return upstream.spec_from_name(name) if name else LogMel(**config.features)


def find_prepared_data(config) -> PreparedData:
    """Returns the data sets of `config.corpora`: of each the .npz, or else the folder of shards.

    Prepares a corpus that is synthesised, if it is missing. UserError for any other that is
    missing, with the command that prepares it.
    """
    spec = feature_spec(config)
    paths = []
    fingerprints = {}
    for name in config.corpora:
        path = _find_dataset(config, name, spec)
        paths.append(path)
        fingerprints[name] = _read_fingerprint(path)
    return PreparedData(spec, tuple(paths), fingerprints)


def _find_dataset(config, name: str, spec: FeatureSpec) -> Path:
    folder = prepared.find_dataset(config.dir, name, spec)
    packed = npz.npz_path(config.dir, name, spec)
    may_use_packed = config.resident != 'off' and packed.exists()
    if may_use_packed and (folder is None or prepared.is_packed_from(packed, folder)):
        return packed
    if folder is not None:
        return folder
    if packed.exists():
        raise UserError(
            f'{packed} cannot be streamed, and its shards are missing: '
            'do not set config.data.resident=off.'
        )
    if isinstance(spec, LogMel):
        return _prepare_missing_log_mel(config, name, spec)
    # Raises the error that says how to prepare them, unless there is an incomplete data set.
    prepared.resolve_feature_name(config.dir, config.corpora, config.upstream)
    raise prepared.incomplete_error(Path(config.dir) / name / spec.name)


def _prepare_missing_log_mel(config, name: str, spec: LogMel) -> Path:
    """Prepares a synthesised corpus; UserError for any other, which says how to prepare it."""
    corpus = corpora.load_corpus(name, corpora.own_names(config.dir))
    if corpus.synthesise is not None:
        return preparation.prepare_corpus(name, None, config.dir, spec)
    other_folders = prepared.find_other_librosa_datasets(config.dir, name, spec)
    if other_folders:
        folders = ', '.join(map(str, other_folders.values()))
        raise UserError(
            f'{corpus.title} was prepared with librosa {" and ".join(other_folders)} ({folders}); '
            f'installed is librosa {prepared.librosa_version() or "none"}. '
            'Prepare the corpus again, or install that librosa.'
        )
    raise _not_prepared_error(config, corpus, spec)


def _not_prepared_error(config, corpus: Corpus, spec: LogMel) -> UserError:
    options = ''
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        if value != field.default:
            options += f' --{field.name} {value}'
    arguments = prepared.prepare_arguments(config.dir, corpus.name)
    command = f'python -m data_pipelines.prepare {arguments} --out {config.dir}'
    origin = 'Run' if corpus.is_own_list else f'Get it from {corpus.homepage}, then run'
    return UserError(
        f'{corpus.title} is not prepared in {config.dir}/ ({corpus.name}/{spec.name}). '
        f'{origin}\n  {command}{options}\n'
        'To try jaxser without any corpus: python -m jaxser.main --config=configs/dann_demo.py'
    )


def read_utterances(data: PreparedData) -> Utterances:
    """Returns the columns of all data sets, one after another."""
    datasets = []
    for path in data.paths:
        is_packed = path.suffix == '.npz'
        columns = npz.read_columns(path) if is_packed else shards.read_columns(path)
        # prepare does this too, but not that of earlier versions.
        columns.text['speaker'] = speaker_names.clear_unknown(columns.text['speaker'])
        datasets.append(columns)
    return schema.concatenate_datasets(datasets)


def _read_fingerprint(path: Path) -> str:
    if path.suffix == '.npz':
        return npz.read_fingerprint(path)
    return prepared.read_record(path)['fingerprint']


def read_existing_fingerprints(config) -> dict[str, str]:
    """Returns the fingerprints of those data sets of `config.corpora` that exist; prepares none.

    They differ when two data sets of one name were prepared from different utterances. A finished
    sweep is reported and predicts without its data, so that a missing data set is no error here.
    """
    spec = feature_spec(config)
    fingerprints = {}
    for name in config.corpora:
        folder = prepared.find_dataset(config.dir, name, spec)
        if folder is not None:
            fingerprints[name] = _read_fingerprint(folder)
            continue
        packed_fingerprint = npz.read_fingerprint(npz.npz_path(config.dir, name, spec))
        if packed_fingerprint is not None:
            fingerprints[name] = packed_fingerprint
    return fingerprints


def read_own_classes(config, name: str) -> tuple[str, ...]:
    """Returns the classes of a corpus of the user's own, which are a label space of its name.

    `config` is `config.data`. UserError if there is no such corpus.
    """
    spec = feature_spec(config)
    folder = Path(config.dir) / name
    records = []
    files = [folder / spec.name / schema.DATASET_VERSION / prepared.RECORD_FILE]
    files += sorted(folder.glob(f'*/*/{prepared.RECORD_FILE}'))
    for file in files:
        if file.exists():
            records.append(prepared.read_record(file.parent))
    packed = npz.npz_path(config.dir, name, spec)
    for file in [packed, *sorted(folder.glob('*.npz'))]:
        if file.exists():
            records.append(npz.read_record(file))
    for record in records:
        if 'own' in record:
            return tuple(record['own']['classes'])
    if records:
        raise UserError(
            f'config.data.labels is {name}, whose prepared data in {folder} do not say its '
            'classes: they are of an earlier version, or not of a list of your own. Prepare the '
            'list again, or choose another label space.'
        )
    own = corpora.own_names(config.dir)
    hint = f'; prepared in {config.dir} are {", ".join(own)}' if own else ''
    raise UserError(
        f'There is no label space {name!r}; expected one of {labels.list_spaces()}{hint}.'
    )


def read_encoder_record(data: PreparedData) -> dict:
    """Returns what was recorded about the encoder whose states are stored: name, sha256, ..."""
    path = data.paths[0]
    record = npz.read_record(path) if path.suffix == '.npz' else prepared.read_record(path)
    encoder_record = record.get('upstream') or {}
    if 'sha256' not in encoder_record:
        raise UserError(
            f'{path} does not say which weights its encoder states were computed with. '
            'Remove it and prepare the corpus again.'
        )
    return encoder_record


def read_all_features(utterances: Utterances, padding_frames: int = 0) -> np.ndarray:
    """Returns mel_RxM in float16: the features of all utterances, one after another, then zeros.

    `padding_frames` is the number of frames of zeros.
    """
    end_N = np.cumsum(utterances.frames_N, dtype=np.int64)
    start_N = end_N - utterances.frames_N
    shape = (int(utterances.frames_N.sum(dtype=np.int64)) + padding_frames, utterances.bands)
    mel_RxM = _allocate_aligned(shape)
    mel_RxM[shape[0] - padding_frames :] = 0
    for index, file in enumerate(utterances.files):
        rows = np.flatnonzero(utterances.file_N == index)
        if not len(rows):
            continue
        if file.endswith('.npz'):
            offset_N, length_N = utterances.offset_N[rows], utterances.length_N[rows]
            npz.read_features(file, mel_RxM, start_N[rows], offset_N, length_N)
        else:
            for row, record in zip(rows, shards.read_feature_bytes(utterances, rows, file)):
                features_TxM = shards.decode_features(record, utterances.bands)
                mel_RxM[start_N[row] : end_N[row]] = features_TxM
    return mel_RxM


def _allocate_aligned(shape: tuple[int, int]) -> np.ndarray:
    """Returns an uninitialised float16 array that JAX on a CPU uses without a copy."""
    size = 2 * shape[0] * shape[1]
    memory = np.empty(size + FEATURE_ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % FEATURE_ALIGNMENT
    return memory[first : first + size].view(np.float16).reshape(shape)
