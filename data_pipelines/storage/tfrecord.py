"""Reads TFRecord files of tf.train.Example without TensorFlow.

A record is the length of its data (8 bytes), a checksum of the length (4), the data, and their
checksum (4); all little-endian. The data are a protocol buffer of TensorFlow's example.proto:
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/example/example.proto
"""

import functools
import os
import struct
from collections.abc import Iterator

HEADER = struct.Struct('<QI')
FOOTER = struct.Struct('<I')

MASK_DELTA = 0xA282EAD8  # TFRecord stores checksums rotated and shifted by this number


def read_records(file: str) -> Iterator[tuple[int, bytes]]:
    """Yields (offset of the data, data) of each record; ValueError if one is damaged."""
    with open(file, 'rb') as stream:
        offset = 0
        while header := stream.read(HEADER.size):
            length = _read_length(header)
            record = header + stream.read(length + FOOTER.size)
            yield offset + HEADER.size, check_record(record, length)
            offset += len(record)


def read_record(descriptor: int, offset: int, length: int) -> bytes:
    """Returns the data of one record of an open file; ValueError if they are damaged.

    `offset` and `length` are those of the data.
    """
    size = HEADER.size + length + FOOTER.size
    return check_record(os.pread(descriptor, size, offset - HEADER.size), length)


def check_record(record: bytes, length: int) -> bytes:
    """Returns the data of a record of this length; ValueError if the record is damaged."""
    if _read_length(record[: HEADER.size]) != length:
        raise ValueError('a record has another length than before')
    if len(record) != HEADER.size + length + FOOTER.size:
        raise ValueError('it ends within a record')
    data = record[HEADER.size : HEADER.size + length]
    (checksum,) = FOOTER.unpack_from(record, HEADER.size + length)
    if masked_crc32c(data) != checksum:
        raise ValueError('a record does not have its checksum')
    return data


def _read_length(header: bytes) -> int:
    """Returns the length of a record's data; ValueError if the header is damaged."""
    if len(header) != HEADER.size:
        raise ValueError('it ends within a record')
    length, checksum = HEADER.unpack(header)
    if masked_crc32c(header[:8]) != checksum:
        raise ValueError('the length of a record does not have its checksum')
    return length


def masked_crc32c(data: bytes) -> int:
    """Returns the checksum of data as TFRecord stores it."""
    import google_crc32c

    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + MASK_DELTA) & 0xFFFFFFFF


def parse_example(data: bytes):
    """Returns a map from the names of the features to messages, each with one kind of list.

    The lists are `bytes_list.value`, `float_list.value` and `int64_list.value`. ValueError if the
    data are not a tf.train.Example.
    """
    from google.protobuf.message import DecodeError

    try:
        return example_class().FromString(data).features.feature
    except DecodeError as error:
        raise ValueError(f'a record is not a tf.train.Example: {error}') from None


@functools.cache
def example_class():
    """Returns the class of the messages tf.train.Example."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

    file = text_format.Parse(EXAMPLE_PROTO, descriptor_pb2.FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()  # TensorFlow's own messages are in the default pool
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName('tensorflow.Example'))


# TensorFlow's example.proto and feature.proto as a FileDescriptorProto.
EXAMPLE_PROTO = """
name: 'example.proto' package: 'tensorflow' syntax: 'proto3'
message_type {
  name: 'BytesList'
  field { name: 'value' number: 1 label: LABEL_REPEATED type: TYPE_BYTES }
}
message_type {
  name: 'FloatList'
  field { name: 'value' number: 1 label: LABEL_REPEATED type: TYPE_FLOAT }
}
message_type {
  name: 'Int64List'
  field { name: 'value' number: 1 label: LABEL_REPEATED type: TYPE_INT64 }
}
message_type {
  name: 'Feature'
  field {
    name: 'bytes_list' number: 1 label: LABEL_OPTIONAL type: TYPE_MESSAGE
    type_name: '.tensorflow.BytesList' oneof_index: 0
  }
  field {
    name: 'float_list' number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE
    type_name: '.tensorflow.FloatList' oneof_index: 0
  }
  field {
    name: 'int64_list' number: 3 label: LABEL_OPTIONAL type: TYPE_MESSAGE
    type_name: '.tensorflow.Int64List' oneof_index: 0
  }
  oneof_decl { name: 'kind' }
}
message_type {
  name: 'Features'
  field {
    name: 'feature' number: 1 label: LABEL_REPEATED type: TYPE_MESSAGE
    type_name: '.tensorflow.Features.FeatureEntry'
  }
  nested_type {
    name: 'FeatureEntry'
    field { name: 'key' number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
    field {
      name: 'value' number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE
      type_name: '.tensorflow.Feature'
    }
    options { map_entry: true }
  }
}
message_type {
  name: 'Example'
  field {
    name: 'features' number: 1 label: LABEL_OPTIONAL type: TYPE_MESSAGE
    type_name: '.tensorflow.Features'
  }
}
"""
