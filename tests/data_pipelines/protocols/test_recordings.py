"""Tests that copies of a recording have similar signatures, and other recordings do not."""

import io
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.synthetic_utterances import make_utterances

from data_pipelines import corpora
from data_pipelines.features import log_mel, signature_search
from data_pipelines.features.log_mel import LogMel
from data_pipelines.features.signature import SIGNATURE_SIZE, compute_signature
from data_pipelines.protocols import audit, audit_report, recordings
from data_pipelines.protocols.folds import Fold
from data_pipelines.protocols.protocol import Protocol

RATE = LogMel().rate
REAL_SPEECH = Path(os.environ.get('JAXSER_SHARED') or 'nowhere') / 'corpora'


def random_fold(random: np.random.Generator, utterances: int, number: int) -> Fold:
    """Returns a fold in which each utterance is in one part, or in none."""
    part_N = random.integers(0, 8, utterances)
    parts = [np.flatnonzero(part_N == part) for part in range(6)]
    train, dev, test, adapt, identity, withheld = parts
    name = f'fold {number}'
    return Fold(number, name, train, dev, test, adapt, identity, attacker_test=withheld)


def test_shared_recordings_are_those_of_all_pairs_of_rows():
    """On random folds, recordings and near pairs; leaks in both directions, within a part none."""
    random = np.random.default_rng(0)
    utterances = make_utterances(speakers=6, per_class=5)
    count = 12
    index_N = np.concatenate([np.arange(count), random.integers(0, count, len(utterances) - count)])
    utterances.text['sha256'] = np.char.add('h', index_N.astype(str))
    near_Px2 = np.array([(0, 1), (2, 3), (4, 9), (10, 11)])
    used = np.arange(len(utterances))
    found = recordings.Recordings(count, index_N, used, near_Px2)
    folds = [random_fold(random, 18, number) for number in range(2)]  # of the first 18 rows
    pairs = audit.compared_parts(Protocol())
    shared, within = recordings.shared_recordings(utterances, folds, pairs, found)

    exact, near, leaking = set(), set(), set()
    for fold in folds:
        for part, other in pairs:
            for row, other_row in itertools.product(getattr(fold, part), getattr(fold, other)):
                pair = tuple(sorted((int(index_N[row]), int(index_N[other_row]))))
                if pair[0] == pair[1]:
                    exact.add(pair)
                elif pair in {(0, 1), (2, 3), (4, 9), (10, 11)}:
                    near.add(pair)
                else:
                    continue
                leaking.add(fold.number)
    assert exact
    assert 0 < len(near) < 4
    numbers = (shared['exact'], shared['near'], shared['in_folds'])
    assert numbers == (len(exact), len(near), len(leaking))
    assert within['near'] == 4 - len(near)
    by_kind = sorted(example['alike'] == 1 for example in shared['examples'])
    assert by_kind == [False] * len(near) + [True] * len(exact)
    for example in shared['examples']:
        fold = folds[int(example['fold'].split()[1])]
        for name, part in zip(example['utterances'], example['parts']):
            row = utterances.text['utterance'].tolist().index(name)
            assert row in getattr(fold, part)


