"""Types and checks of the arguments of commands."""

import argparse
import os
from pathlib import Path

from data_pipelines.errors import UserError

LONGEST_PATH = 4096  # bytes that Linux allows
ROOM_BELOW = 512  # bytes that file names below a folder of results add to its path


def path_text(text: str) -> str:
    """Returns the text of a path, unless it is empty: argparse then prints why and exits.

    An empty path would stand for the current folder.
    """
    if not text:
        raise argparse.ArgumentTypeError(
            'it is empty, probably from a variable of the shell that is not set'
        )
    return text


def local_path(text: str) -> Path:
    """Returns a path on this machine; as `path_text`, it refuses an empty one."""
    return Path(path_text(text))


def check_length(folder: str | os.PathLike, flag: str) -> None:
    """Raises a UserError if the paths of files below `folder` would be too long.

    Without this check the work would end where the first such file is written. `flag` is the flag
    of the command that gives the folder.
    """
    size = len(os.fsencode(os.path.abspath(folder)))
    if size > LONGEST_PATH - ROOM_BELOW:
        raise UserError(
            f'{flag} is a path of {size} bytes. A path may have {LONGEST_PATH}, of which the files '
            f'below it need {ROOM_BELOW}: choose a shorter one.'
        )
