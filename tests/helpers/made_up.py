"""Utterances made up for the tests: no audio, no shards."""

import numpy as np

from data_pipelines.features.signature import SIGNATURE_SIZE
from data_pipelines.storage.schema import Utterances


def utterances(
    speakers: int = 6,
    per_class: int = 4,
    classes=('angry', 'sad'),
    sessions: int = 0,
    bands: int = 3,
) -> Utterances:
    """`per_class` utterances of every class by every speaker; speakers alternate in sex, and sessions hold two speakers each."""
    rows = [(s, c, n) for s in range(speakers) for c in classes for n in range(per_class)]
    random = np.random.default_rng(0)
    text = {
        'utterance': [f'{s}_{c}_{n}' for s, c, n in rows],
        'speaker': [f's{s:02}' for s, _, _ in rows],
        'emotion': [c for _, c, _ in rows],
        'sex': ['female' if s % 2 else 'male' for s, _, _ in rows],
        'session': [f'Ses{s // 2}' if sessions else '' for s, _, _ in rows],
    }
    text |= {k: ['x'] * len(rows) for k in ('language', 'corpus', 'sentence', 'style')}
    text |= {k: [''] * len(rows) for k in ('split', 'sha256')}
    N = len(rows)
    signature_NxS = random.normal(size=(N, SIGNATURE_SIZE))
    signature_NxS /= np.linalg.norm(signature_NxS, axis=1, keepdims=True)
    signature_NxS[:, 0] = random.uniform(10, 90, N)
    return Utterances(
        {k: np.array(v) for k, v in text.items()},
        rating_NxA=np.full((N, 3), np.nan, np.float32),
        signature_NxS=signature_NxS.astype(np.float16),
        frames_N=random.integers(10, 90, N).astype(np.int32),
        mean_NxM=random.normal(size=(N, bands)).astype(np.float32),
        variance_NxM=random.uniform(0.5, 2, (N, bands)).astype(np.float32),
        file_N=np.zeros(N, int),
        offset_N=np.zeros(N, np.int64),
        length_N=np.zeros(N, np.int64),
        files=[],
    )
