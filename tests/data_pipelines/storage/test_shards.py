"""Shards are read in any order, to the bit, and damage to them is named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_pipelines.errors import UserError
from data_pipelines.features.log_mel import LogMel
from data_pipelines.storage import dataset, schema, shards
from data_pipelines.storage.preparation import prepare_corpus


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    """Nine utterances of noise of different lengths, prepared, and their features as TFDS reads them."""
    import tensorflow_datasets as tfds

    schema.import_tensorflow()
    folder = tmp_path_factory.mktemp('noise')
    random = np.random.default_rng(0)
    lines = ['path,speaker,emotion']
    for n in range(9):
        soundfile.write(
            folder / f'{n}.wav', 0.1 * random.standard_normal(8_000 + 1_600 * n), 16_000
        )
        lines.append(f'{n}.wav,s{n % 3},{"angry" if n % 2 else "sad"}')
    (folder / 'list.csv').write_text('\n'.join(lines) + '\n')
    place = prepare_corpus('folder', folder / 'list.csv', folder / 'data', LogMel(), workers=1)
    mel = [
        e['mel_TxM']
        for e in tfds.as_numpy(tfds.builder_from_directory(place).as_dataset(split='utterances'))
    ]
    return place, mel


def test_the_columns_are_those_of_the_shards(prepared):
    """Names, labels, lengths and moments are read without the features."""
    place, mel = prepared
    u = shards.read_columns(place)
    assert u.text['utterance'].tolist() == [f'{n}.wav' for n in range(9)]
    assert u.text['emotion'].tolist() == ['sad', 'angry'] * 4 + ['sad']
    assert u.frames_N.tolist() == [len(m) for m in mel]
    np.testing.assert_allclose(u.mean_NxM, [m.mean(0, dtype=float) for m in mel], rtol=1e-5)


def test_all_features_are_loaded_one_utterance_after_another(prepared):
    """To the bit, in the order of the rows, which may be some of them in any order."""
    place, mel = prepared
    u = shards.read_columns(place)
    loaded_RxM = dataset.read_all_features(u)
    assert loaded_RxM.dtype == np.float16
    np.testing.assert_array_equal(loaded_RxM, np.concatenate(mel))
    np.testing.assert_array_equal(
        dataset.read_all_features(u[[7, 2, 3]]), np.concatenate([mel[7], mel[2], mel[3]])
    )


def test_features_come_in_the_order_asked_for_cut_and_padded(prepared):
    """Any rows, twice too, from any frame, to the bit; row -1 is all zeros; lengths may differ from batch to batch."""
    place, mel = prepared
    u = shards.read_columns(place)
    first = np.array([[8, 0, -1], [3, 3, 1]]), np.array([[20, 0, 0], [0, 7, 55]]), 50
    second = np.array([2, 5]), np.array([0, 0]), 110
    a, b = shards.stream_features(u, [first, second])
    assert a.shape == (2, 3, 50, 64)
    assert a.dtype == np.float16
    for got, row, start in zip(a.reshape(-1, 50, 64), first[0].ravel(), first[1].ravel()):
        expected = mel[row][start : start + 50] if row >= 0 else np.zeros((0, 64))
        np.testing.assert_array_equal(got[: len(expected)], expected)
        assert (got[len(expected) :] == 0).all()
    np.testing.assert_array_equal(b[1, : len(mel[5])], mel[5])


def test_several_data_sets_keep_their_names_apart(prepared):
    """Two corpora may use the same names: utterances, speakers and sessions are told apart by the corpus."""
    place, _ = prepared
    one, two = shards.read_columns(place), shards.read_columns(place)
    two.text['corpus'] = np.full(9, 'other')
    both = schema.concatenate_datasets([one, two])
    assert len(both) == 18
    assert set(both.text['speaker']) == {f'{c}/s{n}' for c in ('folder', 'other') for n in range(3)}
    assert both.text['utterance'].tolist() == [
        f'{c}/{n}.wav' for c in ('folder', 'other') for n in range(9)
    ]
    assert both.text['emotion'].tolist() == [*one.text['emotion'], *two.text['emotion']]
    assert schema.concatenate_datasets([one]) is one


def test_several_data_sets_find_their_features(prepared, tmp_path):
    """Each utterance in its own file, loaded or streamed."""
    place, mel = prepared
    one = shards.read_columns(place)
    two = shards.read_columns(
        shutil.copytree(place, tmp_path / place.parts[-3] / place.parts[-2] / place.parts[-1])
    )
    both = schema.concatenate_datasets([one, two[[4, 0]]])
    assert both.files == one.files + two.files
    assert both.file_N.tolist() == [0] * 9 + [1] * 2
    np.testing.assert_array_equal(
        dataset.read_all_features(both), np.concatenate([*mel, mel[4], mel[0]])
    )
    (got,) = shards.stream_features(both, [(np.array([9, 1, 10]), np.zeros(3, int), 40)])
    np.testing.assert_array_equal(got, [mel[4][:40], mel[1][:40], mel[0][:40]])


def flip(file: Path) -> None:
    """Turns one bit over."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 16
    file.write_bytes(content)


