"""The columns of a prepared data set, and `Utterances`, which has them in memory."""

import contextlib
import dataclasses
import importlib.util
import math
import os
from collections.abc import Iterator

import numpy as np

from data_pipelines import labels
from data_pipelines.corpora import Utterance
from data_pipelines.errors import UserError

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

# Which part of which file an utterance is, as `format_window` writes it; '' where the data set has
# no segments. Data sets of earlier versions lack this column.
WINDOW_COLUMN = 'window'

# The codec of the source file, and numbers that describe the file and its audio. Data sets of
# earlier versions lack them, except the duration in shards. `audio_facts_NxF` has the numbers.
CODEC_COLUMN = 'source_codec'
# The votes of several listeners, as `labels.format_votes` writes them; '' where there are none.
VOTES_COLUMN = 'votes'
# Data of earlier versions lack these.
LATER_TEXT_COLUMNS = (WINDOW_COLUMN, CODEC_COLUMN, VOTES_COLUMN)
AUDIO_FACTS = ('seconds', 'source_rate', 'level_db', 'leading_silence')

# Text columns whose values two corpora may share by accident.
CORPUS_SPECIFIC_COLUMNS = ('utterance', 'speaker', 'session', 'sentence')


def label_columns(utterance: Utterance) -> dict[str, str | float]:
    """Returns the columns that are not computed from the audio; a missing rating is NaN."""
    columns: dict[str, str | float] = {'utterance': utterance.name}
    for key in TEXT_COLUMNS[1:]:
        columns[key] = getattr(utterance, key)
    for key in RATING_COLUMNS:
        rating = getattr(utterance, key)
        columns[key] = math.nan if rating is None else rating
    columns[WINDOW_COLUMN] = format_window(utterance)
    columns[VOTES_COLUMN] = labels.format_votes(utterance.votes)
    return columns


def format_window(utterance: Utterance) -> str:
    """Returns 'FILE START END', in seconds to the last bit; END is inf at the end of the file."""
    if not utterance.file:
        return ''
    end = math.inf if utterance.end is None else utterance.end
    return f'{utterance.file} {utterance.start!r} {end!r}'


def audio_summary(result: dict) -> dict[str, str | float]:
    """Returns what utterances.csv says about an utterance's audio."""
    keys = ('frames', *AUDIO_FACTS, CODEC_COLUMN, 'sha256')
    return {key: result[key] for key in keys}


def check_tensorflow() -> None:
    """UserError if TensorFlow or TFDS is not installed; does not import them."""
    with _missing_as_user_error():
        for name in ('tensorflow', 'tensorflow_datasets'):
            if importlib.util.find_spec(name) is None:
                raise ModuleNotFoundError(f'No module named {name!r}')


@contextlib.contextmanager
def _missing_as_user_error() -> Iterator[None]:
    """Turns the ImportError of a missing TensorFlow or TFDS into a UserError."""
    try:
        yield
    except ImportError as error:
        raise UserError(
            f'TensorFlow, which writes and streams shards, cannot be imported here ({error}). '
            "Install it (pip install 'jaxser[tensorflow]') if it has a release for this Python. "
            'Or prepare the corpus elsewhere, and copy data/NAME to this machine. With '
            'config.data.resident=on, training, the probe, the report and predictions need no '
            'TensorFlow.'
        ) from None


def import_tfds():
    """Returns tensorflow_datasets; UserError if it is not installed."""
    with _missing_as_user_error():
        import tensorflow_datasets as tfds
    return tfds


def import_tensorflow():
    """Returns TensorFlow, without log messages and without the GPU, which JAX needs.

    UserError if it is not installed.
    """
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    # On some processors oneDNN prints a message, whatever the log level.
    os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
    import absl.logging

    with _missing_as_user_error():
        import tensorflow as tf

    absl.logging.set_verbosity(absl.logging.ERROR)
    tf.config.set_visible_devices([], 'GPU')
    return tf


@dataclasses.dataclass
class Utterances:
    """The columns of one or several data sets, one row for each utterance, in the stored order.

    `file_N`, `offset_N` and `length_N` say where an utterance's features are: the index into
    `files`, then the first byte and the number of bytes of its record in a shard, or the first row
    and the number of rows in an .npz.
    """

    # TEXT_COLUMNS, LATER_TEXT_COLUMNS, and the SHA-256 of the decoded audio; shape (N,)
    text: dict[str, np.ndarray]
    rating_NxA: np.ndarray  # RATING_COLUMNS from -1 to 1; NaN where there is no rating
    frames_N: np.ndarray  # number of frames
    mean_NxM: np.ndarray  # over the frames of an utterance
    variance_NxM: np.ndarray
    signature_NxS: np.ndarray  # of features.signature; finds recordings that are nearly equal
    file_N: np.ndarray
    offset_N: np.ndarray
    length_N: np.ndarray
    files: list[str]
    # AUDIO_FACTS, float64: seconds, Hz, dB of full scale, seconds; NaN where unknown (the default).
    audio_facts_NxF: np.ndarray | None = None

    def __post_init__(self):
        if self.audio_facts_NxF is None:
            self.audio_facts_NxF = np.full((len(self), len(AUDIO_FACTS)), np.nan)

    def __len__(self) -> int:
        return len(self.frames_N)

    def __getitem__(self, rows) -> 'Utterances':
        text = {key: column[rows] for key, column in self.text.items()}
        arrays = {name: getattr(self, name)[rows] for name in ARRAY_COLUMNS}
        return Utterances(text, files=self.files, **arrays)

    @property
    def bands(self) -> int:
        """Numbers in a frame."""
        return self.mean_NxM.shape[1]

    @property
    def is_packed(self) -> bool:
        """Whether any features are in .npz files, which cannot be streamed."""
        return any(file.endswith('.npz') for file in self.files)


# All fields of Utterances except the texts and the files.
ARRAY_COLUMNS = (
    'rating_NxA',
    'frames_N',
    'mean_NxM',
    'variance_NxM',
    'signature_NxS',
    'file_N',
    'offset_N',
    'length_N',
    'audio_facts_NxF',
)


def concatenate_datasets(datasets: list[Utterances]) -> Utterances:
    """Returns several data sets as one, in their order.

    Where there are several, names in CORPUS_SPECIFIC_COLUMNS are prefixed with the corpus.
    """
    if len(datasets) == 1:
        return datasets[0]
    text = {}
    for key in datasets[0].text:
        text[key] = np.concatenate([dataset.text[key] for dataset in datasets])
    prefix = np.char.add(text['corpus'], '/')
    for key in CORPUS_SPECIFIC_COLUMNS:
        text[key] = np.where(text[key] == '', '', np.char.add(prefix, text[key]))
    arrays = {}
    for name in ARRAY_COLUMNS:
        arrays[name] = np.concatenate([getattr(dataset, name) for dataset in datasets])
    files: list[str] = []
    shifted_files = []  # file_N as an index into the files of all data sets
    for dataset in datasets:
        shifted_files.append(dataset.file_N + len(files))
        files += dataset.files
    arrays['file_N'] = np.concatenate(shifted_files)
    return Utterances(text, files=files, **arrays)
