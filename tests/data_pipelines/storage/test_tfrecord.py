"""Tests that TFRecord files of tf.train.Example are read as TensorFlow has written them."""

import os
from pathlib import Path

import pytest

from data_pipelines.storage import schema, tfrecord

RECORDS = [b'', b'123456789', bytes(range(256)) * 300]


@pytest.fixture(scope='module')
def file(tmp_path_factory) -> str:
    """A file with RECORDS, written by TensorFlow."""
    tf = schema.import_tensorflow()
    path = str(tmp_path_factory.mktemp('records') / 'records')
    with tf.io.TFRecordWriter(path) as writer:
        for record in RECORDS:
            writer.write(record)
    return path


def test_records_are_those_that_tensorflow_wrote(file):
    """In their order, and each alone at its offset."""
    found = list(tfrecord.read_records(file))
    assert [data for _, data in found] == RECORDS
    descriptor = os.open(file, os.O_RDONLY)
    for offset, data in reversed(found):
        assert tfrecord.read_record(descriptor, offset, len(data)) == data
    os.close(descriptor)


def test_checksum_is_the_one_of_the_standard():
    """CRC-32C of '123456789' is 0xE3069283 (RFC 3720); TFRecord rotates it and adds a number."""
    rotated = (0xE3069283 >> 15 | 0xE3069283 << 17) & 0xFFFFFFFF
    assert tfrecord.masked_crc32c(b'123456789') == (rotated + 0xA282EAD8) % 2**32


@pytest.mark.parametrize('place', [0, 9, 16, 20, 30])
def test_every_flipped_bit_is_found(file, tmp_path, place):
    """In the length, in its checksum, in the data and in theirs."""
    content = bytearray(Path(file).read_bytes())
    content[place] ^= 4
    damaged = tmp_path / 'damaged'
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match='checksum'):
        list(tfrecord.read_records(str(damaged)))


@pytest.mark.parametrize('size', [5, 14, 30, -1])
def test_a_file_that_was_cut_is_found(file, tmp_path, size):
    cut = tmp_path / 'cut'
    cut.write_bytes(Path(file).read_bytes()[:size])
    with pytest.raises(ValueError, match='ends within a record'):
        list(tfrecord.read_records(str(cut)))


def test_an_example_has_the_lists_that_tensorflow_wrote():
    tf = schema.import_tensorflow()
    example = tf.train.Example()
    example.features.feature['text'].bytes_list.value.append(b'\xff\x00')
    example.features.feature['numbers'].float_list.value.extend([0.5, -2.0])
    example.features.feature['counts'].int64_list.value.extend([-1, 1 << 40])
    found = tfrecord.parse_example(example.SerializeToString())
    assert found['text'].bytes_list.value[:] == [b'\xff\x00']
    assert found['numbers'].float_list.value[:] == [0.5, -2.0]
    assert found['counts'].int64_list.value[:] == [-1, 1 << 40]
    with pytest.raises(ValueError, match=r'not a tf\.train\.Example'):
        tfrecord.parse_example(b'\xff\xff')
