"""Types of the arguments of commands, which refuse what cannot be meant."""

import argparse
from pathlib import Path


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
