"""Writes a stand-in of MSP-Podcast: a packed corpus of random numbers, of any size.

  python tests/benchmarks/stand_in.py data --utterances 200000

The other benchmarks of large data import `write_stand_in`. Utterances are a few frames long, so
that the work of the host is measured and not that of the network. Labels, votes, ratings, speakers
and parts are as in the release: speakers have different numbers of utterances, and no speaker is in
two parts. Features are noise with an offset for each speaker and emotion. Signatures are random
with the decaying spectrum of real ones, and one utterance in a thousand is nearly a copy of the one
before it.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from data_pipelines.features.log_mel import LogMel
from data_pipelines.features.signature import SIGNATURE_SIZE
from data_pipelines.storage import near_duplicates, npz
from data_pipelines.storage.schema import AUDIO_FACTS

CORPUS = 'msp_podcast'
EMOTIONS = ('angry', 'sad', 'happy', 'neutral', 'fear', 'disgust', 'surprise', 'contempt', 'other')
EMOTION_SHARES = (0.1, 0.1, 0.22, 0.34, 0.03, 0.04, 0.06, 0.05, 0.06)
PART_SHARES = {'train': 0.62, 'dev': 0.14, 'test': 0.24}  # of the speakers
VOTES = 5  # raters of an utterance
SPECTRUM_SIZE = 128  # dimensions of the signatures' spectrum
SPECTRUM_DECAY = 0.6  # exponent of the standard deviations
COPY_SHARE = 1e-3
COPY_NOISE = 0.15  # its norm; the similarity is about 0.989
CHUNK = 100_000


def signatures(
    random: np.random.Generator, utterances: int, equal_lengths: bool = False
) -> np.ndarray:
    """Returns signature_NxS, float16; some utterances are nearly copies of those before them.

    With `equal_lengths` all recordings are equally long, so that no pair differs by its length.
    """
    size = SIGNATURE_SIZE - 1
    basis_KxS = np.linalg.qr(random.normal(size=(size, SPECTRUM_SIZE)))[0].T.astype(np.float32)
    scale_K = np.arange(1, SPECTRUM_SIZE + 1, dtype=np.float32) ** -SPECTRUM_DECAY
    signature_NxS = np.empty((utterances, SIGNATURE_SIZE), np.float16)
    for start in range(0, utterances, CHUNK):
        count = min(CHUNK, utterances - start)
        z_NxK = scale_K * random.standard_normal((count, SPECTRUM_SIZE), dtype=np.float32)
        grid_NxS = z_NxK @ basis_KxS
        grid_NxS /= np.linalg.norm(grid_NxS, axis=1, keepdims=True)
        signature_NxS[start : start + count, 1:] = grid_NxS
    frames_N = np.full(utterances, 300.0)
    if not equal_lengths:
        frames_N = random.lognormal(np.log(450), 0.5, utterances).clip(100, 1_200)
    copies = int(COPY_SHARE * utterances)
    if copies:
        source_C = np.arange(copies) * (utterances // copies)
        noise_CxS = random.normal(size=(copies, size)) * COPY_NOISE / np.sqrt(size)
        copy_CxS = signature_NxS[source_C, 1:] + noise_CxS
        copy_CxS /= np.linalg.norm(copy_CxS, axis=1, keepdims=True)
        signature_NxS[source_C + 1, 1:] = copy_CxS
        frames_N[source_C + 1] = frames_N[source_C]
    signature_NxS[:, 0] = frames_N
    return signature_NxS


def text_columns(
    random: np.random.Generator, utterances: int, speaker_N: np.ndarray, emotion_N: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns the text columns; `speaker_N` and `emotion_N` are indices."""
    speakers = speaker_N.max() + 1
    limits = np.cumsum(list(PART_SHARES.values())) * speakers
    part_N = np.searchsorted(limits, speaker_N, 'right').clip(max=len(PART_SHARES) - 1)
    names = np.array(EMOTIONS)
    voted_NxV = random.choice(len(EMOTIONS), (utterances, VOTES), p=EMOTION_SHARES)
    voted_NxV[:, :3] = emotion_N[:, None]  # the majority
    votes = []
    for voted_V in names[voted_NxV].tolist():
        counts = {name: voted_V.count(name) for name in sorted(set(voted_V))}
        votes.append(';'.join(f'{name}={count}' for name, count in counts.items()))
    blank = np.full(utterances, '')
    number_N = np.arange(utterances)
    return {
        'utterance': np.char.add('MSP-PODCAST_', np.char.zfill(number_N.astype(str), 7)),
        'speaker': speaker_N.astype(str),
        'emotion': names[emotion_N],
        'sex': np.array(['female', 'male'])[speaker_N % 2],
        'language': np.full(utterances, 'en'),
        'corpus': np.full(utterances, CORPUS),
        'session': blank,
        'sentence': blank,
        'style': blank,
        'split': np.array(list(PART_SHARES))[part_N],
        'sha256': np.char.zfill(number_N.astype(str), 64),
        'source_codec': np.full(utterances, 'PCM_16'),
        'votes': np.array(votes),
    }


