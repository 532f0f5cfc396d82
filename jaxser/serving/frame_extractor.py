"""Makes the input of models that take frames: log-mel, or the input of a fine-tuned encoder."""

import math

import jax
import numpy as np
import threadpoolctl

from data_pipelines.batching import plan
from data_pipelines.features import log_mel
from data_pipelines.features.upstream import EncoderInput
from jaxser.pretrained.encoder import PretrainedEncoder
from jaxser.pretrained.extractor import MAX_BATCH_HOPS

BATCH_SIZE = 16  # segments a dispatch


class FrameExtractor:
    """Extracts frames from audio and pads them to batches.

    `encoder` is the pretrained encoder that the model fine-tunes, if there is one. For models on a
    frozen encoder, jaxser.pretrained.extractor.StateExtractor has the same methods.
    """

    def __init__(self, spec: log_mel.LogMel | EncoderInput, encoder: PretrainedEncoder | None):
        self.spec = spec
        self.blas = threadpoolctl.ThreadpoolController()
        self.max_seconds = math.inf
        self.params = None
        if encoder:
            self.max_seconds = encoder.max_seconds
            self.params = jax.device_put(encoder.params)

    def extract_input(self, wave: np.ndarray) -> np.ndarray:
        """Returns mel_TxM, equal to the bit to the features that `prepare` stores.

        It uses one BLAS thread, because the last bit of a product depends on their number.
        """
        with self.blas.limit(limits=1, user_api='blas'):
            if isinstance(self.spec, EncoderInput):
                return self.spec.compute_frames(wave)
            return log_mel.compute_log_mel(wave, self.spec)

    def padded_length(self, mel_TxM: np.ndarray) -> int:
        """Returns the number of frames to which an utterance is padded."""
        return int(min(plan.padded_length(len(mel_TxM)), 100 * self.max_seconds))

    def max_batch_size(self, length: int) -> int:
        """Returns the largest number of utterances of a padded length in a batch."""
        return max(1, MAX_BATCH_HOPS // length) if self.params else BATCH_SIZE

    def pad_batch(
        self, mels: list[np.ndarray], length: int, B: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns mel_BxTxM, padded to B utterances of `length` frames, and frames_B."""
        mel_BxTxM = np.zeros((B, length, self.spec.bands), np.float16)
        frames_B = np.zeros(B, np.int32)
        for b, mel_TxM in enumerate(mels):
            mel_BxTxM[b, : len(mel_TxM)] = mel_TxM
            frames_B[b] = len(mel_TxM)
        return mel_BxTxM, frames_B
