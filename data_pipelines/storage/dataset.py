"""TODO: data_pipelines.storage.dataset."""

import dataclasses
from pathlib import Path

import numpy as np

from data_pipelines import corpora
from data_pipelines.errors import UserError
from data_pipelines.features import upstream
from data_pipelines.features.log_mel import LogMel
from data_pipelines.storage import npz, preparation, prepared, schema, shards
from data_pipelines.storage.schema import Utterances
from data_pipelines.storage.shards import _decode_features, _read_feature_bytes


def feature_spec(config) -> LogMel | upstream.EncoderStates | upstream.EncoderInput:
    """What the features of `config.data` are."""
    name = config.get('upstream')  # a model of an earlier jaxser does not say
    return upstream.spec_from_name(name) if name else LogMel(**config.features)


def find_datasets(config) -> list[Path]:
    """Where the data sets of `config.corpora` lie, an .npz before shards; says how to get those that are not there."""
    spec = feature_spec(config)
    found = []
    for name in config.corpora:
        folder, packed = (
            prepared.find_dataset(config.dir, name, spec),
            npz.npz_path(config.dir, name, spec),
        )
        if (
            config.resident != 'off'
            and packed.exists()
            and (folder is None or _read_fingerprint(folder) == npz.read_fingerprint(packed))
        ):
            found.append(packed)
            continue
        if folder is None:
            if packed.exists():
                raise UserError(
                    f'{packed} cannot be streamed, and its shards are not there: leave config.data.resident on.'
                )
            if config.upstream:
                prepared.resolve_feature_name(
                    config.dir, config.corpora, config.upstream
                )  # says how to get them
            corpus = corpora.load_corpus(name)
            differing = ''.join(
                f' --{f.name} {getattr(spec, f.name)}'
                for f in dataclasses.fields(spec)
                if getattr(spec, f.name) != f.default
            )
            others = prepared.find_other_librosa_datasets(config.dir, name, spec)
            if corpus.synthesise is None and others:
                raise UserError(
                    f'{corpus.title} was prepared with librosa {" and ".join(others)} ({", ".join(map(str, others.values()))}); '
                    f'this is librosa {prepared.librosa_version() or "none"}. Prepare it again, or install that librosa.'
                )
            if corpus.synthesise is None:
                raise UserError(
                    f'{corpus.title} is not prepared in {config.dir}/ ({name}/{spec.name}). Get it from {corpus.homepage}, then run\n'
                    f'  python -m data_pipelines.prepare {name} --source PATH --out {config.dir}{differing}\n'
                    'To try the whole of jaxser without any corpus: python -m jaxser.main --config=configs/dann_demo.py'
                )
            folder = preparation.prepare_corpus(name, None, config.dir, spec)
        found.append(folder)
    return found


def read_utterances(config) -> Utterances:
    """The columns of the data sets of `config.corpora`."""
    found = find_datasets(config)
    return schema.concatenate_datasets(
        [npz.read_columns(p) if p.suffix == '.npz' else shards.read_columns(p) for p in found]
    )


def _read_fingerprint(folder: Path) -> str:
    return prepared.read_record(folder)['fingerprint']


def read_fingerprints(config) -> dict[str, str]:
    """What tells the prepared data sets of `config.corpora` from others of the same name; without those that are not there."""
    spec = feature_spec(config)
    found = {}
    for name in config.corpora:
        if folder := prepared.find_dataset(config.dir, name, spec):
            found[name] = _read_fingerprint(folder)
        elif one := npz.read_fingerprint(npz.npz_path(config.dir, name, spec)):
            found[name] = one
    return found


def read_encoder_record(config) -> dict:
    """What was noted of the encoder when the states of the data sets were computed: name, sha256, folder, format, ..."""
    place = find_datasets(config)[0]
    found = (npz.read_record(place) if place.suffix == '.npz' else prepared.read_record(place)).get(
        'upstream'
    ) or {}
    if 'sha256' not in found:
        raise UserError(
            f'{place} does not say by which weights its states were made. Remove it and prepare the corpus again.'
        )
    return found


def read_all_features(utterances: Utterances) -> np.ndarray:
    """mel_RxM in float16: the features of all utterances, one after another."""
    mel_RxM = np.empty((utterances.frames_N.sum(), utterances.bands), np.float16)
    first_N = np.cumsum(utterances.frames_N) - utterances.frames_N
    for f, file in enumerate(utterances.files):
        rows = np.flatnonzero(utterances.file_N == f)
        if file.endswith('.npz'):
            from data_pipelines.storage import npz

            content = npz.read_features(file)
            parts = (
                content[at : at + n]
                for at, n in zip(utterances.offset_N[rows], utterances.length_N[rows])
            )
        else:
            parts = (
                _decode_features(r, utterances.bands)
                for r in _read_feature_bytes(utterances, rows, file)
            )
        for row, part in zip(rows, parts):
            mel_RxM[first_N[row] : first_N[row] + utterances.frames_N[row]] = part
    return mel_RxM