def write_stand_in(
    data_dir: str | Path,
    utterances: int,
    speakers: int = 1_500,
    frames: int = 20,
    equal_lengths: bool = False,
) -> Path:
    """Writes the packed corpus `msp_podcast` into the data folder; returns its .npz."""
    random = np.random.default_rng(0)
    log_mel = LogMel()
    bands = log_mel.bands
    share_S = random.pareto(1.5, speakers) + 0.2
    speaker_N = random.choice(speakers, utterances, p=share_S / share_S.sum())
    speaker_N[: min(speakers, utterances)] = np.arange(min(speakers, utterances))
    speaker_N = np.sort(speaker_N)
    emotion_N = random.choice(len(EMOTIONS), utterances, p=EMOTION_SHARES)
    voice_SxM = random.normal(size=(speakers, bands)).astype(np.float32)
    tone_ExM = random.normal(size=(len(EMOTIONS), bands)).astype(np.float32)
    mel_NxTxM = np.empty((utterances, frames, bands), np.float16)
    mean_NxM = np.empty((utterances, bands), np.float32)
    variance_NxM = np.empty((utterances, bands), np.float32)
    for start in range(0, utterances, CHUNK):
        rows = slice(start, start + CHUNK)
        offset_NxM = 0.7 * voice_SxM[speaker_N[rows]] + 0.5 * tone_ExM[emotion_N[rows]]
        shape = (len(offset_NxM), frames, bands)
        mel = random.standard_normal(shape, dtype=np.float32) + offset_NxM[:, None] - 6
        mel_NxTxM[rows] = mel
        mean_NxM[rows] = mel.mean(axis=1)
        variance_NxM[rows] = mel.var(axis=1)
    facts_NxF = np.empty((utterances, len(AUDIO_FACTS)))
    facts_NxF[:, 0] = random.lognormal(1.3, 0.4, utterances)  # seconds
    facts_NxF[:, 1] = 16_000
    facts_NxF[:, 2] = random.normal(-25, 4, utterances)  # dB
    facts_NxF[:, 3] = 0.1
    file = npz.npz_path(data_dir, CORPUS, log_mel)
    file.parent.mkdir(parents=True, exist_ok=True)
    fingerprint = f'stand-in-{utterances}-{speakers}-{frames}'
    arrays = {
        'facts': np.array(json.dumps({'fingerprint': fingerprint})),
        'mel_RxM': mel_NxTxM.reshape(-1, bands),
        'frames_N': np.full(utterances, frames, np.int32),
        'rating_NxA': random.uniform(-1, 1, (utterances, 3)).astype(np.float32),
        'mean_NxM': mean_NxM,
        'variance_NxM': variance_NxM,
        'signature_NxS': signatures(random, utterances, equal_lengths),
        'audio_facts_NxF': facts_NxF,
    }
    for key, column in text_columns(random, utterances, speaker_N, emotion_N).items():
        arrays[npz.TEXT_PREFIX + key] = column
    arrays |= near_duplicates.arrays_to_store(arrays['signature_NxS'], [])
    np.savez(file, **arrays)
    return file


def main() -> None:
    """Parses the command line, writes the corpus and prints its path."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('data_dir', metavar='DIR', help='the data folder')
    parser.add_argument('--utterances', type=int, default=200_000)
    parser.add_argument('--speakers', type=int, default=1_500)
    parser.add_argument('--frames', type=int, default=20)
    parser.add_argument('--equal_lengths', action='store_true')
    options = parser.parse_args()
    print(write_stand_in(**vars(options)))


if __name__ == '__main__':
    main()
