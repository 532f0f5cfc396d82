"""Finds the audio files of a corpus below the folder that the user names."""

import re
from collections.abc import Iterable
from pathlib import Path

from data_pipelines.errors import UserError
from data_pipelines.terminal import print_text
from data_pipelines.wording import pluralize

AUDIO_SUFFIXES = ('.wav', '.flac')
OTHER_AUDIO_SUFFIXES = ('.mp3', '.ogg', '.opus', '.m4a', '.aac', '.aiff', '.au')


def find_audio_files(
    root: Path,
    pattern: str,
    example: str,
    parent_count: int = 0,
    suffixes: tuple[str, ...] = AUDIO_SUFFIXES,
) -> list[tuple[Path, re.Match]]:
    """Returns the audio files below `root` whose names match `pattern`, sorted by path.

    The pattern must match the whole name of a file without its suffix. So `root` may be the
    corpus's own folder, a folder above it, or a part of it. Folders and dead links with matching
    names are returned too: they are reported as unreadable later, rather than lost.

    Args:
      root: The folder to search.
      pattern: A regular expression for the name.
      example: The name of such a file, for messages.
      parent_count: How many of the folders above a file the pattern includes: 1 for 'DC/a01'.
      suffixes: The suffixes of audio files, in lower case; any case is accepted.

    Returns:
      Each file with the match of its name.

    Raises:
      UserError: `root` is not a folder, or no file below it matches.
    """
    if not root.is_dir():
        raise UserError(
            f'{root} is not a folder. Set --source to the folder with files like {example}.'
        )
    matches = []
    other_names = []
    other_formats = []
    for path in sorted(root.rglob('*')):
        suffix = path.suffix.lower()
        if suffix not in suffixes and suffix not in OTHER_AUDIO_SUFFIXES:
            continue
        name = '/'.join(path.absolute().with_suffix('').parts[-1 - parent_count :])
        match = re.fullmatch(pattern, name)
        if suffix not in suffixes:
            if match:
                other_formats.append(path)
        elif match:
            matches.append((path, match))
        else:
            other_names.append(path)
    if not matches:
        raise _no_match_error(root, example, suffixes, other_names)
    _print_ignored(
        root,
        other_formats,
        f' of other formats are ignored, since this corpus is read as {" or ".join(suffixes)}',
    )
    _print_ignored(root, other_names, f' are ignored, since their names are not like {example}')
    return matches


def print_left_out(root: Path, files: Iterable[Path], used: Iterable[Path], reason: str) -> None:
    """Prints how many audio files of `files`, which are below `root`, are not in `used`."""
    suffixes = (*AUDIO_SUFFIXES, *OTHER_AUDIO_SUFFIXES)
    used_files = set(used)
    left_out = []
    for path in sorted(files):
        if path.suffix.lower() in suffixes and path not in used_files:
            left_out.append(path)
    if left_out:
        print_text(
            f'{pluralize(len(left_out), "audio file")} left out, {reason}: '
            f'{left_out[0].relative_to(root)}{", ..." if len(left_out) > 1 else ""}'
        )


def _print_ignored(root: Path, ignored: list[Path], reason: str) -> None:
    """Prints how many audio files are ignored and why, with an example; nothing for none."""
    if ignored:
        print_text(f'{len(ignored)} audio files{reason}: {ignored[0].relative_to(root)}, ...')


def _no_match_error(
    root: Path, example: str, suffixes: tuple[str, ...], others: list[Path]
) -> UserError:
    """Returns the error for a folder without a matching file; `others` have other names."""
    contents = f', and no other {" or ".join(suffixes)} file'
    if others:
        example_of_others = others[0].relative_to(root)
        contents = f', only files with other names ({len(others)}), such as {example_of_others}'
    return UserError(
        f'No file like {example} (or {suffixes[-1]}) was found below {root}{contents}. '
        'Set --source to the folder of this corpus.'
    )
