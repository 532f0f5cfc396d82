"""Some 300 damaged and odd files through the real command: nothing crashes or hangs, nothing is lost, nothing is garbage."""

import csv
import io
import math
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

from data_pipelines.features.log_mel import LogMel
from data_pipelines.storage import dataset, prepared, shards

pytestmark = pytest.mark.filterwarnings(
    'default'
)  # TensorFlow and TFDS have deprecations of their own
EITHER = math.nan  # damage that a decoder may or may not notice
REJECT = 0.0
RATES = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000)
SUBTYPES = ('PCM_U8', 'PCM_16', 'PCM_24', 'PCM_32', 'FLOAT', 'DOUBLE', 'ULAW', 'ALAW')


class Case(NamedTuple):
    """A file to be: its name, its content or what makes it at a path, the seconds that are to be accepted, and how exactly."""

    name: bytes
    content: bytes | Callable[[Path], None] | None
    seconds: float
    tolerance: float = 2e-3


def encoded(
    random, seconds=0.3, rate=16_000, channels=1, form='WAV', subtype=None, spoilt=None
) -> bytes:
    """Noise as the content of a file."""
    wave = random.uniform(-0.5, 0.5, (round(seconds * rate), channels))
    if spoilt is not None:
        wave[random.integers(len(wave))] = spoilt
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=form, subtype=subtype)
    return file.getvalue()


def flipped(random, content: bytes, first: int, last: int) -> bytes:
    """One to eight bits of a stretch turned over."""
    damaged = bytearray(content)
    for at in random.integers(first, last, random.integers(1, 9)):
        damaged[at] ^= 1 << random.integers(8)
    return bytes(damaged)


def png() -> bytes:
    """A picture of one pixel."""
    chunks = (
        b'IHDR' + struct.pack('>IIBBBBB', 1, 1, 8, 0, 0, 0, 0),
        b'IDAT' + zlib.compress(b'\0\0'),
        b'IEND',
    )
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(c) - 4) + c + struct.pack('>I', zlib.crc32(c)) for c in chunks
    )


def locked(path: Path) -> None:
    path.write_bytes(encoded(np.random.default_rng(0)))
    path.chmod(0)


def cases(random) -> Iterator[Case]:
    """All that is tried, the same for the same random numbers."""
    good = encoded(random)
    for s, subtype in enumerate(SUBTYPES):
        for r, rate in enumerate(RATES):
            channels, seconds = 1 + (s + r) % 8, random.uniform(0.15, 0.4)
            yield Case(b'', encoded(random, seconds, rate, channels, subtype=subtype), seconds)
    for rate, channels in zip(RATES, (1, 2, 8, 5, 2, 1, 2, 1)):
        yield Case(b'.flac', encoded(random, 0.3, rate, channels, 'FLAC'), 0.3)
    for rate in RATES[:6]:
        yield Case(b'.ogg.wav', encoded(random, 0.3, rate, 2, 'OGG'), 0.3)
        yield Case(
            b'.mp3.wav', encoded(random, 0.5, rate, 1, 'MP3'), 0.5, 0.15
        )  # frames of 1,152 samples
    yield Case(b'ten_minutes', encoded(random, 600, 8_000, subtype='ULAW'), 600)
    yield Case(b'flac_inside', encoded(random, form='FLAC'), 0.3)
    yield Case(b'wav_inside.flac', good, 0.3)
    for name in (
        b'\xff\xfe\x80',
        b'new\nline',
        b'com,ma',
        b'quo"te',
        b"apo'strophe",
        b' spaces ',
        b'-dash',
        b'\xf0\x9f\x8e\xa4',
    ):
        yield Case(name, good, 0.3)
    yield Case(b'x' * 251 + b'.wav', good, 0.3)
    yield Case(b'linked', lambda path: path.symlink_to(path.parent / ('x' * 251 + '.wav')), 0.3)

    for n in range(8):
        yield Case(b'', b'', REJECT)
        yield Case(b'', good[:44], REJECT)
        yield Case(b'', encoded(random, 0), REJECT)
        yield Case(b'', encoded(random, 0.02, RATES[n]), REJECT)
        yield Case(
            b'',
            encoded(
                random, subtype=('FLOAT', 'DOUBLE')[n % 2], spoilt=(np.nan, np.inf, -np.inf)[n % 3]
            ),
            REJECT,
        )
    for form in ('WAV', 'FLAC', 'OGG', 'MP3'):
        whole = encoded(random, 1.0, form=form)
        for cut in random.integers(1, len(whole) - 200, 15):
            yield Case(b'', whole[:cut], EITHER if form in ('OGG', 'MP3') else REJECT)
        for _ in range(12):
            yield Case(b'', flipped(random, whole, 0, 60), EITHER)
            yield Case(
                b'', flipped(random, whole, 60, len(whole)), 1.0 if form == 'WAV' else EITHER
            )
    for subtype in ('FLOAT', 'DOUBLE', 'IMA_ADPCM'):
        whole = encoded(random, subtype=subtype)
        for _ in range(6):
            yield Case(b'', flipped(random, whole, 0, len(whole)), EITHER)
    for size in (1, 3, 11, 12, 43, 1_000, 100_000):
        yield Case(b'', random.bytes(size), EITHER)
    for text in (b'', b'speech\n', b'<html>404 Not Found</html>\n' * 40):
        yield Case(b'', b'RIFF' + text, REJECT)
        yield Case(b'', b'a' + text, REJECT)
    yield Case(b'', png(), REJECT)
    yield Case(b'', pickle.dumps({'a': [1, 2, 3]}), REJECT)
    yield Case(b'', encoded(np.random.RandomState(0), 0.3)[:44] + bytes(9_600), REJECT)  # silence
    yield Case(b'folder', Path.mkdir, REJECT)
    yield Case(b'fifo', os.mkfifo, REJECT)
    yield Case(b'dead_link', lambda path: path.symlink_to('gone'), REJECT)
    yield Case(b'loop', lambda path: path.symlink_to(path.name), REJECT)
    yield Case(b'locked', locked, 0.3 if os.geteuid() == 0 else REJECT)
    yield Case(b'gone', None, REJECT)
    yield Case(b'y' * 300 + b'.wav', None, REJECT)


