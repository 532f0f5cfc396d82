"""Finds the audio files of a folder, and describes their segments for prediction."""

import os
import stat
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.features import decode

AUDIO_SUFFIXES = (
    '.wav',
    '.flac',
    '.ogg',
    '.oga',
    '.opus',
    '.mp3',
    '.mp2',
    '.aif',
    '.aiff',
    '.aifc',
    '.au',
    '.snd',
    '.caf',
    '.w64',
    '.rf64',
    '.sph',
    *decode.VIDEO_SUFFIXES,
)


class Segment(NamedTuple):
    """A part of a recording that is predicted as one utterance; times in seconds."""

    start: float
    end: float
    model_input: np.ndarray | None  # mel_TxM, or samples for a frozen encoder; None if silent


class Recording(NamedTuple):
    """A file with its segments, or with the reason why it has no prediction."""

    name: str
    seconds: float = 0.0
    segments: tuple[Segment, ...] = ()
    error: str = ''


class FolderContent(NamedTuple):
    """The files in a folder and its subfolders, sorted; hidden files and folders are left out."""

    audio: list[Path]  # by their suffix or their first bytes
    others: list[Path]


def to_path(path) -> Path:
    """Returns a path that a user names; UserError if it is empty, which would be this folder."""
    if isinstance(path, str) and not path:
        raise UserError(
            'One of the paths is empty (""), probably from a variable of the shell that is not '
            'set. Name a file or a folder; this folder is "."'
        )
    return Path(path)


def list_folder(folder: Path) -> FolderContent:
    """Returns the files below a folder: those that are predicted, and all others."""
    content = FolderContent([], [])
    for path in sorted(folder.rglob('*')):
        names = path.relative_to(folder).parts
        is_hidden = any(name.startswith('.') for name in names)
        if is_hidden or os.path.isdir(path):
            continue
        (content.audio if _is_audio_file(path) else content.others).append(path)
    return content


def expand_folder(path: Path) -> list[Path]:
    """Returns [path] for a file, or all audio files in a folder and its subfolders, sorted.

    Hidden files and folders are left out. For a folder without audio files it returns [path].
    """
    if not os.path.isdir(path):  # Path.is_dir raises an error for a name that is too long
        return [path]
    return list_folder(path).audio or [path]


def _is_audio_file(path: Path) -> bool:
    """Returns whether the suffix or the first bytes of a file are those of audio."""
    if path.suffix.lower() in AUDIO_SUFFIXES:
        return True
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would block
            return False
        with decode.open_content(path) as content:
            return decode.looks_like_audio(content)
    except (OSError, ValueError):  # ValueError: an empty file
        return False
