"""Completes a corpus's list of utterances before it is prepared: the speakers and the files."""

import collections
import dataclasses
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from data_pipelines import speaker_names
from data_pipelines.corpora import Utterance
from data_pipelines.errors import UserError
from data_pipelines.terminal import print_text
from data_pipelines.wording import join_first, pluralize

MAX_LISTED_SPEAKERS = 10  # whom a message names for one kind of mistake
MAX_SINGLE_SPEAKERS = 5  # with one utterance, who are named
FILE_DIGITS = 16  # of the hash of a file's path, in hexadecimal


def complete_listing(utterances: list[Utterance], allow_names: bool = False) -> list[Utterance]:
    """Returns the utterances with one name for each speaker, and with their files.

    Unknown speakers are ''. UserError if one person has two names or two sexes, unless
    `allow_names`: then a person's names all become the first of them.
    """
    utterances = clear_unknown_speakers(utterances)
    spellings = find_spellings(utterances)
    sexes = find_two_sexes(utterances)
    if not allow_names:
        check_names(spellings, sexes)
    return with_files(unite_spellings(utterances, spellings))


def clear_unknown_speakers(utterances: list[Utterance]) -> list[Utterance]:
    """Returns the utterances with '' for unknown speakers, and prints how many there are."""
    counts: collections.Counter = collections.Counter()
    cleared = []
    unknown_names = set()
    for name in {utterance.speaker for utterance in utterances}:
        if speaker_names.is_unknown(name):
            unknown_names.add(name)
    for utterance in utterances:
        if utterance.speaker in unknown_names:
            counts[utterance.speaker] += 1
            utterance = dataclasses.replace(utterance, speaker='')
        cleared.append(utterance)
    if counts:
        listed = []
        for name, count in sorted(counts.items()):
            listed.append(f'{count} {speaker_names.visible(name) if name else "empty"}')
        print_text(
            f'{pluralize(counts.total(), "utterance")} of unknown speakers ({", ".join(listed)}): '
            'no speaker loss uses them, and where parts are divided by speaker, they are in '
            'training only.'
        )
    return cleared


def print_single_utterances(utterances: list[Utterance]) -> None:
    """Prints the speakers with one utterance: what stands for an unknown one may be among them."""
    counts = collections.Counter([utterance.speaker for utterance in utterances])
    names = [speaker_names.visible(name) for name, count in counts.items() if name and count == 1]
    if not names:
        return
    is_one = len(names) == 1
    print_text(
        f'{pluralize(len(names), "speaker")} with one utterance: '
        f'{join_first(names, MAX_SINGLE_SPEAKERS)}: '
        f'{"is this a person" if is_one else "are these people"}? '
        'Of an unknown speaker, leave the cell empty.'
    )


def find_spellings(utterances: list[Utterance]) -> list[list[str]]:
    """Returns the names of each person who has more than one, in the order of the list."""
    known = [utterance.speaker for utterance in utterances if utterance.speaker]
    groups = speaker_names.group_spellings(known).values()
    return [names for names in groups if len(names) > 1]


def find_two_sexes(utterances: list[Utterance]) -> list[str]:
    """Returns the speakers who are female in one utterance and male in another."""
    sexes = collections.defaultdict(set)
    first_name: dict[str, str] = {}
    key_by_name: dict[str, str] = {}
    for utterance in utterances:
        name = utterance.speaker
        if not name or not utterance.sex:
            continue
        if name not in key_by_name:
            key_by_name[name] = speaker_names.identity_key(name)
        key = key_by_name[name]
        first_name.setdefault(key, name)
        sexes[key].add(utterance.sex)
    return [first_name[key] for key, values in sexes.items() if len(values) > 1]


