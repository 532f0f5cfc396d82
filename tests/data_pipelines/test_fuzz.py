"""Tests the preparation of some 300 damaged and unusual files.

Nothing may crash or hang, every file is accepted or rejected, and no features are garbage.
"""

import csv
import io
import itertools
import os
import pickle
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from data_pipelines import csv_files
from data_pipelines.features.log_mel import LogMel
from data_pipelines.storage import dataset, prepared, shards

# TensorFlow and TFDS have deprecations of their own.
pytestmark = pytest.mark.filterwarnings('default')
EITHER = None  # damage that a decoder may or may not notice
REJECT = 0.0
RATES = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000)
SUBTYPES = ('PCM_U8', 'PCM_16', 'PCM_24', 'PCM_32', 'FLOAT', 'DOUBLE', 'ULAW', 'ALAW')
LONG_NAME = b'x' * 251 + b'.wav'  # the longest name of a file
UNUSUAL_NAMES = (
    b'\xff\xfe\x80',
    b'new\nline',
    b'com,ma',
    b'quo"te',
    b"apo'strophe",
    b' spaces ',
    b'-dash',
    b'\xf0\x9f\x8e\xa4',
)


class Case(NamedTuple):
    """A file to prepare."""

    name: bytes  # the end of its name
    content: bytes | Callable[[Path], None] | None  # a function makes the file at a path
    seconds: float | None  # the length to be accepted, or REJECT or EITHER
    tolerance: float = 2e-3  # seconds


def encode_noise(
    rng, seconds=0.3, rate=16_000, channels=1, file_format='WAV', subtype=None, bad_sample=None
) -> bytes:
    """Returns the content of an audio file of noise, with `bad_sample` at a random time."""
    wave = rng.uniform(-0.5, 0.5, (round(seconds * rate), channels))
    if bad_sample is not None:
        wave[rng.integers(len(wave))] = bad_sample
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=file_format, subtype=subtype)
    return file.getvalue()


def flip_bits(rng, content: bytes, first: int, last: int) -> bytes:
    """Returns the content with one to eight bits inverted between two bytes."""
    damaged = bytearray(content)
    for position in rng.integers(first, last, rng.integers(1, 9)):
        damaged[position] ^= 1 << rng.integers(8)
    return bytes(damaged)


def encode_picture() -> bytes:
    """Returns the content of a PNG file of one pixel."""
    content = b'\x89PNG\r\n\x1a\n'
    for chunk in (
        b'IHDR' + struct.pack('>IIBBBBB', 1, 1, 8, 0, 0, 0, 0),
        b'IDAT' + zlib.compress(b'\0\0'),
        b'IEND',
    ):
        content += struct.pack('>I', len(chunk) - 4) + chunk
        content += struct.pack('>I', zlib.crc32(chunk))
    return content


def make_unreadable(path: Path) -> None:
    path.write_bytes(encode_noise(np.random.default_rng(0)))
    path.chmod(0)


def link_to_long_name(path: Path) -> None:
    path.symlink_to(path.parent / os.fsdecode(LONG_NAME))


def make_dead_link(path: Path) -> None:
    path.symlink_to('gone')


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


def make_sound_cases(rng) -> Iterator[Case]:
    """Yields files of many formats, rates, lengths and names that are all to be accepted."""
    good = encode_noise(rng)
    for (s, subtype), (r, rate) in itertools.product(enumerate(SUBTYPES), enumerate(RATES)):
        channels = 1 + (s + r) % 8
        seconds = rng.uniform(0.15, 0.4)
        yield Case(b'', encode_noise(rng, seconds, rate, channels, subtype=subtype), seconds)
    for rate, channels in zip(RATES, (1, 2, 8, 5, 2, 1, 2, 1)):
        yield Case(b'.flac', encode_noise(rng, 0.3, rate, channels, 'FLAC'), 0.3)
    for rate in RATES[:6]:
        yield Case(b'.ogg.wav', encode_noise(rng, 0.3, rate, 2, 'OGG'), 0.3)
        # MP3 has frames of 1,152 samples.
        yield Case(b'.mp3.wav', encode_noise(rng, 0.5, rate, 1, 'MP3'), 0.5, tolerance=0.15)
    yield Case(b'ten_minutes', encode_noise(rng, 600, 8_000, subtype='ULAW'), 600)
    yield Case(b'flac_inside', encode_noise(rng, file_format='FLAC'), 0.3)
    yield Case(b'wav_inside.flac', good, 0.3)
    for name in UNUSUAL_NAMES:
        yield Case(name, good, 0.3)
    yield Case(LONG_NAME, good, 0.3)
    yield Case(b'linked', link_to_long_name, 0.3)


