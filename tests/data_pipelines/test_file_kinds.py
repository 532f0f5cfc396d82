"""Tests that a file is recognised by its first bytes, and that audio and tables are left alone."""

import io
import struct
import zipfile

import numpy as np
import pytest
import soundfile

from data_pipelines import file_kinds

LFS = b'version https://git-lfs.github.com/spec/v1\noid sha256:abab\nsize 72862\n'


def make_zip(member: str) -> bytes:
    """Returns a ZIP archive with one file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr(member, 'x' * 100)
    return file.getvalue()


@pytest.mark.parametrize(
    ('head', 'name'),
    [
        (LFS, 'Git LFS pointer'),
        (b'<!DOCTYPE html><html><head><title>404</title>', 'web page'),
        (b'\xef\xbb\xbf\n <HTML lang="en">', 'web page'),
        (b'<!-- a --><p>x</p> <html>', 'web page'),
        (b'404 Not Found <html>', 'web page'),
        (b'{"error": "not found"}', 'JSON'),
        (b'<?xml version="1.0"?><Error>', 'XML'),
        (make_zip('a.wav'), 'ZIP archive'),
        (make_zip('xl/workbook.xml'), 'Excel workbook'),
        (make_zip('[Content_Types].xml'), 'Excel workbook'),
        (b'\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1' + bytes(99), 'old Office file'),
        ('path,speaker,emotion\n'.encode('utf-16'), 'UTF-16'),
        ('path,speaker,emotion\n'.encode('utf-16-be'), 'UTF-16'),
        (b'\xff\xfe' + 'Путь,диктор\n'.encode('utf-16-le'), 'UTF-16'),
        ('path'.encode('utf-32'), 'UTF-32'),
        (bytes(257) + b'ustar', 'tar archive'),
        (b'\x1f\x8b\x08\0', 'gzip'),
        (b'\0\x05\x16\x07\0\x02\0\0Mac OS X', 'macOS'),
        (b'\x93NUMPY\x01\0', 'NumPy'),
    ],
)
def test_a_kind_is_recognised_by_its_first_bytes(head, name):
    assert name in file_kinds.recognise(head).name


def test_the_sentence_says_what_it_is_and_what_to_do():
    sentence = file_kinds.describe(file_kinds.recognise(LFS))
    assert sentence.startswith('it is a Git LFS pointer')
    assert 'git lfs pull' in sentence


@pytest.mark.parametrize('audio_format', ['WAV', 'FLAC', 'OGG', 'AIFF', 'AU', 'CAF', 'MP3'])
def test_audio_is_none_of_them(audio_format):
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000)
    file = io.BytesIO()
    soundfile.write(file, noise, 16_000, format=audio_format)
    head = file.getvalue()[: file_kinds.HEAD_BYTES]
    assert file_kinds.recognise(head) is None
    assert file_kinds.recognise_text(head) is None


@pytest.mark.parametrize('first', [b'\xff\xfb', b'\xff\xf3', b'\xff\xfe', b'\xfe\xff'])
def test_random_bytes_that_begin_as_mpeg_audio_are_not_taken_for_text(first):
    noise = np.random.default_rng(0).integers(0, 256, 4000).astype(np.uint8).tobytes()
    assert file_kinds.recognise(first + noise) is None


@pytest.mark.parametrize(
    'head',
    [
        b'path,speaker,emotion\na.wav,anna,sad\n',
        'path;speaker\nGrö.wav;é\n'.encode(),
        struct.pack('<Q', 64) + b'{"a":{"dtype":"F32"}}',
        b'ID3\x04\0\0\0\0\1\0COMM\0\0\0\x16\0\0\0eng<html>x</html>',
        b'',
    ],
)
def test_tables_safetensors_and_tags_of_audio_are_none_of_them(head):
    assert file_kinds.recognise(head) is None


def test_plain_text_and_zeros_are_recognised_where_only_binary_data_is_meant():
    assert file_kinds.recognise_text(b'404: Not Found\n') is file_kinds.TEXT
    assert file_kinds.recognise_text('Größe'.encode()[:-1]) is file_kinds.TEXT
    assert file_kinds.recognise_text(bytes(100)) is file_kinds.ZEROS
    assert file_kinds.recognise_text(b'RIFF\0\0') is None
    assert file_kinds.recognise_text(b'') is None