def check_names(spellings: list[list[str]], sexes: list[str]) -> None:
    """Raises a UserError if a person has two names or two sexes."""
    messages = []
    if spellings:
        groups = [_join_spellings(names) for names in spellings]
        messages.append(
            f'{pluralize(len(spellings), "speaker")} with several spellings of the name: '
            f'{join_first(groups, MAX_LISTED_SPEAKERS)}. '
            'Each would count as several people, so that one person could be in training '
            'and in test. Write each name in one way; --allow_names takes all spellings of a name '
            'as one person.'
        )
    if sexes:
        names = [speaker_names.visible(name) for name in sexes]
        messages.append(
            f'{pluralize(len(sexes), "speaker")} listed as female and as male: '
            f'{join_first(names, MAX_LISTED_SPEAKERS)}. '
            'Probably two people have one name, or the sex is wrong: correct the list. '
            '--allow_names accepts it.'
        )
    if messages:
        raise UserError('\n'.join(messages))


def _join_spellings(names: list[str]) -> str:
    """Returns the names of one person, as in a message."""
    return ' = '.join([speaker_names.visible(name) for name in names])


def unite_spellings(utterances: list[Utterance], spellings: list[list[str]]) -> list[Utterance]:
    """Returns the utterances with the first of each person's names, and prints what changed."""
    if not spellings:
        return utterances
    first_by_name = {}
    for names in spellings:
        first_by_name.update(dict.fromkeys(names, names[0]))
    groups = [_join_spellings(names) for names in spellings]
    listed = join_first(groups, MAX_LISTED_SPEAKERS)
    print_text(f'--allow_names: one person each, under the first name: {listed}.')
    united = []
    for utterance in utterances:
        name = first_by_name.get(utterance.speaker, utterance.speaker)
        united.append(dataclasses.replace(utterance, speaker=name))
    return united


def with_files(utterances: list[Utterance]) -> list[Utterance]:
    """Returns the utterances with `file`, if any of them is a segment of its file.

    Each channel of a file that is used by itself counts as a file.
    """
    if not any(utterance.is_segment for utterance in utterances):
        return utterances
    file_by_path = identify_files({utterance.path: None for utterance in utterances})
    # The mean of all channels contains each channel, so these are one file.
    mixed_files = {file_by_path[u.path] for u in utterances if not u.channel}
    completed = []
    for utterance in utterances:
        file = file_by_path[utterance.path]
        if file not in mixed_files:
            file += f'.{utterance.channel}'
        completed.append(dataclasses.replace(utterance, file=file))
    return completed


def identify_files(paths: Iterable[Path]) -> dict[Path, str]:
    """Returns a hash for the file of each path; links and identical copies have the same."""
    file_by_path = {path: hash_real_path(path) for path in paths}
    first_by_inode: dict[tuple[int, int], str] = {}
    paths_by_size = collections.defaultdict(list)
    for path, file in file_by_path.items():
        try:
            status = os.stat(path)
        except (OSError, ValueError):  # it is reported as unreadable later
            continue
        if not stat.S_ISREG(status.st_mode):
            continue
        inode = (status.st_dev, status.st_ino)
        is_hard_link = status.st_ino and inode in first_by_inode  # some file systems have no number
        if not is_hard_link:
            first_by_inode[inode] = file
            paths_by_size[status.st_size].append(path)
        file_by_path[path] = first_by_inode[inode]
    first_by_copy = {}
    for same_size in paths_by_size.values():
        if len(same_size) > 1:
            first_by_copy |= find_copies(same_size, file_by_path)
    return {path: first_by_copy.get(file, file) for path, file in file_by_path.items()}


def find_copies(paths: list[Path], file_by_path: dict[Path, str]) -> dict[str, str]:
    """Returns, by the hash of each file, the hash of the first file with the same content.

    `paths` are different files of one size; `file_by_path` has their hashes.
    """
    first_by_content: dict[bytes, str] = {}
    first_by_file = {}
    for path in paths:
        try:
            with open(path, 'rb') as file:
                content = hashlib.file_digest(file, 'sha256').digest()
        except OSError:  # it is reported as unreadable later
            continue
        file_hash = file_by_path[path]
        first_by_file[file_hash] = first_by_content.setdefault(content, file_hash)
    return first_by_file


def hash_real_path(path: Path) -> str:
    """Returns a hash of the path without links and '..': equal if two paths are of one file."""
    try:
        real_path = os.path.realpath(path)
    except (OSError, ValueError):  # it is reported as unreadable later
        real_path = os.path.abspath(path)
    return hashlib.sha256(os.fsencode(real_path)).hexdigest()[:FILE_DIGITS]
