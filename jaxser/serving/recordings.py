"""Finds the audio files of a folder, and describes their segments for prediction."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines.features import decode

AUDIO_SUFFIXES = (
    '.wav',
    '.flac',
    '.ogg',
    '.oga',
    '.opus',
    '.mp3',
    '.aif',
    '.aiff',
    '.aifc',
    '.au',
    '.caf',
    '.w64',
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


def expand_folder(path: Path) -> list[Path]:
    """Returns [path] for a file, or all audio files in a folder and its subfolders, sorted.

    Hidden files are left out. For a folder without audio files it returns [path].
    """
    if not path.is_dir():
        return [path]
    files = [candidate for candidate in path.rglob('*') if _is_audio_file(candidate)]
    return sorted(files) or [path]


def _is_audio_file(path: Path) -> bool:
    has_suffix = path.suffix.lower() in AUDIO_SUFFIXES
    return has_suffix and not path.name.startswith('.') and not path.is_dir()
