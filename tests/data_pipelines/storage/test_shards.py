"""Tests that shards are read in any order, to the bit, and that errors name a damaged shard."""

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from data_pipelines.errors import UserError
from data_pipelines.features.log_mel import LogMel
from data_pipelines.storage import dataset, schema, shards
from data_pipelines.storage.preparation import prepare_corpus


class Prepared(NamedTuple):
    """Nine utterances of noise of different lengths."""

    folder: Path
    mels: list[np.ndarray]  # mel_TxM of each utterance, as TFDS reads them


@pytest.fixture(scope='module')
def prepared(tmp_path_factory) -> Prepared:
    import tensorflow_datasets as tfds

    schema.import_tensorflow()
    folder = tmp_path_factory.mktemp('noise')
    random = np.random.default_rng(0)
    lines = ['path,speaker,emotion']
    for n in range(9):
        samples = 0.1 * random.standard_normal(8_000 + 1_600 * n)
        soundfile.write(folder / f'{n}.wav', samples, 16_000)
        lines.append(f'{n}.wav,s{n % 3},{"angry" if n % 2 else "sad"}')
    (folder / 'list.csv').write_text('\n'.join(lines) + '\n')
    data_folder = prepare_corpus(
        'folder', folder / 'list.csv', folder / 'data', LogMel(), workers=1
    )
    examples = tfds.builder_from_directory(data_folder).as_dataset(split='utterances')
    return Prepared(data_folder, [example['mel_TxM'] for example in tfds.as_numpy(examples)])


def copy_dataset(folder: Path, target: Path) -> Path:
    """Copies a data set with the last three parts of its path."""
    return shutil.copytree(folder, target.joinpath(*folder.parts[-3:]))


def test_columns_are_those_of_the_shards(prepared):
    """Names, labels, lengths and moments are read without the features."""
    utterances = shards.read_columns(prepared.folder)
    assert utterances.text['utterance'].tolist() == [f'{n}.wav' for n in range(9)]
    assert utterances.text['emotion'].tolist() == ['sad', 'angry'] * 4 + ['sad']
    assert utterances.frames_N.tolist() == [len(mel_TxM) for mel_TxM in prepared.mels]
    means = [mel_TxM.mean(0, dtype=float) for mel_TxM in prepared.mels]
    np.testing.assert_allclose(utterances.mean_NxM, means, rtol=1e-5)


def test_all_features_are_read_in_the_order_of_the_rows(prepared):
    """They are equal to the bit; the rows may be a selection in any order."""
    mels = prepared.mels
    utterances = shards.read_columns(prepared.folder)
    mel_RxM = dataset.read_all_features(utterances)
    assert mel_RxM.dtype == np.float16
    np.testing.assert_array_equal(mel_RxM, np.concatenate(mels))
    selected_RxM = dataset.read_all_features(utterances[[7, 2, 3]])
    np.testing.assert_array_equal(selected_RxM, np.concatenate([mels[7], mels[2], mels[3]]))


def test_all_features_are_read_without_tensorflow(prepared):
    """It is not imported, whether or not the columns have a file of their own."""
    script = f"""
import sys
from pathlib import Path
from data_pipelines.storage import dataset, shards
for read in (shards.read_columns, shards.scan_columns):
    print(len(dataset.read_all_features(read(Path({str(prepared.folder)!r})))))
print(sorted({{'tensorflow', 'tensorflow_datasets'}} & set(sys.modules)))
"""
    command = [sys.executable, '-c', script]
    completed = subprocess.run(command, capture_output=True, text=True, check=True)
    frames = sum(len(mel_TxM) for mel_TxM in prepared.mels)
    assert completed.stdout == f'{frames}\n{frames}\n[]\n'


def test_streamed_features_are_cut_and_padded_in_the_requested_order(prepared):
    """Equal to the bit. A row may be repeated; row -1 is all zeros; T differs between batches."""
    mels = prepared.mels
    row_2x3 = np.array([[8, 0, -1], [3, 3, 1]])
    start_2x3 = np.array([[20, 0, 0], [0, 7, 55]])
    second = (np.array([2, 5]), np.array([0, 0]), 110)
    first_mel, second_mel = shards.stream_features(
        shards.read_columns(prepared.folder), [(row_2x3, start_2x3, 50), second]
    )
    assert first_mel.shape == (2, 3, 50, 64)
    assert first_mel.dtype == np.float16
    for mel_TxM, row, start in zip(
        first_mel.reshape(-1, 50, 64), row_2x3.ravel(), start_2x3.ravel()
    ):
        expected = mels[row][start : start + 50] if row >= 0 else np.zeros((0, 64))
        np.testing.assert_array_equal(mel_TxM[: len(expected)], expected)
        np.testing.assert_array_equal(mel_TxM[len(expected) :], 0)
    np.testing.assert_array_equal(second_mel[1, : len(mels[5])], mels[5])


