"""The one TFDS builder of all corpora, and the worker processes that compute what it stores."""

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path

from data_pipelines.corpora import Corpus, Utterance
from data_pipelines.errors import UserError
from data_pipelines.features.log_mel import LogMel
from data_pipelines.features.signature import SIGNATURE_SIZE
from data_pipelines.features.upstream import EncoderInput, EncoderStates
from data_pipelines.storage.schema import (
    DATASET_VERSION,
    RATING_COLUMNS,
    TEXT_COLUMNS,
    TFDS_SPLIT,
    import_tensorflow,
)

MAX_UTTERANCES = 1 << 23  # utterances


def write_shards(
    corpus: Corpus,
    spec: LogMel | EncoderStates | EncoderInput,
    examples,
    data_dir: Path,
    beam_options=None,
) -> Path:
    """Writes the examples as the data set `<corpus>/<spec.name>` in their order; returns the folder of its shards.

    An example is `labels` and the features of an utterance. With Beam's options `examples` is a transform that yields
    (number, example), in any order. Raises OSError where TensorFlow cannot write.
    """
    tf = import_tensorflow()
    import numpy as np
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()

    class Builder(tfds.dataset_builders.AdhocBuilder, skip_registration=True):
        url_infos = None  # nothing is downloaded; looking for checksums needs importlib_resources, which TFDS forgets to require

    builder = Builder(
        name=corpus.name,
        config=spec.name,
        version=DATASET_VERSION,
        data_dir=data_dir,
        description=f'{corpus.title}: features ({spec}). Licence of the audio: {corpus.licence}.',
        homepage=corpus.homepage,
        features=tfds.features.FeaturesDict(
            {
                **dict.fromkeys(TEXT_COLUMNS, tfds.features.Text()),
                **dict.fromkeys(RATING_COLUMNS, np.float32),
                # Without an encoding a float16 tensor is stored as float32.
                'mel_TxM': tfds.features.Tensor(
                    shape=(None, spec.bands), dtype=np.float16, encoding='bytes'
                ),
                'frames': np.int32,
                'seconds': np.float32,
                'mean_M': tfds.features.Tensor(shape=(spec.bands,), dtype=np.float32),
                'variance_M': tfds.features.Tensor(shape=(spec.bands,), dtype=np.float32),
                'sha256': tfds.features.Text(),
                'signature_S': tfds.features.Tensor(
                    shape=(SIGNATURE_SIZE,), dtype=np.float16, encoding='bytes'
                ),
            }
        ),
        split_datasets={TFDS_SPLIT: examples if beam_options else zip(shard_keys(), examples)},
        file_format='tfrecord',
        disable_shuffling=True,
    )
    config = tfds.download.DownloadConfig(try_download_gcs=False, beam_options=beam_options)
    try:
        with contextlib.redirect_stdout(
            io.StringIO()
        ):  # TFDS announces the staging folder as the data's place
            builder.download_and_prepare(download_config=config)
    except (tf.errors.OpError, RuntimeError) as e:
        error = e.__cause__ or e  # TFDS wraps what happens within a split
        for kind, number in (
            (tf.errors.ResourceExhaustedError, errno.ENOSPC),
            (tf.errors.PermissionDeniedError, errno.EACCES),
        ):
            if isinstance(error, kind):
                raise OSError(number, os.strerror(number), str(data_dir)) from e
        raise
    return Path(builder.data_dir)


def shard_keys() -> Iterator[int]:
    """Ascending, and so far apart that TFDS, once it holds 1 GB, puts what comes into many files and sorts them one by one.

    With 0, 1, 2, ... all would be in the first of them, and the whole data set in memory at the end.
    """
    return (n * (2**128 // MAX_UTTERANCES) for n in range(MAX_UTTERANCES))


def check_any_accepted(utterances: list[Utterance], outcomes: list[dict | str]) -> None:
    """Refuses outcomes that are all reasons: TFDS writes no empty data set."""
    if all(isinstance(o, str) for o in outcomes):
        raise UserError(
            f'None of the {len(utterances)} utterances can be used; the first, {utterances[0].path}, is {outcomes[0]}.'
        )
