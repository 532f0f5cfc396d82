"""Writes a prepared data set as TFRecord shards, by the one TFDS builder of all corpora."""

import contextlib
import errno
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from data_pipelines.corpora import Corpus, Utterance
from data_pipelines.errors import UserError
from data_pipelines.features.signature import SIGNATURE_SIZE
from data_pipelines.features.upstream import FeatureSpec
from data_pipelines.storage.schema import (
    AUDIO_FACTS,
    DATASET_VERSION,
    LATER_TEXT_COLUMNS,
    RATING_COLUMNS,
    TEXT_COLUMNS,
    TFDS_SPLIT,
    import_tensorflow,
    import_tfds,
)

MAX_UTTERANCES = 1 << 23

MAX_LISTED_REASONS = 5  # that a message lists

KEY_RANGE = 1 << 128  # of the keys by which TFDS sorts


def write_shards(
    corpus: Corpus, spec: FeatureSpec, examples, data_dir: Path, beam_options=None
) -> Path:
    """Writes examples as the data set `<corpus>/<spec.name>`, and returns the folder of its shards.

    An example is `schema.label_columns` and the feature columns of an utterance. They are written
    in their order, and equal examples give equal bytes. With `beam_options`, `examples` is a Beam
    transform that yields (number, example) in any order. OSError if TensorFlow cannot write.
    """
    tf = import_tensorflow()
    tfds = import_tfds()

    tfds.disable_progress_bar()
    keyed_examples = examples if beam_options else zip(shard_keys(), examples)
    builder = _make_builder(corpus, spec, keyed_examples, data_dir)
    config = tfds.download.DownloadConfig(try_download_gcs=False, beam_options=beam_options)
    try:
        # TFDS prints the name of the staging folder as if it were the final one.
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(download_config=config)
    except (tf.errors.OpError, RuntimeError) as error:
        cause = error.__cause__ or error  # TFDS wraps an error within a split
        if isinstance(cause, tf.errors.ResourceExhaustedError):
            raise _make_os_error(errno.ENOSPC, data_dir) from error
        if isinstance(cause, tf.errors.PermissionDeniedError):
            raise _make_os_error(errno.EACCES, data_dir) from error
        raise
    return Path(builder.data_dir)


def _make_builder(corpus: Corpus, spec: FeatureSpec, examples, data_dir: Path):
    """Returns the TFDS builder that writes the examples."""
    tfds = import_tfds()

    class Builder(tfds.dataset_builders.AdhocBuilder, skip_registration=True):
        # Nothing is downloaded. Looking for checksums needs importlib_resources, which TFDS does
        # not declare as a dependency.
        url_infos = None

        def _info(self):
            info = super()._info()
            info.initialize_from_bucket = _find_nothing
            return info

        def _example_writer(self):
            return _make_example_writer(self.info.file_format)

    return Builder(
        name=corpus.name,
        config=spec.name,
        version=DATASET_VERSION,
        data_dir=data_dir,
        description=f'{corpus.title}: features ({spec}). Licence of the audio: {corpus.licence}.',
        homepage=corpus.homepage,
        features=_stored_features(spec.bands),
        split_datasets={TFDS_SPLIT: examples},
        file_format='tfrecord',
        disable_shuffling=True,
    )


def _find_nothing() -> None:
    """Replaces TFDS's search for known data sets, which leaves a folder among temporary files."""


def _make_example_writer(file_format):
    """Returns TFDS's writer of shards, which here writes the columns of an example by name.

    TFDS leaves their order to protobuf, which chooses another one in every process. With a fixed
    order, the same corpus always gives the same bytes.
    """
    import tensorflow_datasets as tfds

    class ExampleWriter(tfds.core.ExampleWriter):
        def write(self, path, examples):
            return super().write(path, _with_sorted_columns(examples))

    return ExampleWriter(file_format)


def _with_sorted_columns(examples: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Yields the keys and serialized examples, the columns of each example sorted by name."""
    tf = import_tensorflow()
    for key, content in examples:
        example = tf.train.Example.FromString(content)
        yield key, example.SerializeToString(deterministic=True)


def _stored_features(bands: int):
    """Returns the names, types and shapes of the stored columns."""
    import numpy as np

    tfds = import_tfds()

    def float16_tensor(*shape: int | None):
        # Without an encoding TFDS stores float16 as float32.
        return tfds.features.Tensor(shape=shape, dtype=np.float16, encoding='bytes')

    return tfds.features.FeaturesDict(
        {
            **dict.fromkeys((*TEXT_COLUMNS, *LATER_TEXT_COLUMNS), tfds.features.Text()),
            **dict.fromkeys(RATING_COLUMNS, np.float32),
            'mel_TxM': float16_tensor(None, bands),
            'frames': np.int32,
            **dict.fromkeys(AUDIO_FACTS, np.float32),
            'mean_M': tfds.features.Tensor(shape=(bands,), dtype=np.float32),
            'variance_M': tfds.features.Tensor(shape=(bands,), dtype=np.float32),
            'sha256': tfds.features.Text(),
            'signature_S': float16_tensor(SIGNATURE_SIZE),
        }
    )


def _make_os_error(number: int, data_dir: Path) -> OSError:
    return OSError(number, os.strerror(number), str(data_dir))


def shard_keys() -> Iterator[int]:
    """Yields ascending keys, spread over the whole range of keys.

    Once TFDS has 1 GB in memory, it distributes the examples over files by their keys and sorts
    each file in memory. With keys 0, 1, 2, ... all would be in the first file, and all in memory at
    the end.
    """
    step = KEY_RANGE // MAX_UTTERANCES
    for number in range(MAX_UTTERANCES):
        yield number * step


def check_any_accepted(utterances: list[Utterance], outcomes: list[dict | str]) -> None:
    """UserError if every outcome is a reason for rejection: TFDS cannot write an empty data set."""
    if all(isinstance(outcome, str) for outcome in outcomes):
        raise UserError(
            f'None of the {len(utterances)} utterances can be used. Correct the files, or name '
            f'another --source. The reasons:\n{_list_reasons(utterances, outcomes)}'
        )


def _list_reasons(utterances: list[Utterance], reasons: list[str]) -> str:
    """Returns the first rejected files with their reasons, a line each."""
    lines = []
    for utterance, reason in zip(utterances, reasons[:MAX_LISTED_REASONS]):
        lines.append(f'  {utterance.location}: {reason}')
    if len(reasons) > MAX_LISTED_REASONS:
        lines.append(f'  ... and {len(reasons) - MAX_LISTED_REASONS} more')
    return '\n'.join(lines)
