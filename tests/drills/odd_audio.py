"""Makes odd audio files at random: unusual formats, damaged, joined, of other kinds, hostile."""

import io
import os
from pathlib import Path

import numpy as np
import soundfile
from drills import damage

RATES = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000)
FORMATS = {
    'WAV': ('PCM_U8', 'PCM_16', 'PCM_24', 'PCM_32', 'FLOAT', 'DOUBLE', 'ULAW', 'IMA_ADPCM'),
    'FLAC': ('PCM_16', 'PCM_24'),
    'OGG': ('VORBIS', 'OPUS'),
    'MP3': ('MPEG_LAYER_III',),
    'AIFF': ('PCM_16', 'FLOAT'),
    'AU': ('PCM_16', 'ULAW'),
    'CAF': ('PCM_16', 'FLOAT'),
    'W64': ('PCM_16',),
    'RF64': ('PCM_16',),
    'NIST': ('PCM_16',),
}
SUFFIXES = ('.wav', '.flac', '.ogg', '.mp3', '.aiff', '.au', '.caf', '.w64', '.m4a', '.avi', '')
TEXTS = (
    b'ffconcat version 1.0\nfile /etc/passwd\n',
    b'v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n',
    b'#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n',
    b'RIFF\xff\xff\xff\x7fWAVEfmt ' + bytes(60),
    b'fLaC' + bytes(60),
    b'OggS' + bytes(200),
    b'ID3\x04\0\0\x7f\x7f\x7f\x7f' + bytes(100),
    b'\0\0\0\x20ftypM4A ' + bytes(100),
    b'\x1aE\xdf\xa3' + b'\xff' * 100,
    b'#!AMR\n' + b'\x3c' * 500,
    b'FORM\x7f\xff\xff\xffAIFFCOMM' + b'\xff' * 60,
)
WAYS = (
    'whole',
    'whole',
    'truncated',
    'truncated',
    'flipped',
    'flipped',
    'header',
    'header',
    'joined',
    'hole',
    'garbage at the end',
    'other content',
    'text',
    'node',
    'samples',
    'samples',
    'long',
)


def encode(random: np.random.Generator, wave=None, file_format=None) -> tuple[bytes, float, str]:
    """Returns an audio file of noise or of `wave`, its length in seconds, and its format."""
    file_format = file_format or list(FORMATS)[random.integers(len(FORMATS))]
    subtypes = FORMATS[file_format]
    subtype = subtypes[random.integers(len(subtypes))]
    rate = 48_000 if subtype == 'OPUS' else RATES[random.integers(len(RATES))]
    if wave is None:
        channels = 1 if subtype == 'IMA_ADPCM' else int(random.integers(1, 3))
        seconds = random.uniform(0.3, 1.0)
        wave = random.uniform(-0.5, 0.5, (round(seconds * rate), channels))
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=file_format, subtype=subtype)
    return file.getvalue(), len(wave) / rate, f'{file_format} {subtype}'


def odd_samples(random: np.random.Generator) -> tuple[np.ndarray, str]:
    """Returns samples that no microphone makes, and what they are."""
    noise = random.uniform(-0.5, 0.5, (12_000, 1))
    kinds = {
        'nan': np.where(random.random(noise.shape) < 0.001, np.nan, noise),
        'inf': np.where(random.random(noise.shape) < 0.001, np.inf, noise),
        'integers': np.round(noise * 32_767),
        'inverted': np.concatenate([noise, -noise], axis=1),
        'constant': np.full_like(noise, 0.3),
        'silent': np.zeros_like(noise),
        'tiny': noise * 1e-30,
        'large': noise * 1e30,
        'short': noise[:50],
        'empty': noise[:0],
        'one sample': noise[:1],
    }
    name = list(kinds)[random.integers(len(kinds))]
    return kinds[name], name


def change_bytes(content: bytes, random: np.random.Generator, first: int, last: int) -> bytes:
    """Returns the content with one to eight bytes replaced between two places."""
    damaged = bytearray(content)
    last = min(last, len(damaged))
    for _ in range(random.integers(1, 9)):
        damaged[random.integers(first, last)] = random.integers(256)
    return bytes(damaged)


def write_odd_file(
    folder: Path, number: int, random: np.random.Generator
) -> tuple[Path, str, float | None]:
    """Writes a file; returns its path, what it is, and the length to be accepted if it is whole."""
    way = WAYS[random.integers(len(WAYS))]
    content, seconds, kind = encode(random)
    suffix = SUFFIXES[random.integers(len(SUFFIXES))]
    path = folder / f'{number}{suffix}'
    expected = None
    if way == 'whole':
        expected = seconds
    elif way == 'truncated':
        content = content[: random.integers(len(content))]
    elif way == 'flipped':
        content = change_bytes(content, random, 0, len(content))
    elif way == 'header':
        content = change_bytes(content, random, 0, 64)
    elif way == 'joined':
        content += encode(random, file_format=kind.partition(' ')[0])[0]
    elif way == 'hole':
        start = int(random.integers(len(content)))
        content = content[:start] + content[start + int(random.integers(1, 500)) :]
    elif way == 'garbage at the end':
        content += random.bytes(int(random.integers(1, 5_000)))
    elif way == 'other content':
        content = damage.OTHER_KINDS[random.integers(len(damage.OTHER_KINDS))]
    elif way == 'text':
        content = TEXTS[random.integers(len(TEXTS))]
    elif way == 'samples':
        wave, kind = odd_samples(random)
        file = io.BytesIO()
        soundfile.write(file, wave, 16_000, format='WAV', subtype='FLOAT')
        content = file.getvalue()
    elif way == 'long':  # small on disk, large when decoded
        file = io.BytesIO()
        wave = np.zeros((16_000 * int(random.integers(60, 180)), 8), np.int16)
        soundfile.write(file, wave, 16_000, format='FLAC')
        content = file.getvalue()
    path.write_bytes(content)
    if way == 'node':
        kind = damage.replace_node(path, random)
        if kind == 'missing' and random.random() < 0.5:
            os.symlink('/dev/stdin', path)
    return path, f'{path.name}, {way}, {kind}', expected
