"""TODO: data_pipelines.storage.schema."""

import dataclasses
import math
import os

import numpy as np

from data_pipelines.corpora import Utterance

DATASET_VERSION = '1.0.0'

TFDS_SPLIT = 'utterances'

TEXT_COLUMNS = (
    'utterance',
    'speaker',
    'emotion',
    'sex',
    'language',
    'corpus',
    'session',
    'sentence',
    'style',
    'split',
)

RATING_COLUMNS = ('arousal', 'valence', 'dominance')


def label_columns(utterance: Utterance) -> dict[str, str | float]:
    """What the shards say about an utterance beside its sound; a rating that there is not is NaN."""
    texts = {key: getattr(utterance, 'name' if key == 'utterance' else key) for key in TEXT_COLUMNS}
    ratings = {key: getattr(utterance, key) for key in RATING_COLUMNS}
    return texts | {key: math.nan if rating is None else rating for key, rating in ratings.items()}


def audio_summary(result: dict) -> dict[str, str | float]:
    """What the lists for people say about an utterance's sound."""
    return {key: result[key] for key in ('frames', 'seconds', 'sha256')}


def import_tensorflow():
    """TensorFlow without its chatter and without the accelerator, which belongs to JAX."""
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    os.environ.setdefault(
        'TF_ENABLE_ONEDNN_OPTS', '0'
    )  # on some processors it announces itself, whatever the log level
    import absl.logging
    import tensorflow as tf

    absl.logging.set_verbosity(absl.logging.ERROR)
    tf.config.set_visible_devices([], 'GPU')
    return tf


@dataclasses.dataclass
class Utterances:
    """The columns of one or several data sets, a row an utterance, in the order of the shards.

    Where an utterance's features lie: index into `files`, then first byte and bytes of its record in a shard, or first row and
    rows in an .npz.
    """

    text: dict[
        str, np.ndarray
    ]  # strings of shape (N,): those of builder.TEXTS, and sha256 of the decoded audio
    rating_NxA: np.ndarray  # arousal, valence, dominance from -1 to 1; NaN where there is none
    frames_N: np.ndarray
    mean_NxM: np.ndarray  # over the frames of an utterance
    variance_NxM: np.ndarray
    signature_NxS: np.ndarray  # log_mel.signature, by which nearly equal audio is found
    file_N: np.ndarray
    offset_N: np.ndarray
    length_N: np.ndarray
    files: list[str]

    def __len__(self) -> int:
        return len(self.frames_N)

    def __getitem__(self, rows) -> 'Utterances':
        columns = {
            f.name: getattr(self, f.name)[rows]
            for f in dataclasses.fields(self)
            if f.name.count('_N')
        }
        return Utterances({k: v[rows] for k, v in self.text.items()}, files=self.files, **columns)

    @property
    def bands(self) -> int:
        """Mel bands."""
        return self.mean_NxM.shape[1]

    @property
    def is_packed(self) -> bool:
        """Whether any features lie in .npz files, which cannot be streamed."""
        return any(f.endswith('.npz') for f in self.files)


def concatenate_datasets(datasets: list[Utterances]) -> Utterances:
    """Several data sets as one; since two corpora may use the same names, the corpus is put before them."""
    if len(datasets) == 1:
        return datasets[0]
    text = {k: np.concatenate([u.text[k] for u in datasets]) for k in datasets[0].text}
    prefix = np.char.add(text['corpus'], '/')
    own = ('utterance', 'speaker', 'session', 'sentence')
    text |= {k: np.where(text[k] == '', '', np.char.add(prefix, text[k])) for k in own}
    before = np.cumsum([0] + [len(u.files) for u in datasets])
    names = [f.name for f in dataclasses.fields(Utterances) if '_N' in f.name]
    columns = {name: np.concatenate([getattr(u, name) for u in datasets]) for name in names}
    columns['file_N'] = np.concatenate([u.file_N + n for u, n in zip(datasets, before)])
    return Utterances(text, files=[f for u in datasets for f in u.files], **columns)
