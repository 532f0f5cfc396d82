"""Recognises by their first bytes files that are no audio, table or weights, whatever their names.

Sound files are recognised by `features.containers`, `features.mpeg` and `features.soundtracks`.
"""

import re
from typing import NamedTuple

HEAD_BYTES = 4096  # enough for every kind that is recognised here


class FileKind(NamedTuple):
    """A kind of file that is often given where another kind is expected."""

    name: str  # with its article: 'a ZIP archive'
    advice: str  # what to do, as a clause


GIT_LFS = FileKind('a Git LFS pointer, not the file itself', 'run `git lfs pull`')
HTML = FileKind('a web page (HTML), not the file itself', 'download the file again')
JSON = FileKind('a JSON text', 'name the right file, or download it again')
XLSX = FileKind('an Excel workbook', 'save it as CSV (UTF-8)')
XLS = FileKind('an old Office file, such as an Excel workbook (.xls)', 'save it as CSV (UTF-8)')
ZIP = FileKind('a ZIP archive', 'unpack it')
GZIP = FileKind('a gzip archive', 'unpack it')
TAR = FileKind('a tar archive', 'unpack it')
SEVEN_ZIP = FileKind('a 7z archive', 'unpack it')
RAR = FileKind('a RAR archive', 'unpack it')
XZ = FileKind('an xz archive', 'unpack it')
BZIP2 = FileKind('a bzip2 archive', 'unpack it')
PDF = FileKind('a PDF document', 'name the right file')
IMAGE = FileKind('a picture', 'name the right file')
XML = FileKind('an XML text', 'name the right file, or download it again')
UTF_16 = FileKind('text in UTF-16', 'save it as UTF-8')
UTF_32 = FileKind('text in UTF-32', 'save it as UTF-8')
PICKLE = FileKind('a PyTorch or pickle file', 'name the right file')
NUMPY = FileKind('a NumPy array', 'name the right file')
HDF5 = FileKind('an HDF5 file', 'name the right file')
APPLE_DOUBLE = FileKind('properties of another file, left by macOS', 'delete it')
PARQUET = FileKind('a Parquet file', 'save it as CSV (UTF-8)')
ARROW = FileKind('a Feather or Arrow file', 'save it as CSV (UTF-8)')
SQLITE = FileKind('an SQLite database', 'save the table as CSV (UTF-8)')
RTF = FileKind('a document of a word processor (RTF)', 'save it as plain text (UTF-8)')
BINARY = FileKind('no text, as it has zero bytes', 'name the right file, or save it as CSV (UTF-8)')
TEXT = FileKind('a text file', 'name the right file, or download it again')
ZEROS = FileKind('nothing but zero bytes', 'copy or download it again')

# The first bytes of each kind; the longer ones of a common beginning come first.
_MAGIC: tuple[tuple[bytes, FileKind], ...] = (
    (b'version https://git-lfs', GIT_LFS),
    (b'PK\x03\x04', ZIP),
    (b'PK\x05\x06', ZIP),
    (b'\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1', XLS),
    (b'\x1f\x8b', GZIP),
    (b'7z\xbc\xaf\x27\x1c', SEVEN_ZIP),
    (b'Rar!\x1a\x07', RAR),
    (b'\xfd7zXZ\0', XZ),
    (b'BZh', BZIP2),
    (b'%PDF-', PDF),
    (b'\x89PNG\r\n', IMAGE),
    (b'\xff\xd8\xff\xe0', IMAGE),
    (b'\xff\xd8\xff\xe1', IMAGE),
    (b'GIF8', IMAGE),
    (b'\xff\xfe\0\0', UTF_32),
    (b'\0\0\xfe\xff', UTF_32),
    (b'\x80\x02', PICKLE),
    (b'\x80\x03', PICKLE),
    (b'\x80\x05\x95', PICKLE),
    (b'\x80\x04', PICKLE),
    (b'\x93NUMPY', NUMPY),
    (b'\x89HDF\r\n', HDF5),
    (b'PAR1', PARQUET),
    (b'ARROW1\0\0', ARROW),
    (b'SQLite format 3\0', SQLITE),
    (b'{\\rtf', RTF),
    (b'\0\x05\x16\x07', APPLE_DOUBLE),
)
_XLSX_MEMBERS = (b'xl/', b'[Content_Types].xml', b'docProps/')
# After the mark of UTF-16 the next byte is that of a letter; in MPEG audio, which may begin with
# the same two bytes, it is not followed by a zero.
_UTF_16_MARKS = {b'\xff\xfe': 1, b'\xfe\xff': 0}
_CONTROL_BYTES = re.compile(rb'[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]')


def recognise(head: bytes) -> FileKind | None:
    """Returns the kind of a file that begins with `head`, or None if it is none of those here.

    Audio, tables (CSV) and safetensors are none of them. `head` is the beginning of the file, up
    to HEAD_BYTES. A plain text is TEXT only if `recognise_text` says so.
    """
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            is_workbook = kind is ZIP and any(member in head for member in _XLSX_MEMBERS)
            return XLSX if is_workbook else kind
    if _is_utf_16(head):
        return UTF_16
    if head[257:262] == b'ustar':
        return TAR
    return _recognise_markup(head)


def _is_utf_16(head: bytes) -> bool:
    """Returns whether the bytes are UTF-16, with its mark or, in Latin letters, without it."""
    if head[:2] in _UTF_16_MARKS:
        zeros = head[2 + _UTF_16_MARKS[head[:2]] : 66 : 2]
        return len(head) == 2 or zeros.count(0) > len(zeros) // 2 or _decodes_as_utf_16(head)
    sample = head[: len(head) // 2 * 2][:64]
    if len(sample) < 8:
        return False
    for zeros, letters in ((sample[1::2], sample[::2]), (sample[::2], sample[1::2])):
        if not any(zeros) and all(9 <= letter < 127 for letter in letters):
            return True
    return False


def _decodes_as_utf_16(head: bytes) -> bool:
    """Returns whether bytes that begin with a mark of UTF-16 are text in it."""
    text = head[: len(head) // 2 * 2].decode('utf-16', errors='replace')
    printable = sum(character.isprintable() or character.isspace() for character in text)
    return '\ufffd' not in text[:-1] and printable > 0.95 * len(text)


def _recognise_markup(head: bytes) -> FileKind | None:
    """Returns HTML, XML or JSON, or None."""
    text = head.removeprefix(b'\xef\xbb\xbf').lstrip()[:512].lower()
    if re.match(rb'<!doctype html|<html|<head|<body|<!--', text) or _has_late_html(text):
        return HTML
    if text.startswith((b'<?xml', b'<error')):
        return XML
    if re.match(rb'\{\s*"|\[\s*[{"\]]', text):
        return JSON
    return None


def _has_late_html(text: bytes) -> bool:
    """Returns whether a page begins after other text, which the tags of an audio file do not."""
    return b'<html' in text[:256] and not _CONTROL_BYTES.search(text)


def recognise_text(head: bytes) -> FileKind | None:
    """Returns TEXT for a plain text and ZEROS for zero bytes, where only binary data is meant."""
    if head and not any(head):
        return ZEROS
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # else a character is cut at the end
            return None
    return None if not head or _CONTROL_BYTES.search(head) else TEXT


def describe(kind: FileKind) -> str:
    """Returns what a file of this kind is, and what to do: for the end of a message."""
    return f'it is {kind.name}: {kind.advice}'
