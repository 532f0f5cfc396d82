"""Removes what is private from commands and values: folders of a person, and names of speakers."""

import re
import shlex
from pathlib import PureWindowsPath

from data_pipelines.terminal import escape_control_characters

# Flags whose value is private, whatever it is.
PRIVATE_FLAGS = ('--config.model.upstream',)
ABSOLUTE_PATH = re.compile(r'/|~|[a-z]+://|file:|[A-Za-z]:[\\/]|\\\\')


def anonymize_command(command: str) -> str:
    """Returns a command without the folders of a person: they are FOLDER.

    These are absolute paths, and that of a checkpoint. A choice of speakers is SPEAKERS.
    """
    words = []
    hides_next = False
    for word in shlex.split(command):
        flag, equals, value = word.partition('=')
        if names_speakers(word):  # the value of the word before
            flag, equals, value = '', '', word
        hides_value = flag in PRIVATE_FLAGS
        if not equals:
            flag, value = '', word
            hides_value, hides_next = hides_next, hides_value
        words.append(f'{flag}{equals}{anonymize_value(value, hides_value)}')
    line = escape_control_characters(shlex.join(words))
    return '' if '```' in line else line


def anonymize_value(value: str, is_private: bool = False) -> str:
    """Returns a value in which an absolute path is FOLDER and the last name of the path.

    A private value is FOLDER, and a choice of speakers is SPEAKERS.
    """
    if is_private:
        return 'FOLDER'
    if names_speakers(value):
        return 'SPEAKERS'
    is_path = ABSOLUTE_PATH.match(value) is not None
    return f'FOLDER/{PureWindowsPath(value).name}' if is_path else value


def names_speakers(value: str) -> bool:
    """Returns whether a value of config.data.only may choose or leave out speakers by name."""
    return re.match(r'\s*(speaker|path|utterance)\s*!?=', value) is not None
