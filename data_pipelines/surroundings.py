"""Provides what a process may lack: a folder for caches, and output that shows every letter."""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

CACHE_VARIABLE = 'XDG_CACHE_HOME'


def cache_folder() -> Path | None:
    """Returns the user's folder for caches, or None if there is none that can be written."""
    named = os.environ.get(CACHE_VARIABLE, '')
    try:
        folder = Path(named) if os.path.isabs(named) else Path.home() / '.cache'
    except RuntimeError:  # neither $HOME nor an entry for this user
        return None
    if not folder.is_absolute():
        return None
    existing = folder
    while not os.path.exists(existing):  # Path.exists raises an error for a name that is too long
        existing = existing.parent
    return folder if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK) else None


def provide_cache_folder() -> None:
    """Makes a temporary folder for caches if there is none; it is removed at the end.

    Without one librosa cannot be imported. Child processes use the same folder.
    """
    if cache_folder() is None:
        folder = tempfile.mkdtemp(prefix='jaxser-cache-')
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ[CACHE_VARIABLE] = folder
        os.environ.setdefault('MPLCONFIGDIR', f'{folder}/matplotlib')
        if not os.path.isabs(os.path.expanduser('~')):
            os.environ.setdefault('KERAS_HOME', f'{folder}/keras')  # else it makes a folder `~`


def tolerate_any_letter() -> None:
    """Lets output show a character that the terminal cannot show as an escape, not as an error.

    In the locale C Python chooses `surrogateescape`. It prints all names of files, but other
    letters only if the encoding has them.
    """
    for stream in (sys.stdout, sys.stderr):
        errors = getattr(stream, 'errors', None)
        has_all_letters = (getattr(stream, 'encoding', None) or '').lower().startswith('utf')
        raises = errors == 'strict' or (errors == 'surrogateescape' and not has_all_letters)
        if raises and hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')