def test_names_of_several_data_sets_are_prefixed_with_the_corpus(prepared):
    """Two corpora may use the same names of utterances, speakers and sessions."""
    first = shards.read_columns(prepared.folder)
    second = shards.read_columns(prepared.folder)
    second.text['corpus'] = np.full(9, 'other')
    both = schema.concatenate_datasets([first, second])
    assert len(both) == 18
    speakers = {'folder/s0', 'folder/s1', 'folder/s2', 'other/s0', 'other/s1', 'other/s2'}
    assert set(both.text['speaker']) == speakers
    names = [f'folder/{n}.wav' for n in range(9)] + [f'other/{n}.wav' for n in range(9)]
    assert both.text['utterance'].tolist() == names
    assert both.text['emotion'].tolist() == [*first.text['emotion'], *second.text['emotion']]
    assert schema.concatenate_datasets([first]) is first


def test_features_of_several_data_sets_come_from_their_own_files(prepared, tmp_path):
    mels = prepared.mels
    first = shards.read_columns(prepared.folder)
    second = shards.read_columns(copy_dataset(prepared.folder, tmp_path))
    both = schema.concatenate_datasets([first, second[[4, 0]]])
    assert both.files == first.files + second.files
    assert both.file_N.tolist() == [0] * 9 + [1] * 2
    mel_RxM = dataset.read_all_features(both)
    np.testing.assert_array_equal(mel_RxM, np.concatenate([*mels, mels[4], mels[0]]))
    batch = (np.array([9, 1, 10]), np.zeros(3, int), 40)
    (mel_BxTxM,) = shards.stream_features(both, [batch])
    np.testing.assert_array_equal(mel_BxTxM, [mels[4][:40], mels[1][:40], mels[0][:40]])


def flip_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 16
    file.write_bytes(content)


def cut_in_half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def clear(file: Path) -> None:
    file.write_bytes(b'')


