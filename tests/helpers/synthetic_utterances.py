"""Tables of synthetic utterances for tests that need neither audio nor shards."""

import numpy as np

from data_pipelines.features.signature import SIGNATURE_SIZE
from data_pipelines.storage.schema import Utterances


def make_utterances(
    speakers: int = 6,
    per_class: int = 4,
    classes=('angry', 'sad'),
    sessions: int = 0,
    bands: int = 3,
) -> Utterances:
    """Returns `per_class` utterances of every class by every speaker.

    Odd speakers are female, even ones male. With `sessions`, each session holds two speakers.
    """
    rows = [(s, c, n) for s in range(speakers) for c in classes for n in range(per_class)]
    rng = np.random.default_rng(0)
    text = {
        'utterance': [f'{s}_{c}_{n}' for s, c, n in rows],
        'speaker': [f's{s:02}' for s, _, _ in rows],
        'emotion': [c for _, c, _ in rows],
        'sex': ['female' if s % 2 else 'male' for s, _, _ in rows],
        'session': [f'Ses{s // 2}' if sessions else '' for s, _, _ in rows],
    }
    N = len(rows)
    text['source_codec'] = ['WAV PCM_16'] * N
    for column in ('language', 'corpus', 'sentence', 'style'):
        text[column] = ['x'] * N
    for column in ('split', 'sha256'):
        text[column] = [''] * N
    signature_NxS = rng.normal(size=(N, SIGNATURE_SIZE))
    signature_NxS /= np.linalg.norm(signature_NxS, axis=1, keepdims=True)
    signature_NxS[:, 0] = rng.uniform(10, 90, N)
    return Utterances(
        {column: np.array(values) for column, values in text.items()},
        rating_NxA=np.full((N, 3), np.nan, np.float32),
        signature_NxS=signature_NxS.astype(np.float16),
        frames_N=rng.integers(10, 90, N).astype(np.int32),
        mean_NxM=rng.normal(size=(N, bands)).astype(np.float32),
        variance_NxM=rng.uniform(0.5, 2, (N, bands)).astype(np.float32),
        file_N=np.zeros(N, int),
        offset_N=np.zeros(N, np.int64),
        length_N=np.zeros(N, np.int64),
        files=[],
        audio_facts_NxF=make_audio_facts(rng, N),
    )


def make_audio_facts(rng: np.random.Generator, N: int) -> np.ndarray:
    """Returns random lengths, levels and leading silences, and one sampling rate."""
    seconds_N = rng.uniform(1, 5, N)
    level_N = rng.normal(-25, 4, N)
    silence_N = rng.integers(0, 60, N) / 100
    return np.stack([seconds_N, np.full(N, 16_000.0), level_N, silence_N], axis=1)
