"""A prepared corpus without audio whose best possible concordance correlation is known.

Each utterance has one frame value for each rating, the rating plus noise, and one value that only
depends on the speaker. Ratings and noise are normal. So the best prediction is a multiple of the
noisy value, and the CCC of the best multiple is Pearson's correlation of both: `CORRELATIONS`.
"""

import json
from pathlib import Path

import numpy as np

from data_pipelines.features.log_mel import LogMel
from data_pipelines.features.signature import SIGNATURE_SIZE
from data_pipelines.storage import npz, schema

CORRELATIONS = {'arousal': 0.8, 'valence': 0.6}
RATING_SPREAD = 0.3  # standard deviation
FRAMES, BANDS = 8, 3


def write_rated_corpus(data: Path, speakers: int = 6, utterances: int = 10) -> None:
    """Writes the .npz of the corpus `folder`, with so many utterances of each speaker.

    Dominance is not rated. One utterance in ten has no rating at all, and counts in addition.
    """
    random = np.random.default_rng(0)
    speaker_N = np.repeat(np.arange(speakers), utterances + utterances // 10)
    N = len(speaker_N)
    rating_NxA = np.full((N, 3), np.nan, np.float32)
    mel_NxTxM = np.zeros((N, FRAMES, BANDS))
    for a, correlation in enumerate(CORRELATIONS.values()):
        rating_N = np.clip(random.normal(0, RATING_SPREAD, N), -1, 1)
        noise = RATING_SPREAD * np.sqrt(1 / correlation**2 - 1)
        rating_NxA[:, a] = rating_N
        mel_NxTxM[:, :, a] = (rating_N + random.normal(0, noise, N))[:, None]
    mel_NxTxM[:, :, -1] = random.normal(0, 1, speakers)[speaker_N, None]
    per_speaker = np.arange(N) % (utterances + utterances // 10)
    rating_NxA[per_speaker >= utterances] = np.nan
    mel_NxTxM = mel_NxTxM.astype(np.float16).astype(np.float32)

    text = {column: np.full(N, 'x') for column in schema.TEXT_COLUMNS}
    text['utterance'] = np.array([f'u{n:04}' for n in range(N)])
    text['speaker'] = np.array([f's{speaker:02}' for speaker in speaker_N])
    text['emotion'] = np.array(['angry', 'sad'])[per_speaker % 2]
    text['split'] = text['session'] = text['sentence'] = np.full(N, '')
    text['sha256'] = text['utterance']
    signature_NxS = random.normal(size=(N, SIGNATURE_SIZE))
    signature_NxS /= np.linalg.norm(signature_NxS, axis=1, keepdims=True)
    arrays = {f'{npz.TEXT_PREFIX}{key}': column for key, column in text.items()}
    file = npz.npz_path(data, 'folder', LogMel())
    file.parent.mkdir(parents=True)
    np.savez(
        file,
        facts=np.array(json.dumps({'fingerprint': 'rated'})),
        mel_RxM=mel_NxTxM.reshape(-1, BANDS).astype(np.float16),
        frames_N=np.full(N, FRAMES, np.int32),
        rating_NxA=rating_NxA,
        mean_NxM=mel_NxTxM.mean(1),
        variance_NxM=mel_NxTxM.var(1),
        signature_NxS=signature_NxS.astype(np.float16),
        **arrays,
    )
