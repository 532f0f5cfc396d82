"""Finds the files that the user's own list names, even if it writes their names differently.

A path is taken as it is written wherever there is such a file. Only if there is none are others
tried: without blanks or quotation marks at its ends, with / for backslashes, with the home folder
for ~, without file://, with letters for codes such as %20 and for bytes of Windows-1252, and files
whose names differ in Unicode form, blanks, case, characters that cannot be seen, or suffix only.
"""

import collections
import os
import re
import unicodedata
import urllib.parse
from collections.abc import Callable, Iterable
from pathlib import Path

from data_pipelines.audio_files import AUDIO_SUFFIXES, OTHER_AUDIO_SUFFIXES
from data_pipelines.errors import UserError
from data_pipelines.speaker_names import visible
from data_pipelines.terminal import print_text
from data_pipelines.wording import TYPOGRAPHIC_CHARACTERS, pluralize, remove_invisible

MAX_EXAMPLES = 3
QUOTATION_MARKS = '"\'\u201c\u201d'
ALL_SUFFIXES = (*AUDIO_SUFFIXES, *OTHER_AUDIO_SUFFIXES)


class PathFinder:
    """Finds files below the folder of a list.

    It remembers the paths that it changed, and how many files it found.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.changes: dict[str, dict[str, str]] = collections.defaultdict(dict)  # by kind
        self.missing: list[str] = []
        self.found_count = 0
        self._names_by_form: dict[Path, dict[str, list[str]]] = {}
        self._names_by_case: dict[Path, dict[str, list[str]]] = {}
        self._names_by_stem: dict[Path, dict[str, list[str]]] = {}

    def find(self, text: str) -> str:
        """Returns the path under which a file exists, or `text` if there is none."""
        path = self._find_path(text)
        if path is None:
            self.missing.append(text)
            return text
        self.found_count += 1
        return path

    def _find_path(self, text: str) -> str | None:
        """Returns the path under which a file exists, or None."""
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
                    return self._remember(', '.join(kinds), text, variant)
        spelled = self._find_spelling(variant)
        if spelled is None:
            return None
        return self._remember(', '.join(kinds + _spelling_kinds(variant, spelled)), text, spelled)

    def _remember(self, kind: str, text: str, variant: str) -> str:
        """Stores that `text` is read as `variant`, and returns that."""
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
        if folder not in self._names_by_form:
            self._read_names(folder)
        similar = self._names_by_form[folder].get(_fold_form(name))
        if similar is None:
            similar = self._names_by_case[folder].get(_fold_case(name))
        if similar is None:
            similar = self._names_by_stem[folder].get(_fold_stem(name), [])
        return similar[0] if len(similar) == 1 else None

    def _read_names(self, folder: Path) -> None:
        """Reads the names in a folder once, as a list may have many paths of other spelling."""
        try:
            names = os.listdir(folder)
        except (OSError, ValueError):
            names = []
        by_form = collections.defaultdict(list)
        by_case = collections.defaultdict(list)
        by_stem = collections.defaultdict(list)
        for name in names:
            by_form[_fold_form(name)].append(name)
            by_case[_fold_case(name)].append(name)
            by_stem[_fold_stem(name)].append(name)
        self._names_by_form[folder] = dict(by_form)
        self._names_by_case[folder] = dict(by_case)
        self._names_by_stem[folder] = dict(by_stem)

    def print_changes(self) -> None:
        """Prints a sentence for each kind of path that was read otherwise than it is written."""
        for kind, variants in self.changes.items():
            verb = 'is' if len(variants) == 1 else 'are'
            print_text(
                f'{pluralize(len(variants), "path")} of the list {verb} not written as the file is '
                f'named ({kind}), and {verb} read as: {_list_variants(variants)}.'
            )

    def check_folder(self) -> None:
        """Raises a UserError if no file was found, but is in the current folder."""
        if self.found_count or not self.missing or not os.path.exists(self.missing[0]):
            return
        raise UserError(
            f'None of the files of the list is in its folder, {self.folder.absolute()}; '
            f'{visible(self.missing[0])} is in the current folder. Paths are relative to the list: '
            f'move it to {Path.cwd()}, or write absolute paths.'
        )


def _fold_form(name: str) -> str:
    """Returns a name in the Unicode form NFC, without blanks at its ends."""
    return unicodedata.normalize('NFC', name).strip()


def _fold_case(name: str) -> str:
    """Returns a name in the Unicode form NFKC and lower case, with single blanks."""
    text = unicodedata.normalize('NFKC', name.translate(TYPOGRAPHIC_CHARACTERS)).casefold()
    return remove_invisible(' '.join(text.split())).strip()


def _fold_stem(name: str) -> str:
    """Returns what `_fold_case` does, without the suffix of an audio file."""
    stem, suffix = os.path.splitext(_fold_case(name))
    return stem if suffix in ('', *ALL_SUFFIXES) else stem + suffix


def _spelling_kinds(written: str, existing: str) -> list[str]:
    """Returns what two names of a file that have one form differ in."""
    if _fold_case(os.path.basename(written)) != _fold_case(os.path.basename(existing)):
        return ['suffix']
    kinds = []
    for kind in SPELLING_CHANGES:
        others = [change for name, change in SPELLING_CHANGES.items() if name != kind]
        if _apply(others, written) != _apply(others, existing):  # the names need this change
            kinds.append(kind)
    # A no-break space, for example, is one of two kinds.
    for kind, change in reversed(SPELLING_CHANGES.items()):
        if not kinds and change(written) == change(existing):
            kinds.append(kind)
    return kinds or ['spelling']


def _apply(changes: list[Callable[[str], str]], text: str) -> str:
    """Returns a text after all changes."""
    for change in changes:
        text = change(text)
    return text


def _to_unicode_form(text: str) -> str:
    """Returns a text in the form NFKC."""
    return unicodedata.normalize('NFKC', text)


def _to_keyboard_characters(text: str) -> str:
    """Returns a text with the hyphens and apostrophes of a keyboard."""
    return text.translate(TYPOGRAPHIC_CHARACTERS)


def _single_blanks(text: str) -> str:
    """Returns a path with single blanks, and none at the ends of its parts."""
    return '/'.join([' '.join(part.split()) for part in text.split('/')])


# What the names of a file may differ in.
SPELLING_CHANGES: dict[str, Callable[[str], str]] = {
    'hyphens and apostrophes': _to_keyboard_characters,
    'Unicode form': _to_unicode_form,
    'upper and lower case': str.casefold,
    'invisible characters': remove_invisible,
    'blanks': _single_blanks,
}


def _letters_of_codes(text: str) -> str:
    """Returns a path with letters for codes such as %20."""
    return urllib.parse.unquote(text, errors='surrogateescape')


def _letters_of_windows(text: str) -> str:
    """Returns a path with letters for the bytes that are not UTF-8."""
    try:
        return os.fsencode(text).decode('cp1252') if not _is_utf_8(text) else text
    except UnicodeDecodeError:
        return text


def _is_utf_8(text: str) -> bool:
    """Returns whether no byte of a text has been escaped."""
    return not re.search('[\\ud800-\\udfff]', text)


def _strip_quotes(text: str) -> str:
    """Returns a path without the quotation marks around it."""
    return text.strip(QUOTATION_MARKS)


def _path_of_address(text: str) -> str:
    """Returns the path of a file:// address; other texts as they are."""
    if not text.lower().startswith('file:'):
        return text
    path = text[len('file:') :]
    if path.startswith('//'):
        path = '/' + path[2:].partition('/')[2]
    return urllib.parse.unquote(path, errors='surrogateescape')


