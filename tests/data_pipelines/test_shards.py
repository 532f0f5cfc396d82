"""Shards are read in any order, to the bit, and damage to them is named."""

import numpy as np
import pytest
import soundfile

from data_pipelines import shards
from data_pipelines.log_mel import LogMel
from data_pipelines.prepare import prepare
from data_pipelines.refusal import Refusal


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    """Nine utterances of noise of different lengths, prepared, and their features as TFDS reads them."""
    import tensorflow_datasets as tfds

    shards.import_tensorflow()
    folder = tmp_path_factory.mktemp('noise')
    random = np.random.default_rng(0)
    lines = ['path,speaker,emotion']
    for n in range(9):
        soundfile.write(folder / f'{n}.wav', 0.1 * random.standard_normal(8_000 + 1_600 * n), 16_000)
        lines.append(f'{n}.wav,s{n % 3},{"angry" if n % 2 else "sad"}')
    (folder / 'list.csv').write_text('\n'.join(lines) + '\n')
    place = prepare('folder', folder / 'list.csv', folder / 'data', LogMel(), workers=1)
    mel = [e['mel_TxM'] for e in tfds.as_numpy(tfds.builder_from_directory(place).as_dataset(split='utterances'))]
    return place, mel


def test_the_columns_are_those_of_the_shards(prepared):
    """Names, labels, lengths and moments are read without the features."""
    place, mel = prepared
    u = shards.read([place])
    assert u.text['utterance'].tolist() == [f'{n}.wav' for n in range(9)]
    assert u.text['emotion'].tolist() == ['sad', 'angry'] * 4 + ['sad']
    assert u.frames_N.tolist() == [len(m) for m in mel]
    np.testing.assert_allclose(u.mean_NxM, [m.mean(0, dtype=float) for m in mel], rtol=1e-5)


def test_features_come_in_the_order_asked_for_cut_and_padded(prepared):
    """Any rows, twice too, from any frame, to the bit; row -1 is all zeros; lengths may differ from batch to batch."""
    place, mel = prepared
    u = shards.read([place])
    first = np.array([[8, 0, -1], [3, 3, 1]]), np.array([[20, 0, 0], [0, 7, 55]]), 50
    second = np.array([2, 5]), np.array([0, 0]), 110
    a, b = shards.stream(u, [first, second])
    assert a.shape == (2, 3, 50, 64)
    assert a.dtype == np.float16
    for got, row, start in zip(a.reshape(-1, 50, 64), first[0].ravel(), first[1].ravel()):
        expected = mel[row][start : start + 50] if row >= 0 else np.zeros((0, 64))
        np.testing.assert_array_equal(got[: len(expected)], expected)
        assert (got[len(expected) :] == 0).all()
    np.testing.assert_array_equal(b[1, : len(mel[5])], mel[5])


def test_several_data_sets_keep_their_names_apart(prepared):
    """Two corpora may use the same names for speakers: they are told apart by the corpus."""
    place, _ = prepared
    u = shards.read([place, place])
    assert len(u) == 18
    assert set(u.text['speaker']) == {'folder/s0', 'folder/s1', 'folder/s2'}


@pytest.mark.parametrize('damage', ['flip', 'cut', 'gone'])
def test_a_damaged_shard_is_named(prepared, tmp_path, damage):
    """A flipped bit, a truncated file and a missing file end in a sentence that names the file."""
    import shutil

    place, _ = prepared
    copy = shutil.copytree(place, tmp_path / place.parts[-3] / place.parts[-2] / place.parts[-1])
    (shard,) = copy.glob('*.tfrecord*')
    content = bytearray(shard.read_bytes())
    if damage == 'flip':
        content[len(content) // 2] ^= 16
        shard.write_bytes(content)
    elif damage == 'cut':
        shard.write_bytes(content[: len(content) // 2])
    else:
        shard.unlink()
    with pytest.raises(Refusal, match='tfrecord'):
        shards.read([copy])