def cut(file: Path) -> None:
    """Leaves half of it."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def foreign(file: Path) -> None:
    """Puts a TFRecord in its place that holds something else, as many bytes and more."""
    tf = schema.import_tensorflow()
    example = tf.train.Example(features=tf.train.Features(feature={'image': tf.train.Feature()}))
    size = file.stat().st_size
    with tf.io.TFRecordWriter(str(file)) as writer:
        for _ in range(size // 20):
            writer.write(example.SerializeToString())


@pytest.fixture
def copy(prepared, tmp_path) -> Path:
    """The data set, to be damaged."""
    place, _ = prepared
    return shutil.copytree(place, tmp_path / place.parts[-3] / place.parts[-2] / place.parts[-1])


DAMAGE = {
    'flip': flip,
    'cut': cut,
    'gone': Path.unlink,
    'empty': lambda f: f.write_bytes(b''),
    'foreign': foreign,
}


@pytest.mark.parametrize('damage', DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_shard_is_named(copy, damage):
    """As soon as the columns are read, in a sentence that says what to do."""
    (shard,) = copy.glob('*.tfrecord*')
    damage(shard)
    with pytest.raises(
        UserError, match=rf'{shard.name} is damaged or missing .*Remove .* and prepare'
    ):
        shards.read_columns(copy)


@pytest.mark.parametrize('damage', [d for d in DAMAGE if d != 'flip'])
def test_a_shard_that_changes_after_its_columns_were_read_is_named(copy, damage):
    """Instead of features that are none; a flipped bit is found at the next start."""
    utterances = shards.read_columns(copy)
    (shard,) = copy.glob('*.tfrecord*')
    DAMAGE[damage](shard)
    with pytest.raises(
        UserError, match=rf'{shard.name} is damaged or missing .*Remove .* and prepare'
    ):
        dataset.read_all_features(utterances)
    with pytest.raises(
        UserError, match=rf'{shard.name} is damaged or missing .*Remove .* and prepare'
    ):
        list(shards.stream_features(utterances, [(np.arange(9), np.zeros(9, int), 40)] * 2))


def overwrite(fill: bytes):
    """Fills the first record's data with one byte; its length stays."""

    def damage(file: Path) -> None:
        content = bytearray(file.read_bytes())
        length = int.from_bytes(content[:8], 'little')
        content[12 : 12 + length] = fill * length
        file.write_bytes(content)

    return damage


def rename_features(file: Path) -> None:
    """Gives the features of the first record another name, of the same length."""
    file.write_bytes(file.read_bytes().replace(b'mel_TxM', b'mel_XxX', 1))


def change_type(file: Path) -> None:
    """Says that the features of the first record are integers, not bytes."""
    content = bytearray(file.read_bytes())
    kind = content.index(b'mel_TxM') + len(b'mel_TxM') + 3  # after a tag and a length of two bytes
    assert content[kind] == 0x0A  # bytes_list
    content[kind] = 0x1A  # int64_list
    file.write_bytes(content)


LATER_DAMAGE = {
    **{name: damage for name, damage in DAMAGE.items() if name != 'flip'},
    'zeros': overwrite(b'\x00'),
    'ones': overwrite(b'\xff'),  # no text: TensorFlow cannot even name the error
    'features renamed': rename_features,
    'features of another type': change_type,
}


@pytest.mark.parametrize('damage', LATER_DAMAGE.values(), ids=LATER_DAMAGE)
def test_the_one_shard_that_is_damaged_while_streaming_is_named(prepared, copy, damage, capfd):
    """Of two corpora the second: the first is not named, and TensorFlow prints no stack."""
    place, _ = prepared
    both = schema.concatenate_datasets([shards.read_columns(place), shards.read_columns(copy)])
    sound, damaged = both.files
    damage(Path(damaged))
    stream = shards.stream_features(both, [(np.arange(18), np.zeros(18, int), 40)] * 5)
    with pytest.raises(
        UserError, match=r'is damaged or missing .*Remove .* and prepare'
    ) as refusal:
        list(stream)
    assert str(refusal.value).startswith(f'{damaged} is damaged')
    assert sound not in str(refusal.value)
    assert str(refusal.value).isprintable()
    assert 'Traceback' not in ''.join(capfd.readouterr())


def test_an_error_of_the_caller_is_no_damage(prepared):
    """Where every shard is sound, what went wrong is said as it is."""
    place, _ = prepared

    def batches():
        yield np.arange(9), np.zeros(9, int), 40
        raise ArithmeticError('the order is wrong')

    with pytest.raises(Exception, match='the order is wrong') as error:
        list(shards.stream_features(shards.read_columns(place), batches()))
    assert not isinstance(error.value, UserError)


@pytest.mark.parametrize('name', ['dataset_info.json', 'features.json'])
@pytest.mark.parametrize('damage', ['gone', 'cut', 'empty', '{}', '[1]'])
def test_a_damaged_description_is_named(copy, name, damage):
    """What TFDS would end in is no help to anybody."""
    DAMAGE.get(damage, lambda file: file.write_text(damage))(copy / name)
    with pytest.raises(
        UserError,
        match=rf'{name} (or features.json )?is damaged or missing .*Remove .* and prepare',
    ):
        shards.read_columns(copy)
