"""The one TFDS builder of all corpora, and the worker processes that compute what it stores."""

import collections
import concurrent.futures
import contextlib
import errno
import io
import itertools
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from data_pipelines.corpora import Corpus, Utterance
from data_pipelines.features.decode import Rejection
from data_pipelines.features.log_mel import LogMel
from data_pipelines.features.signature import SIGNATURE_SIZE
from data_pipelines.features.upstream import EncoderInput, EncoderStates

DATASET_VERSION = '1.0.0'
TFDS_SPLIT = 'utterances'
TEXT_COLUMNS = ('utterance', 'speaker', 'emotion', 'sex', 'language', 'corpus', 'session', 'sentence', 'style', 'split')
RATING_COLUMNS = ('arousal', 'valence', 'dominance')
MAX_UTTERANCES = 1 << 23  # utterances
CHUNK_SIZE = 8  # utterances that go to a worker at once: fewer messages, each of which costs 0.3 ms


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
    os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')  # on some processors it announces itself, whatever the log level
    import absl.logging
    import tensorflow as tf

    absl.logging.set_verbosity(absl.logging.ERROR)
    tf.config.set_visible_devices([], 'GPU')
    return tf


def write_shards(corpus: Corpus, spec: LogMel | EncoderStates | EncoderInput, examples, data_dir: Path, beam_options=None) -> Path:
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
                'mel_TxM': tfds.features.Tensor(shape=(None, spec.bands), dtype=np.float16, encoding='bytes'),
                'frames': np.int32,
                'seconds': np.float32,
                'mean_M': tfds.features.Tensor(shape=(spec.bands,), dtype=np.float32),
                'variance_M': tfds.features.Tensor(shape=(spec.bands,), dtype=np.float32),
                'sha256': tfds.features.Text(),
                'signature_S': tfds.features.Tensor(shape=(SIGNATURE_SIZE,), dtype=np.float16, encoding='bytes'),
            }
        ),
        split_datasets={TFDS_SPLIT: examples if beam_options else zip(shard_keys(), examples)},
        file_format='tfrecord',
        disable_shuffling=True,
    )
    config = tfds.download.DownloadConfig(try_download_gcs=False, beam_options=beam_options)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS announces the staging folder as the data's place
            builder.download_and_prepare(download_config=config)
    except (tf.errors.OpError, RuntimeError) as e:
        error = e.__cause__ or e  # TFDS wraps what happens within a split
        for kind, number in ((tf.errors.ResourceExhaustedError, errno.ENOSPC), (tf.errors.PermissionDeniedError, errno.EACCES)):
            if isinstance(error, kind):
                raise OSError(number, os.strerror(number), str(data_dir)) from e
        raise
    return Path(builder.data_dir)


def shard_keys() -> Iterator[int]:
    """Ascending, and so far apart that TFDS, once it holds 1 GB, puts what comes into many files and sorts them one by one.

    With 0, 1, 2, ... all would be in the first of them, and the whole data set in memory at the end.
    """
    return (n * (2**128 // MAX_UTTERANCES) for n in range(MAX_UTTERANCES))


@contextlib.contextmanager
def run_workers(
    utterances: list[Utterance], spec: LogMel | EncoderStates | EncoderInput, workers: int
) -> Iterator[Iterator[tuple[Utterance, dict | Rejection]]]:
    """Each utterance, in order, with `spec.heard` of it, from worker processes that are some utterances ahead.

    They start at once, so that they import librosa while TensorFlow is imported here, and get `CHUNK` utterances at a time. A
    decoder that takes its process down costs the other utterances nothing: what was under way is done again, and what dies twice,
    alone the second time, is rejected.
    """
    pool, pending = start_pool(workers), collections.deque()
    chunks = (utterances[at : at + CHUNK_SIZE] for at in range(0, len(utterances), CHUNK_SIZE))

    def submit(chunk: list[Utterance]) -> None:
        try:
            future = pool.submit(process_utterances, chunk, spec)
        except BrokenProcessPool as e:  # since the last result: let it be found where results are taken
            future = concurrent.futures.Future()
            future.set_exception(e)
        pending.append((chunk, future))

    def results() -> Iterator[tuple[Utterance, dict | Rejection]]:
        nonlocal pool
        while pending:
            chunk, future = pending.popleft()
            try:
                done = future.result()
            except BrokenProcessPool:
                done = process_one_by_one(chunk, spec)
                again = [c for c, _ in pending]
                pending.clear()
                pool.shutdown()
                pool = start_pool(workers)
                for c in again:
                    submit(c)
            for c in itertools.islice(chunks, 1):
                submit(c)
            yield from zip(chunk, done)

    try:
        for c in itertools.islice(chunks, 4 * workers):
            submit(c)
        yield results()
    finally:
        pool.shutdown(cancel_futures=True)


def process_utterances(utterances: list[Utterance], spec: LogMel | EncoderStates | EncoderInput) -> list[dict | Rejection]:
    """`spec.heard` of some utterances."""
    return [spec.process_utterance(u) for u in utterances]


def process_one_by_one(utterances: list[Utterance], spec: LogMel | EncoderStates | EncoderInput) -> list[dict | Rejection]:
    """`several`, by a process that is replaced whenever an utterance takes it down."""
    done, pool = [], start_pool(1)
    try:
        for u in utterances:
            try:
                done += pool.submit(process_utterances, [u], spec).result()
            except BrokenProcessPool:
                done.append(Rejection('unreadable: its decoder crashed'))
                pool.shutdown()
                pool = start_pool(1)
    finally:
        pool.shutdown(cancel_futures=True)
    return done


def start_pool(workers: int) -> concurrent.futures.ProcessPoolExecutor:
    """Fresh processes: a fork of one that runs TensorFlow's threads may hang."""
    return concurrent.futures.ProcessPoolExecutor(workers, multiprocessing.get_context('spawn'), initialize_worker)


def initialize_worker() -> None:
    """Makes a worker single-threaded, deaf to Ctrl-C, which its parent answers, and unable to outlive its parent."""
    import numpy  # noqa: F401 (the limit holds for what is loaded)
    import threadpoolctl

    threadpoolctl.threadpool_limits(1)  # for speed, and because the last bit of a product depends on the number of threads
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def follow():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