def make_empty_and_bad_sample_cases(rng) -> Iterator[Case]:
    """Yields files that are empty, too short, or have samples that are not finite."""
    good = encode_noise(rng)
    for n in range(8):
        yield Case(b'', b'', REJECT)
        yield Case(b'', good[:44], REJECT)
        yield Case(b'', encode_noise(rng, 0), REJECT)
        yield Case(b'', encode_noise(rng, 0.02, RATES[n]), REJECT)
        subtype = ('FLOAT', 'DOUBLE')[n % 2]
        bad_sample = (np.nan, np.inf, -np.inf)[n % 3]
        yield Case(b'', encode_noise(rng, subtype=subtype, bad_sample=bad_sample), REJECT)
    yield Case(b'', good[:44] + bytes(9_600), REJECT)  # silence


def make_damaged_cases(rng) -> Iterator[Case]:
    """Yields audio files that are truncated or have inverted bits."""
    for file_format in ('WAV', 'FLAC', 'OGG', 'MP3'):
        content = encode_noise(rng, 1.0, file_format=file_format)
        truncated = EITHER if file_format in ('OGG', 'MP3') else REJECT
        for length in rng.integers(1, len(content) - 200, 15):
            yield Case(b'', content[:length], truncated)
        flipped = 1.0 if file_format == 'WAV' else EITHER
        for _ in range(12):
            yield Case(b'', flip_bits(rng, content, 0, 60), EITHER)
            yield Case(b'', flip_bits(rng, content, 60, len(content)), flipped)
    for subtype in ('FLOAT', 'DOUBLE', 'IMA_ADPCM'):
        content = encode_noise(rng, subtype=subtype)
        for _ in range(6):
            yield Case(b'', flip_bits(rng, content, 0, len(content)), EITHER)


def make_foreign_cases(rng) -> Iterator[Case]:
    """Yields files that are not audio, and things that are not files."""
    for size in (1, 3, 11, 12, 43, 1_000, 100_000):
        yield Case(b'', rng.bytes(size), EITHER)
    for text in (b'', b'speech\n', b'<html>404 Not Found</html>\n' * 40):
        yield Case(b'', b'RIFF' + text, REJECT)
        yield Case(b'', b'a' + text, REJECT)
    yield Case(b'', encode_picture(), REJECT)
    yield Case(b'', pickle.dumps({'a': [1, 2, 3]}), REJECT)
    yield Case(b'folder', Path.mkdir, REJECT)
    yield Case(b'fifo', os.mkfifo, REJECT)
    yield Case(b'dead_link', make_dead_link, REJECT)
    yield Case(b'loop', make_loop, REJECT)
    yield Case(b'locked', make_unreadable, 0.3 if os.geteuid() == 0 else REJECT)
    yield Case(b'gone', None, REJECT)
    yield Case(b'y' * 300 + b'.wav', None, REJECT)


def make_path(folder: Path, number: int, name: bytes) -> Path:
    """Returns the path of a case's file: its number and its name, unless the name is too long."""
    if len(name) <= 200:
        name = b'%d%s' % (number, name)
    if not name.endswith((b'.wav', b'.flac')):
        name += b'.wav'
    return Path(os.fsdecode(os.fsencode(folder) + b'/' + name))


