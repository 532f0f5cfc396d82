"""Makes odd audio files at random: unusual formats, damaged, joined, of other kinds, hostile."""

import io
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

OTHER_WAYS = ('other content', 'text', 'samples', 'long')


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


def damage_bytes(way: str, content: bytes, random: np.random.Generator, file_format: str) -> bytes:
    """Returns the content of an audio file damaged in the given way."""
    if way == 'truncated':
        return content[: random.integers(len(content))]
    if way in ('flipped', 'header'):
        return change_bytes(content, random, 0, 64 if way == 'header' else len(content))
    if way == 'joined':
        return content + encode(random, file_format=file_format)[0]
    if way == 'hole':
        start = int(random.integers(len(content)))
        return content[:start] + content[start + int(random.integers(1, 500)) :]
    if way == 'garbage at the end':
        return content + random.bytes(int(random.integers(1, 5_000)))
    return content


def make_other_content(way: str, random: np.random.Generator) -> tuple[bytes, str]:
    """Returns the content of a file that is no damaged audio, and what it is."""
    if way == 'other content':
        content = damage.OTHER_KINDS[random.integers(len(damage.OTHER_KINDS))]
        return content, repr(content[:8])
    if way == 'text':
        content = TEXTS[random.integers(len(TEXTS))]
        return content, repr(content[:8])
    file = io.BytesIO()
    if way == 'samples':
        wave, kind = odd_samples(random)
        soundfile.write(file, wave, 16_000, format='WAV', subtype='FLOAT')
        return file.getvalue(), kind
    seconds = int(random.integers(60, 180))  # small on disk, large when decoded
    soundfile.write(file, np.zeros((16_000 * seconds, 8), np.int16), 16_000, format='FLAC')
    return file.getvalue(), f'{seconds} s of silence'


def write_odd_file(
    folder: Path, number: int, random: np.random.Generator
) -> tuple[Path, str, float | None]:
    """Writes a file; returns its path, what it is, and the length to be accepted if it is whole."""
    way = WAYS[random.integers(len(WAYS))]
    suffix = SUFFIXES[random.integers(len(SUFFIXES))]
    path = folder / f'{number}{suffix}'
    expected = None
    if way in OTHER_WAYS:
        content, kind = make_other_content(way, random)
    else:
        content, seconds, kind = encode(random)
        content = damage_bytes(way, content, random, kind.partition(' ')[0])
        expected = seconds if way == 'whole' else None
    path.write_bytes(content)
    if way == 'node':
        kind = damage.replace_node(path, random)
    return path, f'{path.name}, {way}, {kind}', expected
