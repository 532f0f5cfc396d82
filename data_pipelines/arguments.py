"""Types of the arguments of commands, which refuse what cannot be meant."""

import argparse
import os
from pathlib import Path

from data_pipelines.errors import UserError

LONGEST_PATH = 4096  # bytes that Linux allows
ROOM_BELOW = 512  # bytes that the paths of files below a folder of results need


def path_text(text: str) -> str:
    """Returns the text of a path; argparse ends the command with a message if it is empty.

    An empty path would be the folder of the shell.
    """
    if not text:
        raise argparse.ArgumentTypeError(
            'it is empty, probably from a variable of the shell that is not set'
        )
    return text


def local_path(text: str) -> Path:
    """Returns a path on this machine, as `path_text` does."""
    return Path(path_text(text))


def check_length(folder: str | os.PathLike, flag: str) -> None:
    """Raises a UserError for a folder in which the paths of files would be too long.

    Otherwise the work would be done before the first file cannot be written.
    """
    size = len(os.fsencode(os.path.abspath(folder)))
    if size > LONGEST_PATH - ROOM_BELOW:
        raise UserError(
            f'{flag} is a path of {size} bytes, and the files below it need {ROOM_BELOW} of the '
            f'{LONGEST_PATH} that a path may have: choose a shorter one.'
        )