def write_cases(folder: Path) -> dict[str, Case]:
    """Writes the files of all cases and returns the cases by path."""
    rng = np.random.default_rng(0)
    cases = itertools.chain(
        make_sound_cases(rng),
        make_empty_and_bad_sample_cases(rng),
        make_damaged_cases(rng),
        make_foreign_cases(rng),
    )
    case_by_path = {}
    for number, case in enumerate(cases):
        path = make_path(folder, number, case.name)
        if isinstance(case.content, bytes):
            path.write_bytes(case.content)
        elif case.content:
            case.content(path)
        case_by_path[str(path)] = case
    return case_by_path


class Fuzz(NamedTuple):
    """The cases by path, and the folder of the data set that the command prepared from them."""

    cases: dict[str, Case]
    folder: Path


@pytest.fixture(scope='module')
def fuzz(tmp_path_factory) -> Fuzz:
    folder = tmp_path_factory.mktemp('fuzz')
    cases = write_cases(folder)
    rows = [{'path': os.path.basename(p), 'speaker': 's', 'emotion': 'sad'} for p in cases]
    csv_files.write_rows(folder / 'list.csv', rows, errors='surrogateescape')
    command = [sys.executable, '-m', 'data_pipelines.prepare', 'folder', '--workers', '2']
    command += ['--source', folder / 'list.csv', '--out', folder / 'data']
    process = subprocess.run(command, capture_output=True, timeout=240)
    assert process.returncode == 0, process.stderr.decode()
    assert b'Traceback' not in process.stderr
    return Fuzz(cases, prepared.find_dataset(folder / 'data', 'folder', LogMel()))


def read_rows(path: Path) -> list[dict]:
    with open(path, newline='', encoding='utf-8', errors='surrogateescape') as file:
        return list(csv.DictReader(file))


def test_every_file_is_accepted_or_rejected_once_in_the_order_of_the_list(fuzz):
    accepted = [row['path'] for row in read_rows(fuzz.folder / 'utterances.csv')]
    rejected = [row['path'] for row in read_rows(fuzz.folder / 'rejected.csv')]
    assert len(fuzz.cases) > 250
    assert sorted(accepted + rejected) == sorted(fuzz.cases)
    assert accepted == [path for path in fuzz.cases if path in set(accepted)]


def test_sound_files_are_accepted_with_their_length_and_damaged_ones_are_not(fuzz):
    seconds_by_path = {}
    for row in read_rows(fuzz.folder / 'utterances.csv'):
        seconds_by_path[row['path']] = float(row['seconds'])
    rejected = read_rows(fuzz.folder / 'rejected.csv')
    reason_by_path = {row['path']: row['reason'] for row in rejected}
    for path, case in fuzz.cases.items():
        if case.seconds is EITHER:
            continue
        if case.seconds == REJECT:
            assert path in reason_by_path, f'{path}: {seconds_by_path[path]} s'
        else:
            assert path in seconds_by_path, f'{path}: {reason_by_path[path]}'
            assert abs(seconds_by_path[path] - case.seconds) <= case.tolerance, path


def test_every_reason_is_one_short_line_without_the_path(fuzz):
    for row in read_rows(fuzz.folder / 'rejected.csv'):
        assert 3 < len(row['reason']) < 120, row
        assert row['reason'].isprintable(), row
        assert os.path.dirname(row['path']) not in row['reason'], row


def test_all_features_are_finite_and_have_a_frame_every_10_ms(fuzz):
    rows = read_rows(fuzz.folder / 'utterances.csv')
    utterances = shards.read_columns(fuzz.folder)
    assert len(utterances) == len(rows)
    frames = [1 + round(float(row['seconds']) * 16_000) // 160 for row in rows]
    assert utterances.frames_N.tolist() == frames
    assert np.isfinite(dataset.read_all_features(utterances)).all()
    assert np.isfinite(utterances.mean_NxM).all()
    assert np.isfinite(utterances.variance_NxM).all()
    assert np.isfinite(utterances.signature_NxS).all()