def replace_by_other_data(file: Path) -> None:
    """Writes TFRecords of other data, which are no shorter than the file was."""
    tf = schema.import_tensorflow()
    example = tf.train.Example(features=tf.train.Features(feature={'image': tf.train.Feature()}))
    size = file.stat().st_size
    with tf.io.TFRecordWriter(str(file)) as writer:
        for _ in range(size // 20):
            writer.write(example.SerializeToString())


@pytest.fixture
def copy(prepared, tmp_path) -> Path:
    """A copy of the data set that a test may damage."""
    return copy_dataset(prepared.folder, tmp_path)


DAMAGE = {
    'flip': flip_bit,
    'cut': cut_in_half,
    'gone': Path.unlink,
    'empty': clear,
    'foreign': replace_by_other_data,
}


@pytest.mark.parametrize('damage', DAMAGE.values(), ids=DAMAGE)
def test_damaged_shard_is_named_when_columns_are_read_from_it(copy, damage):
    """As in data sets of earlier versions, which have no file of columns."""
    (copy / shards.COLUMNS_FILE).unlink()
    (shard,) = copy.glob('*.tfrecord*')
    damage(shard)
    message = rf'{shard.name} is damaged or missing .*Remove .* and prepare'
    with pytest.raises(UserError, match=message):
        shards.read_columns(copy)


def test_the_file_of_columns_has_what_the_shards_have(prepared):
    """They are equal to the bit and have equal types."""
    stored = shards.read_columns(prepared.folder)
    scanned = shards.scan_columns(prepared.folder)
    assert stored.files == scanned.files
    assert stored.text.keys() == scanned.text.keys()
    for key, column in scanned.text.items():
        np.testing.assert_array_equal(stored.text[key], column, strict=True)
    for key in schema.ARRAY_COLUMNS:
        np.testing.assert_array_equal(getattr(stored, key), getattr(scanned, key), strict=True)


SIZE_DAMAGE = {name: damage for name, damage in DAMAGE.items() if name != 'flip'}


@pytest.mark.parametrize('damage', SIZE_DAMAGE.values(), ids=SIZE_DAMAGE)
def test_a_shard_of_another_size_is_named_when_the_file_of_columns_is_read(copy, damage):
    """Flipped bits are found when the features are read."""
    (shard,) = copy.glob('*.tfrecord*')
    damage(shard)
    with pytest.raises(UserError, match=rf'{shard.name} is damaged or missing .*Remove'):
        shards.read_columns(copy)


@pytest.mark.parametrize('damage', [flip_bit, cut_in_half, clear])
def test_a_damaged_file_of_columns_is_named(copy, damage):
    file = copy / shards.COLUMNS_FILE
    damage(file)
    with pytest.raises(UserError, match=rf'{file.name} is damaged .*Remove this file'):
        shards.read_columns(copy)
    file.unlink()
    assert len(shards.read_columns(copy)) == 9


@pytest.mark.parametrize('damage', DAMAGE.values(), ids=DAMAGE)
def test_shard_that_changes_after_its_columns_were_read_is_named(copy, damage):
    utterances = shards.read_columns(copy)
    (shard,) = copy.glob('*.tfrecord*')
    damage(shard)
    message = rf'{shard.name} is damaged or missing .*Remove .* and prepare'
    with pytest.raises(UserError, match=message):
        dataset.read_all_features(utterances)
    batches = [(np.arange(9), np.zeros(9, int), 40)] * 2
    with pytest.raises(UserError, match=message):
        list(shards.stream_features(utterances, batches))


def fill_first_record(file: Path, fill: bytes) -> None:
    """Overwrites the first record's data with one byte value; its length does not change."""
    content = bytearray(file.read_bytes())
    length = int.from_bytes(content[:8], 'little')
    content[12 : 12 + length] = fill * length
    file.write_bytes(content)


def rename_features(file: Path) -> None:
    """Gives the features of the first record another name, of the same length."""
    file.write_bytes(file.read_bytes().replace(b'mel_TxM', b'mel_XxX', 1))


def change_type(file: Path) -> None:
    """Changes the type of the first record's features from bytes to integers."""
    content = bytearray(file.read_bytes())
    kind = content.index(b'mel_TxM') + len(b'mel_TxM') + 3  # after a tag and a length of two bytes
    assert content[kind] == 0x0A  # bytes_list
    content[kind] = 0x1A  # int64_list
    file.write_bytes(content)


LATER_DAMAGE = {
    **DAMAGE,
    'zeros': functools.partial(fill_first_record, fill=b'\x00'),
    # Not UTF-8, so that TensorFlow's own error message cannot be decoded.
    'ones': functools.partial(fill_first_record, fill=b'\xff'),
    'features renamed': rename_features,
    'features of another type': change_type,
}


@pytest.mark.parametrize('damage', LATER_DAMAGE.values(), ids=LATER_DAMAGE)
def test_only_the_shard_damaged_while_streaming_is_named(prepared, copy, damage, capfd):
    """The shard of the other corpus is not named, and TensorFlow prints no stack trace."""
    both = schema.concatenate_datasets(
        [shards.read_columns(prepared.folder), shards.read_columns(copy)]
    )
    intact, damaged = both.files
    damage(Path(damaged))
    stream = shards.stream_features(both, [(np.arange(18), np.zeros(18, int), 40)] * 5)
    message = r'is damaged or missing .*Remove .* and prepare'
    with pytest.raises(UserError, match=message) as error_info:
        list(stream)
    error = str(error_info.value)
    assert error.startswith(f'{damaged} is damaged')
    assert intact not in error
    assert error.isprintable()
    assert 'Traceback' not in ''.join(capfd.readouterr())


def test_error_of_the_caller_is_not_reported_as_damage(prepared):

    def batches():
        yield np.arange(9), np.zeros(9, int), 40
        raise ArithmeticError('the order is wrong')

    utterances = shards.read_columns(prepared.folder)
    with pytest.raises(Exception, match='the order is wrong') as error_info:
        list(shards.stream_features(utterances, batches()))
    assert not isinstance(error_info.value, UserError)


@pytest.mark.parametrize('name', ['dataset_info.json', 'features.json'])
@pytest.mark.parametrize('damage', ['gone', 'cut', 'empty', '{}', '[1]'])
def test_damaged_description_is_named(copy, name, damage):
    if damage in DAMAGE:
        DAMAGE[damage](copy / name)
    else:
        (copy / name).write_text(damage)
    message = rf'{name} (or features.json )?is damaged or missing .*Remove .* and prepare'
    with pytest.raises(UserError, match=message):
        shards.read_columns(copy)


def test_a_damaged_template_of_file_names_is_named(copy):
    """A flipped bit leaves JSON, but no names of shards."""
    path = copy / 'dataset_info.json'
    path.write_text(path.read_text().replace('{DATASET}', '{DAT@SET}'))
    with pytest.raises(UserError, match=r'dataset_info.json .*is damaged or missing .*DAT@SET'):
        shards.read_columns(copy)


def test_a_template_that_is_no_text_is_named(copy):
    path = copy / 'dataset_info.json'
    info = json.loads(path.read_text())
    info['splits'][0]['filepathTemplate'] = 3
    path.write_text(json.dumps(info))
    with pytest.raises(UserError, match=r'dataset_info.json .*is damaged or missing'):
        shards.read_columns(copy)
