"""Tests that features of packed corpora are read into one array, whichever are wanted."""

import zipfile

import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances

from data_pipelines.errors import UserError
from data_pipelines.storage import dataset, npz

BANDS = 3


@pytest.fixture
def packed(tmp_path):
    """The utterances of two packed corpora, and their features, corpus after corpus."""
    random = np.random.default_rng(0)
    utterances = make_utterances(bands=BANDS)
    utterances.file_N = np.arange(len(utterances)) // (len(utterances) // 2)
    utterances.length_N = utterances.frames_N.astype(np.int64)
    utterances.files = []
    parts = []
    for index in (0, 1):
        frames_N = utterances.frames_N[utterances.file_N == index]
        utterances.offset_N[utterances.file_N == index] = np.cumsum(frames_N) - frames_N
        mel_RxM = random.normal(size=(frames_N.sum(), BANDS)).astype(np.float16)
        utterances.files.append(str(tmp_path / f'{index}.npz'))
        np.savez(utterances.files[-1], mel_RxM=mel_RxM)
        parts.append(mel_RxM)
    return utterances, np.concatenate(parts)


@pytest.mark.parametrize('order', ['all', 'some', 'scattered', 'one file'])
def test_the_features_of_the_chosen_utterances_follow_one_another(packed, order, monkeypatch):
    """What is not wanted is skipped, in more than one buffer."""
    monkeypatch.setattr(npz, 'BUFFER_BYTES', 64)
    utterances, mel_RxM = packed
    N = len(utterances)
    rows = {
        'all': np.arange(N),
        'some': np.flatnonzero(np.random.default_rng(1).random(N) < 0.6),
        'scattered': np.random.default_rng(2).permutation(N)[: N // 2],
        'one file': np.flatnonzero(utterances.file_N == 1),
    }[order]
    end_N = np.cumsum(utterances.frames_N)
    expected = [mel_RxM[end_N[row] - utterances.frames_N[row] : end_N[row]] for row in rows]
    chosen_RxM = dataset.read_all_features(utterances[rows], padding_frames=5)
    np.testing.assert_array_equal(chosen_RxM[:-5], np.concatenate(expected))
    assert not chosen_RxM[-5:].any()
    assert chosen_RxM.ctypes.data % dataset.FEATURE_ALIGNMENT == 0


def test_compressed_features_are_read_too(packed, tmp_path):
    utterances, mel_RxM = packed
    np.savez_compressed(utterances.files[0], mel_RxM=mel_RxM[: np.sum(utterances.frames_N[:24])])
    np.testing.assert_array_equal(dataset.read_all_features(utterances), mel_RxM)


def test_changed_features_are_refused_although_only_the_first_are_wanted(packed, monkeypatch):
    """The checksum is that of the whole file."""
    monkeypatch.setattr(npz, 'BUFFER_BYTES', 64)
    utterances, _ = packed
    with zipfile.ZipFile(utterances.files[0]) as archive:
        info = archive.getinfo('mel_RxM.npy')
    with open(utterances.files[0], 'r+b') as file:
        file.seek(info.header_offset + info.compress_size)
        file.write(b'\xff')
    with pytest.raises(UserError, match='damaged'):
        dataset.read_all_features(utterances[np.arange(2)])


@pytest.mark.parametrize(
    'mel_RxM',
    [
        np.zeros((10_000, BANDS)),
        np.zeros((10_000, BANDS + 1), np.float16),
        np.zeros((BANDS, 10_000), np.float16).T,
        np.zeros((5, BANDS), np.float16),
    ],
    ids=['float64', 'bands', 'Fortran', 'short'],
)
def test_features_of_another_form_are_refused(packed, mel_RxM):
    utterances, _ = packed
    np.savez(utterances.files[0], mel_RxM=mel_RxM)
    with pytest.raises(UserError, match='damaged'):
        dataset.read_all_features(utterances)
