"""Finds the files that a list of the user's own names, also where it writes their names otherwise.

A path is taken as it is written wherever there is such a file. Only if there is none are others
tried: without blanks or quotation marks at its ends, with / for backslashes, with the home folder
for ~, without file://, and files whose names differ in Unicode form, blanks or case only.
"""

import collections
import os
import unicodedata
import urllib.parse
from collections.abc import Callable
from pathlib import Path

from data_pipelines.errors import UserError
from data_pipelines.speaker_names import visible
from data_pipelines.terminal import print_text
from data_pipelines.wording import pluralize

MAX_EXAMPLES = 3
QUOTATION_MARKS = '"\'\u201c\u201d'
SPELLING = 'Unicode form, blanks, upper and lower case'  # what a file's name may differ in


class PathFinder:
    """Finds files below the folder of a list, and remembers which paths were read otherwise."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.changes: dict[str, dict[str, str]] = collections.defaultdict(dict)
        self._names_by_folder: dict[Path, list[str]] = {}

    def find(self, text: str) -> str:
        """Returns the path under which a file exists, or `text` if there is none."""
        if os.path.lexists(self.folder / text):
            return text
        kinds: list[str] = []
        variant = text
        for kind, change in PATH_CHANGES:
            changed = change(variant)
            if changed != variant:
                variant = changed
                kinds.append(kind)
                if variant and os.path.lexists(self.folder / variant):
                    return self._remember(' and '.join(kinds), text, variant)
        spelled = self._find_spelling(variant)
        if spelled is None:
            return text
        return self._remember(' and '.join([*kinds, SPELLING]), text, spelled)

    def _remember(self, kind: str, text: str, variant: str) -> str:
        self.changes[kind][text] = variant
        return variant

    def _find_spelling(self, text: str) -> str | None:
        """Returns the only existing path that is spelled like `text`, or None."""
        parts = []
        for part in Path(text).parts:
            folder = self.folder.joinpath(*parts)
            if not os.path.lexists(folder / part):
                part = self._find_similar(folder, part)
                if part is None:
                    return None
            parts.append(part)
        return os.fspath(Path(*parts)) if parts else None

    def _find_similar(self, folder: Path, name: str) -> str | None:
        """Returns the only name in a folder that equals `name` but for its spelling, or None."""
        if folder not in self._names_by_folder:
            try:
                self._names_by_folder[folder] = os.listdir(folder)
            except (OSError, ValueError):
                self._names_by_folder[folder] = []
        names = self._names_by_folder[folder]
        for fold in (_fold_form, _fold_case):
            similar = [other for other in names if fold(other) == fold(name)]
            if similar:
                return similar[0] if len(similar) == 1 else None
        return None

    def print_changes(self) -> None:
        """Prints a sentence for each kind of path that was read otherwise than it is written."""
        for kind, variants in self.changes.items():
            verb = 'is' if len(variants) == 1 else 'are'
            print_text(
                f'{pluralize(len(variants), "path")} of the list {verb} not written as the file is '
                f'named ({kind}), and {verb} read as: {_list_variants(variants)}.'
            )

    def check_folder(self, paths: list[str]) -> None:
        """Raises a UserError if no file exists here, but in the current folder it does."""
        missing = [path for path in paths if not os.path.lexists(self.folder / path)]
        if len(missing) < len(paths) or not missing or not os.path.exists(missing[0]):
            return
        raise UserError(
            f'None of the files of the list is in its folder, {self.folder.absolute()}; '
            f'{visible(missing[0])} is in the current folder. Paths are relative to the list: '
            f'move it to {Path.cwd()}, or write absolute paths.'
        )


def _fold_form(name: str) -> str:
    """Returns a name in one Unicode form, without blanks at its ends."""
    return unicodedata.normalize('NFC', name).strip()


def _fold_case(name: str) -> str:
    """Returns a name without the differences of blanks and of case."""
    return ' '.join(unicodedata.normalize('NFKC', name).casefold().split())


def _strip_quotes(text: str) -> str:
    return text.strip(QUOTATION_MARKS)


def _path_of_address(text: str) -> str:
    """Returns the path of a file:// address; other texts as they are."""
    if not text.lower().startswith('file:'):
        return text
    path = text[len('file:') :]
    if path.startswith('//'):
        path = '/' + path[2:].partition('/')[2]
    return urllib.parse.unquote(path, errors='surrogateescape')


def _slashes(text: str) -> str:
    return text.replace('\\', '/')


# In this order, each on top of the others.
PATH_CHANGES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ('blanks at the ends', str.strip),
    ('quotation marks', _strip_quotes),
    ('file://', _path_of_address),
    ('~', os.path.expanduser),
    ('backslashes', _slashes),
)


def _list_variants(variants: dict[str, str]) -> str:
    """Returns the first variants in words."""
    listed = []
    for text, variant in list(variants.items())[:MAX_EXAMPLES]:
        listed.append(f'{visible(variant)} for {visible(text)}')
    if len(variants) > MAX_EXAMPLES:
        listed.append('...')
    return ', '.join(listed)