@pytest.fixture(scope='module')
def tried(tmp_path_factory) -> tuple[dict[str, Case], Path]:
    """Each case by the path of its file, and the folder of the data set that the command made of them."""
    folder = tmp_path_factory.mktemp('fuzz')
    found = {}
    for n, case in enumerate(cases(np.random.default_rng(0))):
        name = (
            case.name
            if case.name.endswith(b'.wav') and len(case.name) > 200
            else b'%d%s' % (n, case.name)
        )
        path = Path(
            os.fsdecode(
                os.fsencode(folder)
                + b'/'
                + (name if name.endswith((b'.wav', b'.flac')) else name + b'.wav')
            )
        )
        if isinstance(case.content, bytes):
            path.write_bytes(case.content)
        elif case.content:
            case.content(path)
        found[str(path)] = case
    with open(
        folder / 'list.csv', 'w', newline='', encoding='utf-8', errors='surrogateescape'
    ) as file:
        rows = csv.writer(file)
        rows.writerow(['path', 'speaker', 'emotion'])
        rows.writerows([os.path.basename(path), 's', 'sad'] for path in found)
    command = [
        sys.executable,
        '-m',
        'data_pipelines.prepare',
        'folder',
        '--source',
        folder / 'list.csv',
        '--out',
        folder / 'data',
    ]
    done = subprocess.run([*command, '--workers', '2'], capture_output=True, timeout=240)
    assert done.returncode == 0, done.stderr.decode()
    assert b'Traceback' not in done.stderr
    return found, prepared.find_dataset(folder / 'data', 'folder', LogMel())


def rows(path: Path) -> list[dict]:
    with open(path, newline='', encoding='utf-8', errors='surrogateescape') as file:
        return list(csv.DictReader(file))


def test_accepted_and_rejected_are_all_that_was_tried(tried):
    """Each once, in the order of the list."""
    found, home = tried
    accepted, rejected = (
        [r['path'] for r in rows(home / name)] for name in ('utterances.csv', 'rejected.csv')
    )
    assert len(found) > 250
    assert sorted(accepted + rejected) == sorted(found)
    assert accepted == [p for p in found if p in set(accepted)]


def test_what_is_sound_is_accepted_and_what_is_damaged_is_not(tried):
    """With as many seconds as there are."""
    found, home = tried
    accepted = {r['path']: float(r['seconds']) for r in rows(home / 'utterances.csv')}
    reasons = {r['path']: r['reason'] for r in rows(home / 'rejected.csv')}
    for path, case in found.items():
        if case.seconds == REJECT:
            assert path in reasons, f'{path}: {accepted[path]} s'
        elif case.seconds == case.seconds:
            assert path in accepted, f'{path}: {reasons[path]}'
            assert abs(accepted[path] - case.seconds) <= case.tolerance, path


def test_every_reason_is_a_few_words(tried):
    """One line, without the path, which stands beside it."""
    _, home = tried
    for row in rows(home / 'rejected.csv'):
        assert 3 < len(row['reason']) < 90, row
        assert row['reason'].isprintable(), row
        assert os.path.dirname(row['path']) not in row['reason'], row


def test_all_features_are_finite_and_as_long_as_the_sound(tried):
    """A frame every 10 ms."""
    _, home = tried
    listed, utterances = rows(home / 'utterances.csv'), shards.read_columns(home)
    assert len(utterances) == len(listed)
    assert utterances.frames_N.tolist() == [
        1 + round(float(r['seconds']) * 16_000) // 160 for r in listed
    ]
    assert np.isfinite(dataset.read_all_features(utterances)).all()
    assert np.isfinite(utterances.mean_NxM).all()
    assert np.isfinite(utterances.variance_NxM).all()
    assert np.isfinite(utterances.signature_NxS).all()