def voice(seed: int) -> np.ndarray:
    """Returns something like speech: harmonics of a gliding pitch in syllables, between pauses."""
    random = np.random.default_rng(seed)
    t = np.arange(round(random.uniform(1.2, 2.5) * RATE)) / RATE
    steps = np.linspace(0, t[-1], 12)
    phase = 2 * np.pi * np.cumsum(np.interp(t, steps, random.uniform(90, 250, 12))) / RATE
    loudness = np.interp(t, steps, np.concatenate([[0], random.uniform(0.05, 1, 10), [0]]))
    tilt = np.interp(t, steps, random.uniform(0.5, 2, 12))
    wave = sum(np.sin(k * phase) / k**tilt for k in range(1, 25)) * loudness
    pause = np.zeros(RATE // 4)
    return np.concatenate([pause, 0.3 * wave / np.abs(wave).max(), pause]).astype(np.float32)


def signature(wave: np.ndarray, rate: int = RATE) -> np.ndarray:
    """Returns the signature of a wave."""
    import librosa

    wave = librosa.resample(wave, orig_sr=rate, target_sr=RATE) if rate != RATE else wave
    return compute_signature(log_mel.compute_log_mel(wave, LogMel()))


def encoded(wave: np.ndarray, **options) -> np.ndarray:
    """Returns the signature of a wave that was written to a file."""
    file = io.BytesIO()
    soundfile.write(file, wave, RATE, **({'format': 'WAV'} | options))
    file.seek(0)
    samples, rate = soundfile.read(file, dtype='float32')
    return signature(samples, rate)


def noisy(wave: np.ndarray, decibel: float) -> np.ndarray:
    """Returns the wave with noise, at a signal-to-noise ratio."""
    noise = np.random.default_rng(0).standard_normal(len(wave)).astype(np.float32)
    return wave + noise * np.std(wave) * np.float32(10 ** (-decibel / 20))


def resampled(wave: np.ndarray, *rates: int) -> np.ndarray:
    """Returns the signature of a wave that was resampled several times."""
    import librosa

    for before, after in itertools.pairwise((RATE, *rates)):
        wave = librosa.resample(wave, orig_sr=before, target_sr=after)
    return signature(wave, rates[-1])


def trimmed(wave: np.ndarray, decibel: float) -> np.ndarray:
    """Returns the wave without the silence at its ends."""
    import librosa

    return librosa.effects.trim(wave, top_db=decibel, frame_length=400, hop_length=80)[0]


def padded(wave: np.ndarray) -> np.ndarray:
    """Returns the wave with silence at its ends."""
    return np.pad(wave, (RATE * 7 // 10, RATE * 3 // 10))


COPIES = {
    'quieter by 12 dB': lambda w: encoded(0.25 * w),
    'MP3': lambda w: encoded(w, format='MP3'),
    'OGG': lambda w: encoded(w, format='OGG', subtype='VORBIS'),
    '8 bits': lambda w: encoded(0.9 * w / np.abs(w).max(), subtype='PCM_U8'),
    'u-law': lambda w: encoded(w, subtype='ULAW'),
    '48 and 22.05 kHz': lambda w: resampled(w, 48_000, 16_000, 22_050),
    '12 kHz': lambda w: resampled(w, 12_000),
    'noise at 40 dB': lambda w: signature(noisy(w, 40)),
    'noise at 30 dB': lambda w: signature(noisy(w, 30)),
    'trimmed at -40 dB': lambda w: signature(trimmed(w, 40)),
    'trimmed at -30 dB': lambda w: signature(trimmed(w, 30)),
    'silence at the ends': lambda w: encoded(padded(w)),
    'all of it': lambda w: encoded(0.3 * noisy(padded(trimmed(w, 30)), 35), format='MP3'),
}


@pytest.mark.parametrize('change', COPIES)
def test_an_altered_copy_is_found_and_taken_for_no_other(change):
    """Among the signatures of four recordings and a copy of each."""
    waves = [voice(n) for n in range(4)]
    originals = [signature(wave) for wave in waves]
    copies = [COPIES[change](wave) for wave in waves]
    pairs = signature_search.find_near_duplicates(np.stack(originals + copies))
    assert [tuple(pair) for pair in pairs] == [(n, n + 4) for n in range(4)]


def test_a_signature_is_finite_for_any_sound_and_any_bands():
    """A click, a constant tone of 0.1 s and of a quarter of an hour; 64, 40 and 4 bands."""
    click = np.full((100, 64), -60, np.float16)
    click[50] = 0
    for mel in (
        click,
        np.zeros((11, 64), np.float16),
        np.zeros((90_000, 40), np.float16),
        click[:, :4],
    ):
        s = compute_signature(mel)
        assert s.shape == (SIGNATURE_SIZE,)
        assert np.isfinite(s).all()
        assert s[0] > 0


def real_utterances(name: str) -> list[corpora.Utterance]:
    """Returns the utterances of a corpus of real speech; skips the test where it is missing."""
    if not (REAL_SPEECH / name).is_dir():
        pytest.skip(f'{name} is missing: JAXSER_SHARED names no folder that has it')
    return corpora.load_corpus(name).walk(REAL_SPEECH / name)


def test_the_duplicate_of_ravdess_is_found(capsys):
    """Actor 7 has one take under two names; of the actor's 60 utterances no others are the same."""
    listed = [u for u in real_utterances('ravdess') if u.speaker == '07']
    features = [log_mel.compute_features(u, LogMel()) for u in listed]
    utterances = make_utterances(speakers=6, per_class=5)
    utterances.text['utterance'] = np.array([u.name for u in listed])
    utterances.text['sha256'] = np.array([f['sha256'] for f in features])
    utterances.signature_NxS = np.stack([f['signature_S'] for f in features])
    rows = np.arange(len(listed))
    fold = Fold(0, 'all', rows, rows[:0], rows[:0])
    findings = audit.audit_folds(utterances, [fold], Protocol())
    (pair,) = findings['duplicates']['examples']
    assert sorted(pair['utterances']) == ['03-01-03-01-02-01-07', '03-01-03-01-02-02-07']
    audit_report.print_findings(findings)
    line = f'the same audio within a part: {" = ".join(pair["utterances"])}'
    assert line in capsys.readouterr().out


@pytest.mark.slow
def test_copies_and_takes_of_real_speech_lie_on_both_sides_of_the_threshold(monkeypatch):
    """Prints the figures that data_pipelines/audit.py states."""
    random = np.random.default_rng(0)
    speakers, names, waves = [], [], []
    for corpus in ('ravdess', 'emodb', 'urdu'):
        for u in real_utterances(corpus):
            wave, rate = soundfile.read(u.path, dtype='float32')
            speakers.append((corpus, u.speaker))
            names.append(u.name)
            waves.append(wave)
            assert rate == RATE
    signatures = np.stack([signature(wave) for wave in waves])
    length = np.log(signatures[:, 0].astype(float))
    grid = signatures[:, 1:].astype(np.float32)
    same_length = np.abs(length[:, None] - length) <= signature_search.MAX_LOG_LENGTH_DIFFERENCE
    similarity = np.triu(grid @ grid.T, 1) * same_length
    highest = np.argsort(-similarity, axis=None)[:200]
    top = [divmod(int(n), len(names)) for n in highest]
    print()
    for i, j in top[:4]:
        print(f'{names[i]} and {names[j]}: {similarity[i, j]:.3f}')
    i, j = next((i, j) for i, j in top if speakers[i] != speakers[j])
    print(f'different speakers, {names[i]} and {names[j]}: {similarity[i, j]:.3f}')
    assert [names[n] for n in top[0]] == ['03-01-03-01-02-01-07', '03-01-03-01-02-02-07']
    assert similarity[top[1]] < signature_search.COPY_SIMILARITY - 0.03

    sample = random.choice(len(waves), 320, replace=False)
    missed = 0
    every_signature = [signatures]
    for name, change in COPIES.items():
        copies = np.stack([change(waves[n]) for n in sample])
        every_signature.append(copies)
        products = (copies[:, 1:].astype(np.float32) * grid[sample]).sum(axis=1)
        difference = np.abs(np.log(copies[:, 0].astype(float)) - length[sample])
        too_long = difference > signature_search.MAX_LOG_LENGTH_DIFFERENCE
        lost = ((products < signature_search.COPY_SIMILARITY) | too_long).sum()
        missed += lost
        low = np.quantile(products, 0.01)
        print(f'{name}: lowest {products.min():.3f}, 1 % below {low:.3f}; {lost} of 320 missed')
    assert missed <= 0.005 * 320 * len(COPIES)

    # Hashing finds the same pairs as comparing all, here with 0.1 % of the worst missed at most.
    all_signatures = np.concatenate(every_signature)
    compared = signature_search.find_near_duplicates(all_signatures).tolist()
    monkeypatch.setattr(signature_search, 'MAX_COMPARED', 0)
    monkeypatch.setattr(signature_search, 'COMPARE_COST', np.inf)
    hashed = signature_search.find_near_duplicates(all_signatures).tolist()
    lost = set(map(tuple, compared)) - set(map(tuple, hashed))
    print(f'hashing misses {len(lost)} of {len(compared)} pairs')
    from_sample = {(int(n), len(waves) + k) for k, n in enumerate(np.tile(sample, len(COPIES)))}
    assert not lost & from_sample
    assert len(lost) <= 1e-3 * len(compared)
