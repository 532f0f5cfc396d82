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

MAX_WAITING_UTTERANCES = 256  # the most that wait for others of their length

MAX_BATCH_HOPS = 6400  # hops of sound that go through an encoder together


def round_to_float16(x: jax.Array) -> jax.Array:
    """The numbers of float16 in float32: XLA may leave out a rounding that it finds idle, but none of these."""
    return jnp.where(
        jnp.abs(x) < 2**-14, jnp.round(x * 2**24) * 2**-24, jax.lax.reduce_precision(x, 5, 10)
    )


def make_state_function(
    encoder: PretrainedEncoder, pooled: bool
) -> Callable[[dict, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """(params, heard, length_B) -> states_BxTxM, frames_B: layer after layer, as float16 has them, in float32.

    Pooled, an utterance is one frame: of each layer the mean over its frames, then their deviation.
    """

    def apply(params: dict, heard: jax.Array, length_B: jax.Array) -> tuple[jax.Array, jax.Array]:
        with jax.default_matmul_precision('highest'):  # the same states on every kind of device
            states_LxBxTxD, frames_B = encoder.module.apply({'params': params}, heard, length_B)
        x_BxTxLxD = jnp.stack(states_LxBxTxD, 2)
        if not pooled:
            return round_to_float16(x_BxTxLxD.reshape(*x_BxTxLxD.shape[:2], -1)), frames_B
        mask_BxTx1x1 = features.frame_mask(frames_B, x_BxTxLxD.shape[1])[..., None, None]
        count_Bx1x1 = jnp.maximum(frames_B, 1)[:, None, None]
        mean_BxLxD = x_BxTxLxD.sum(1) / count_Bx1x1  # states beyond a sound's frames are zero
        variance_BxLxD = (((x_BxTxLxD - mean_BxLxD[:, None]) * mask_BxTx1x1) ** 2).sum(
            1
        ) / count_Bx1x1
        pooled_BxLx2D = jnp.concatenate([mean_BxLxD, jnp.sqrt(variance_BxLxD)], -1)
        return round_to_float16(pooled_BxLx2D.reshape(heard.shape[0], 1, -1)), jnp.minimum(
            frames_B, 1
        )

    return apply


class StateExtractor:
    """States of sounds, by an encoder that does not learn; sounds of like length together, one program for each length."""

    def __init__(self, encoder: PretrainedEncoder, pooled: bool):
        self.encoder, self.max_seconds, self.truncated_count = encoder, encoder.max_seconds, 0
        apply = make_state_function(encoder, pooled)

        def stored(params, heard, length_B):
            states_BxTxM, frames_B = apply(params, heard, length_B)
            return states_BxTxM.astype(jnp.float16), frames_B

        self.params, self.compute_states = jax.device_put(encoder.params), jax.jit(stored)

    def extract_input(self, wave: np.ndarray) -> np.ndarray:
        """What is kept of a sound until its turn comes: its samples."""
        return wave

    def padded_length(self, wave: np.ndarray) -> int:
        """The length, in hops of 10 ms, to which a sound is filled up."""
        return int(min(plan.padded_length(-(-len(wave) // HOP_SAMPLES)), 100 * self.max_seconds))

    def max_batch_size(self, length: int) -> int:
        """How many sounds of that length go through the encoder together."""
        return max(1, MAX_BATCH_HOPS // length)

    def pad_batch(
        self, waves: list[np.ndarray], length: int, B: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """What the encoder hears of some sounds, filled up to `length` hops and B: wave_BxL, or Whisper's mel_BxTxM; length_B."""
        waves = [w[: HOP_SAMPLES * length] for w in waves]
        heard = (
            [upstream.whisper_log_mel(w, self.encoder.config['num_mel_bins']) for w in waves]
            if self.encoder.input_kind == 'mel'
            else waves
        )
        x = np.zeros(
            (
                B,
                length if self.encoder.input_kind == 'mel' else HOP_SAMPLES * length,
                *heard[0].shape[1:],
            ),
            np.float32,
        )
        for b, one in enumerate(heard):
            x[b, : len(one)] = one
        return x, np.array([len(one) for one in heard] + [0] * (B - len(heard)), np.int32)

    def __call__(self, waves: list[np.ndarray]) -> list[np.ndarray]:
        """states_TxM in float16 of each of some sounds of one length, 16 kHz, full scale 1."""
        length = self.padded_length(waves[0])
        self.truncated_count += sum(len(w) > self.max_seconds * SAMPLE_RATE for w in waves)
        heard = self.pad_batch(waves, length, self.max_batch_size(length))
        states_BxTxM, frames_B = map(np.asarray, self.compute_states(self.params, *heard))
        return [states_TxM[:T] for states_TxM, T in zip(states_BxTxM[: len(waves)], frames_B)]


def states_from_folder(folder: str | Path, state_kind: str) -> EncoderStates:
    """Returns which states are stored for the encoder in a Hugging Face folder.

    `state_kind` is one of `upstream.STATE_KINDS`. UserError when it is another, or when the encoder
    is missing, damaged or of an unknown type.
    """
    if state_kind not in upstream.STATE_KINDS:
        expected = ', '.join(upstream.STATE_KINDS)
        raise UserError(f'The kind of states is {state_kind!r}; expected one of {expected}.')
    states = EncoderStates.from_encoder(cached_encoder(folder), state_kind)
    return dataclasses.replace(states, folder=os.path.abspath(folder))


def input_from_folder(folder: str | Path) -> EncoderInput:
    """Returns the input that the encoder in a Hugging Face folder expects.

    UserError when the encoder is missing, damaged or of an unknown type.
    """
    return EncoderInput.from_encoder(cached_encoder(folder))


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
        """Replaces the samples of all utterances of a padded length by their states."""
        batch = self.unprocessed.pop(length)
        waves = [result.pop('wave') for result in batch]
        for result, states_TxM in zip(batch, self.extractor(waves)):
            result.update(feature_columns(states_TxM))

    def pop_final(self) -> Iterator[tuple[Utterance, dict | Rejection]]:
        """Yields the utterances at the front whose results are final."""
        while self.waiting and _is_final(self.waiting[0][1]):
            yield self.waiting.popleft()

    def compute_rest(self) -> None:
        """Computes the states of all that still wait."""
        for length in sorted(self.unprocessed):
            self.compute_states(length)


def _is_final(result: dict | Rejection) -> bool:
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