def _replace_backslashes(text: str) -> str:
    """Returns a path of Windows with / between its parts."""
    return text.replace('\\', '/')


# Tried in this order, each change on top of those before it.
PATH_CHANGES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ('blanks at the ends', str.strip),
    ('quotation marks', _strip_quotes),
    ('file://', _path_of_address),
    ('~', os.path.expanduser),
    ('backslashes', _replace_backslashes),
    ('letters of Windows-1252', _letters_of_windows),
    ('codes such as %20', _letters_of_codes),
)


def _list_variants(variants: dict[str, str]) -> str:
    """Returns the first paths, as they are read and as the list has them."""
    listed = []
    for text, variant in list(variants.items())[:MAX_EXAMPLES]:
        listed.append(f'{_shown(variant)} for {_shown(text)}')
    if len(variants) > MAX_EXAMPLES:
        listed.append('...')
    return ', '.join(listed)


def _shown(text: str) -> str:
    """Returns a name in quotes, as a terminal shows it unless it has what cannot be seen.

    The Unicode form cannot be seen either, but it is a kind of difference, and so it is said.
    """
    return repr(text) if remove_invisible(text) == text else visible(text)


def print_unlisted_files(source: Path, paths: Iterable[Path]) -> None:
    """Prints how many audio files are beside the list, or beside its files, but not in the list.

    Args:
      source: The list.
      paths: The paths of its utterances.
    """
    listed = {os.path.abspath(path) for path in paths}
    unlisted = []
    for folder in sorted({os.path.dirname(path) for path in [*listed, os.path.abspath(source)]}):
        try:
            names = sorted(os.listdir(folder))
        except (OSError, ValueError):  # the utterances there are reported as unreadable later
            continue
        for name in names:
            is_audio = os.path.splitext(name)[1].lower() in ALL_SUFFIXES
            is_hidden = name.startswith('.')  # macOS writes ._a.wav beside a.wav
            path = os.path.join(folder, name)
            if is_audio and not is_hidden and path not in listed:
                unlisted.append(name)
    if unlisted:
        verb = 'is' if len(unlisted) == 1 else 'are'
        names = ', '.join([visible(name) for name in unlisted[:MAX_EXAMPLES]])
        more = ', ...' if len(unlisted) > MAX_EXAMPLES else ''
        print_text(
            f'{pluralize(len(unlisted), "audio file")} in the folders of the list and of its files '
            f'{verb} not in {source}: {names}{more}.'
        )
