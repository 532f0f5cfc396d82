"""Computes the states of a frozen pretrained encoder, which are stored as features."""

import collections
import dataclasses
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.batching import plan
from data_pipelines.corpora import Utterance
from data_pipelines.errors import UserError
from data_pipelines.features import upstream
from data_pipelines.features.decode import Rejection
from data_pipelines.features.log_mel import feature_columns
from data_pipelines.features.upstream import HOP_SAMPLES, EncoderInput, EncoderStates
from jaxser import features
from jaxser.pretrained.encoder import SAMPLE_RATE, PretrainedEncoder, cached_encoder
from jaxser.pretrained.hub import locate_encoder
from jaxser.pretrained.identity import claimed_sha256, hash_files

MAX_WAITING_UTTERANCES = 256  # for others of the same padded length

MODEL_FILE = 'model.json'  # in the folder of a model, which may have a copy of its encoder

MAX_BATCH_HOPS = 6400  # 10 ms hops of audio in a batch

StateFunction = Callable[[dict, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


def round_to_float16(x: jax.Array) -> jax.Array:
    """Rounds to the values of float16, and returns them in float32.

    XLA may remove a cast to float16 and back. It removes neither of these operations.
    """
    is_subnormal = jnp.abs(x) < 2**-14
    subnormal = jnp.round(x * 2**24) * 2**-24
    return jnp.where(is_subnormal, subnormal, jax.lax.reduce_precision(x, 5, 10))


def make_state_function(encoder: PretrainedEncoder, pooled: bool) -> StateFunction:
    """Returns the function (params, batch, length_B) -> states_BxTxM, frames_B.

    `batch` is wave_BxL or mel_BxTxM. The M numbers of a frame are those of all layers in turn,
    rounded to float16 and returned in float32. Pooled, an utterance is one frame: for each layer
    the mean over its frames, then the standard deviation.
    """

    def apply(params: dict, batch: jax.Array, length_B: jax.Array) -> tuple[jax.Array, jax.Array]:
        with jax.default_matmul_precision('highest'):  # the same states on every kind of device
            states_LxBxTxD, frames_B = encoder.module.apply({'params': params}, batch, length_B)
        x_BxTxLxD = jnp.stack(states_LxBxTxD, 2)
        if not pooled:
            return round_to_float16(x_BxTxLxD.reshape(*x_BxTxLxD.shape[:2], -1)), frames_B
        mask_BxTx1x1 = features.frame_mask(frames_B, x_BxTxLxD.shape[1])[..., None, None]
        count_Bx1x1 = jnp.maximum(frames_B, 1)[:, None, None]
        # States beyond an utterance's frames are zero.
        mean_BxLxD = x_BxTxLxD.sum(1) / count_Bx1x1
        deviation_BxTxLxD = (x_BxTxLxD - mean_BxLxD[:, None]) * mask_BxTx1x1
        variance_BxLxD = (deviation_BxTxLxD**2).sum(1) / count_Bx1x1
        pooled_BxLx2D = jnp.concatenate([mean_BxLxD, jnp.sqrt(variance_BxLxD)], -1)
        pooled_Bx1xM = pooled_BxLx2D.reshape(batch.shape[0], 1, -1)
        return round_to_float16(pooled_Bx1xM), jnp.minimum(frames_B, 1)

    return apply


class StateExtractor:
    """Computes states of utterances by a frozen encoder.

    Utterances of the same padded length go through the encoder together; each length is compiled
    once. `truncated_count` counts the utterances that were longer than the encoder's limit.
    """

    def __init__(self, encoder: PretrainedEncoder, pooled: bool):
        self.encoder = encoder
        self.max_seconds = encoder.max_seconds
        self.truncated_count = 0
        self.params = jax.device_put(encoder.params)
        state_function = make_state_function(encoder, pooled)

        def stored_states(params, batch, length_B):
            states_BxTxM, frames_B = state_function(params, batch, length_B)
            return states_BxTxM.astype(jnp.float16), frames_B

        self.compute_states = jax.jit(stored_states)

    def extract_input(self, wave: np.ndarray) -> np.ndarray:
        """Returns what is kept of an utterance until its batch is full: its samples."""
        return wave

    def padded_length(self, wave: np.ndarray) -> int:
        """Returns the length, in hops of 10 ms, to which the samples are padded or cut."""
        hops = -(-len(wave) // HOP_SAMPLES)
        return int(min(plan.padded_length(hops), 100 * self.max_seconds))

    def max_batch_size(self, length: int) -> int:
        """Returns how many utterances of a padded length make a batch."""
        return max(1, MAX_BATCH_HOPS // length)

    def pad_batch(
        self, waves: list[np.ndarray], length: int, B: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the encoder's input, padded to B utterances of `length` hops, and length_B.

        The input is wave_BxL in samples, or Whisper's mel_BxTxM; length_B counts its second axis.
        """
        padded_samples = HOP_SAMPLES * length
        inputs = [wave[:padded_samples] for wave in waves]
        shape = (B, padded_samples)
        if self.encoder.input_kind == 'mel':
            bands = self.encoder.config['num_mel_bins']
            inputs = [upstream.whisper_log_mel(wave, bands) for wave in inputs]
            shape = (B, length, bands)
        batch = np.zeros(shape, np.float32)
        length_B = np.zeros(B, np.int32)
        for b, utterance in enumerate(inputs):
            batch[b, : len(utterance)] = utterance
            length_B[b] = len(utterance)
        return batch, length_B

    def __call__(self, waves: list[np.ndarray]) -> list[np.ndarray]:
        """Returns states_TxM in float16 of each utterance.

        The utterances have one padded length; samples at 16 kHz, full scale 1.
        """
        max_samples = self.max_seconds * SAMPLE_RATE
        self.truncated_count += sum(len(wave) > max_samples for wave in waves)
        length = self.padded_length(waves[0])
        batch, length_B = self.pad_batch(waves, length, self.max_batch_size(length))
        states_BxTxM, frames_B = self.compute_states(self.params, batch, length_B)
        states_BxTxM = np.asarray(states_BxTxM)
        frames_B = np.asarray(frames_B)
        return [states_BxTxM[b, : frames_B[b]] for b in range(len(waves))]


def states_from_folder(folder: str | Path, state_kind: str) -> EncoderStates:
    """Returns which states are stored for an encoder: a folder, or a name on the Hub (hub.py).

    `state_kind` is one of `upstream.STATE_KINDS`. Raises UserError if it is not, or if the encoder
    is missing, damaged or of an unknown type.
    """
    if state_kind not in upstream.STATE_KINDS:
        expected = ', '.join(upstream.STATE_KINDS)
        raise UserError(f'The kind of states is {state_kind!r}; expected one of {expected}.')
    located = locate_encoder(folder)
    states = states_of_local_encoder(located.folder, state_kind)
    return dataclasses.replace(states, hub_name=located.name, revision=located.revision)


def states_of_local_encoder(folder: str | Path, state_kind: str) -> EncoderStates:
    """Returns which states are stored for the encoder in a folder.

    The Hub is never asked: the folder of a finished sweep may be gone, and its relative path may
    look like a name on the Hub. Raises UserError as `states_from_folder` does.
    """
    states = EncoderStates.from_encoder(cached_encoder(folder), state_kind)
    return dataclasses.replace(states, folder=os.path.abspath(folder))


def with_prepared_name(states: EncoderStates, data_dir: str | Path) -> EncoderStates:
    """Returns the states under the name that data sets in `data_dir` have for them.

    Earlier versions named the same states by the encoder's files. Where a corpus has been prepared
    under such a name, other corpora get it too, since those of a configuration share one name.
    """
    pattern = f'*/{states.name.removesuffix(states.digest)}*'
    names = {path.name.removesuffix('.npz') for path in Path(data_dir).glob(pattern)}
    if not names or states.name in names:
        return states
    encoder = cached_encoder(states.folder)
    earlier = states.with_earlier_identity(encoder, hash_files(encoder.folder))
    return earlier if earlier.name in names else states


def recorded_states(
    encoder: PretrainedEncoder, record: dict, model_folder: str | Path
) -> EncoderStates | None:
    """Returns the states of an encoder if it is the one of a record in model.json, else None.

    Records of earlier versions identify the files. A copy has other files than the original, and
    only its header says which. That is believed of a copy in the folder of the same model alone,
    whose other files are no better protected.
    """
    kind = EncoderStates.from_name(record['name']).kept
    states = EncoderStates.from_encoder(encoder, kind)
    expected = (record['name'], record['sha256'])
    if (states.name, states.sha256) == expected:
        return states
    sha256s = [hash_files(encoder.folder)]
    if encoder.folder.resolve().parent == Path(model_folder).resolve():
        sha256s.append(claimed_sha256(encoder.folder))
    for sha256 in sha256s:
        earlier = states.with_earlier_identity(encoder, sha256)
        if (earlier.name, earlier.sha256) == expected:
            return earlier
    return None


def has_digest(encoder: PretrainedEncoder, digest: str) -> bool:
    """Returns whether the digest in the name of states is that of an encoder, in any version.

    A copy's claim about its original is believed in the folder of a model, as in recorded_states.
    """
    states = EncoderStates.from_encoder(encoder, upstream.STATE_KINDS[0])
    if states.digest == digest:
        return True
    sha256s = [hash_files(encoder.folder)]
    if (encoder.folder.resolve().parent / MODEL_FILE).exists():
        sha256s.append(claimed_sha256(encoder.folder))
    return any(states.with_earlier_identity(encoder, sha).digest == digest for sha in sha256s)


def input_from_folder(folder: str | Path) -> EncoderInput:
    """Returns the input that an encoder expects: a folder, or a name on the Hub (hub.py).

    Raises UserError if the encoder is missing, damaged or of an unknown type.
    """
    return EncoderInput.from_encoder(cached_encoder(locate_encoder(folder).folder))


class _BatchingQueue:
    """Utterances in their order, some of which wait for others of the same padded length."""

    def __init__(self, extractor: StateExtractor):
        self.extractor = extractor
        self.waiting: collections.deque[tuple[Utterance, dict | Rejection]] = collections.deque()
        self.unprocessed: dict[int, list[dict]] = collections.defaultdict(list)  # by padded length

    def add(self, utterance: Utterance, result: dict | Rejection) -> None:
        """Appends an utterance, and computes the states of its length when a batch is full."""
        self.waiting.append((utterance, result))
        if isinstance(result, dict):
            length = self.extractor.padded_length(result['wave'])
            self.unprocessed[length].append(result)
            if len(self.unprocessed[length]) == self.extractor.max_batch_size(length):
                self.compute_states(length)
        _, first = self.waiting[0]
        if len(self.waiting) == MAX_WAITING_UTTERANCES and not _is_final(first):
            self.compute_states(self.extractor.padded_length(first['wave']))

    def compute_states(self, length: int) -> None:
        """Replaces the samples of all utterances of a padded length with their states."""
        batch = self.unprocessed.pop(length)
        waves = [result.pop('wave') for result in batch]
        for result, states_TxM in zip(batch, self.extractor(waves)):
            result.update(feature_columns(states_TxM))

    def pop_final(self) -> Iterator[tuple[Utterance, dict | Rejection]]:
        """Yields the utterances at the front whose results are final."""
        while self.waiting and _is_final(self.waiting[0][1]):
            yield self.waiting.popleft()

    def compute_rest(self) -> None:
        """Computes the states of all utterances that still wait."""
        for length in sorted(self.unprocessed):
            self.compute_states(length)


def _is_final(result: dict | Rejection) -> bool:
    """Returns whether the utterance was rejected or its states are computed."""
    return isinstance(result, Rejection) or 'wave' not in result


def extract_states(
    spec: EncoderStates, results: Iterable[tuple[Utterance, dict | Rejection]]
) -> Iterator[tuple[Utterance, dict | Rejection]]:
    """Yields the workers' results in their order, with encoder states in place of the samples.

    `results` are those of `spec.process_utterance`; `spec.folder` names the encoder. Utterances of
    the same padded length go through the encoder together. Prints to stderr how many utterances
    were cut because they are longer than the encoder's limit.
    """
    extractor = StateExtractor(cached_encoder(spec.folder), spec.is_pooled)
    queue = _BatchingQueue(extractor)
    for utterance, result in results:
        queue.add(utterance, result)
        yield from queue.pop_final()
    queue.compute_rest()
    yield from queue.pop_final()
    if extractor.truncated_count:
        print(  # to stderr: stdout is redirected while TFDS writes
            f'{extractor.truncated_count} utterances are longer than the '
            f'{extractor.max_seconds:g} s that this encoder accepts; they were cut there.',
            file=sys.stderr,
        )
