"""Reads the representations of a system, and rebuilds the folds of a split file for the probe.

representations.npz has `utterance` (names as in the split file), `z` (N x D), and if the encoder
was trained anew in each fold, `fold` (numbers of folds). `utterance_N`, `z_NxD` and `fold_N` are
understood, too. representations.npy is one array with the fields utterance, z, and perhaps fold.
"""

import contextlib
import heapq
import io
import itertools
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from data_pipelines.batching.table import index_values
from data_pipelines.errors import UserError
from data_pipelines.protocols.folds import ALL_PARTS, Fold
from data_pipelines.protocols.split_file import SplitFile
from data_pipelines.protocols.withholding import reserve_attacker_test
from data_pipelines.wording import join_first, pluralize
from jaxser.scoring.truth import MAX_LISTED, Truth
from jaxser.workdir_files import MAX_BYTES, WorkdirFiles, damaged, read_regular

ORDER_SEED = 0  # the default of config.data.order_seed
PROBE_COLUMNS = ('utterance', 'speaker', 'emotion', 'sex', 'language', 'corpus', 'sentence')
MAX_VALUE = 1e15  # of a representation; squares of larger numbers overflow
# The names of the arrays of an npz file, and the other names that are understood.
ARRAY_NAMES = {'utterance': 'utterance_N', 'z': 'z_NxD', 'fold': 'fold_N'}
COPY_AGAIN = 'Write it again with numpy.savez, or remove it: then leakage is not measured.'


class SplitUtterances:
    """The utterances of a split file, one row each, in the order of the data set."""

    def __init__(self, text: dict[str, np.ndarray]):
        self.text = text

    def __len__(self) -> int:
        return len(self.text['utterance'])


class SplitTable(NamedTuple):
    """What `questions.make_questions` needs of a split file."""

    utterances: SplitUtterances
    folds: list[Fold]
    classes: np.ndarray
    emotion_N: np.ndarray


class FoldRepresentations(NamedTuple):
    """The representations of a system in a fold."""

    rows: np.ndarray  # of the SplitTable, ascending
    z_NxD: np.ndarray  # float32


class Representations(NamedTuple):
    """The representations of a system."""

    by_fold: dict[int, FoldRepresentations]  # by the number of the fold
    has_folds: bool  # whether each fold has its own; otherwise all folds have the same


def make_split_table(split: SplitFile) -> SplitTable:
    """Returns the utterances and folds of a split file, as a sweep on this split has them.

    The order of the utterances is rebuilt from the parts, which have their utterances in the order
    of the data set. The rows on which attackers are tested are then those of a sweep, unless the
    data set has utterances in no part of any fold, or copies of recordings.
    """
    names, first_R = np.unique(split.text['utterance'], return_index=True)
    index_R = np.searchsorted(names, split.text['utterance'])
    rank_U = _dataset_order(split, index_R, len(names))
    order_U = np.argsort(rank_U)
    text = {name: split.text[name][first_R[order_U]] for name in PROBE_COLUMNS}
    text['emotion'] = _own_emotion(split, index_R, len(names))[order_U]
    text['sha256'] = np.full(len(names), '')
    utterances = SplitUtterances(text)
    row_R = rank_U[index_R]
    folds = []
    for number, name in split.fold_names.items():
        parts = {part: row_R[split.rows(number, part)] for part in ALL_PARTS}
        withheld = np.sort(parts.pop('withheld'))
        fold = Fold(number, name, **parts)
        if len(withheld):
            fold = Fold(number, name, **parts, attacker_test=withheld)
        else:
            fold = reserve_attacker_test(utterances, fold, 0.0, ORDER_SEED)
        folds.append(fold)
    classes, emotion_N = index_values(text['emotion'])
    return SplitTable(utterances, folds, classes, emotion_N)


def _own_emotion(split: SplitFile, index_R: np.ndarray, count: int) -> np.ndarray:
    """Returns the emotion of each utterance."""
    emotion_U = np.full(count, '', dtype=split.text['emotion'].dtype)
    emotion_U[index_R] = split.text['emotion']
    return emotion_U


def _dataset_order(split: SplitFile, index_R: np.ndarray, count: int) -> np.ndarray:
    """Returns the rank of each utterance in an order that all parts of all folds agree with.

    Where several orders do, and where none does, the place of the first row decides.
    """
    successors: list[set[int]] = [set() for _ in range(count)]
    for number in split.fold_names:
        for part in ALL_PARTS:
            chain = index_R[split.rows(number, part)].tolist()
            for first, second in itertools.pairwise(chain):
                successors[first].add(second)
    predecessors = np.zeros(count, int)
    for following in successors:
        for index in following:
            predecessors[index] += 1
    place_U = np.full(count, len(index_R))
    np.minimum.at(place_U, index_R, np.arange(len(index_R)))
    free = [(place_U[index], index) for index in np.flatnonzero(predecessors == 0).tolist()]
    heapq.heapify(free)
    ordered = []
    while free:
        _, index = heapq.heappop(free)
        ordered.append(index)
        for following in successors[index]:
            predecessors[following] -= 1
            if predecessors[following] == 0:
                heapq.heappush(free, (place_U[following], following))
    if len(ordered) < count:  # parts in different orders: a file of the user's own
        ordered = np.argsort(place_U).tolist()
    rank_U = np.zeros(count, int)
    rank_U[ordered] = np.arange(count)
    return rank_U


def read_representations(file: Path, truth: Truth, table: SplitTable) -> Representations:
    """Returns the representations of a system; UserError if they do not fit the split."""
    arrays = _with_plain_names(file, _read_arrays(file))
    missing = [name for name in ('utterance', 'z') if name not in arrays]
    if missing:
        raise UserError(
            f'{file} has no array {missing[0]}; it has {", ".join(arrays) or "none"}. Expected '
            'utterance, z, and if each fold has its own encoder, fold.'
        )
    name_N, z_NxD = arrays['utterance'], arrays['z']
    fold_N = arrays.get('fold')
    _check_arrays(file, name_N, z_NxD, fold_N)
    if fold_N is not None and not set(fold_N.tolist()) <= set(truth.fold_numbers):
        raise UserError(
            f'{file} has folds {sorted(set(fold_N.tolist()))[:10]} in the array fold; the folds of '
            f'the split are {truth.fold_numbers[:10]}.'
        )
    z_NxD = z_NxD.astype(np.float32)
    row_by_name = {name: row for row, name in enumerate(table.utterances.text['utterance'])}
    unknown = sorted(set(name_N.astype(str).tolist()) - set(row_by_name))
    if unknown:
        raise UserError(
            f'{file} has representations of {pluralize(len(unknown), "utterance")} that '
            f'{truth.rows.path} does not have: {join_first(unknown, MAX_LISTED)}. Names are those '
            'of the split file.'
        )
    row_N = np.array([row_by_name[name] for name in name_N.astype(str).tolist()], int)
    by_fold = {}
    for fold in truth.fold_numbers:
        own = np.arange(len(row_N)) if fold_N is None else np.flatnonzero(fold_N == fold)
        rows, first, count = np.unique(row_N[own], return_index=True, return_counts=True)
        doubled = name_N[own[first[count > 1]]].astype(str).tolist()
        if doubled:
            raise _doubled_error(file, doubled, None if fold_N is None else fold)
        by_fold[fold] = FoldRepresentations(rows, z_NxD[own[first]])
    return Representations(by_fold, fold_N is not None)


def _doubled_error(file: Path, names: list[str], fold: int | None) -> UserError:
    """Returns the error for utterances with several representations; `fold` None: no folds."""
    count = f'{pluralize(len(names), "utterance")} several times'
    listed = join_first(names, MAX_LISTED)
    if fold is None:
        return UserError(
            f'{file} has {count} ({listed}), and no array fold. If each fold has its own encoder, '
            'write the number of the fold of each representation into an array fold.'
        )
    return UserError(f'{file} has {count} in fold {fold} ({listed}). Keep one of each.')


def _with_plain_names(file: Path, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the arrays under the names utterance, z and fold; UserError for one under both."""
    for name, other in ARRAY_NAMES.items():
        if name in arrays and other in arrays:
            raise UserError(f'{file} has the arrays {name} and {other}. Keep one of them.')
    plain = {other: name for name, other in ARRAY_NAMES.items()}
    return {plain.get(name, name): array for name, array in arrays.items()}


def _read_arrays(file: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of representations.npz, or those of the fields of representations.npy."""
    content = read_regular(file, COPY_AGAIN, MAX_BYTES)
    name = _find_objects(content, file.suffix == '.npy')
    if name:
        raise UserError(
            f'{name} of {file} holds Python objects, as pandas makes them. Write numbers and '
            'texts: numpy.asarray(names, str) for names, numpy.asarray(z, numpy.float32) for '
            'vectors.'
        )
    if file.suffix != '.npy':
        return WorkdirFiles(file.parent).read_arrays(file.name, COPY_AGAIN)
    try:
        table_N = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, TypeError, OSError, EOFError, MemoryError, SyntaxError) as error:
        reason = f'it is no array ({type(error).__name__}: {error})'
        raise damaged(file, reason, COPY_AGAIN) from None
    fields = table_N.dtype.names or ()
    if table_N.ndim != 1 or not {'utterance', 'z'} <= set(fields):
        found = f'the fields {", ".join(fields)}' if fields else 'an array without named fields'
        raise UserError(
            f'{file} has {found}, of shape {table_N.shape}; expected one row an utterance '
            "with the fields utterance, z and perhaps fold, such as numpy.zeros(N, [('utterance', "
            "'U40'), ('z', 'f4', 64), ('fold', 'i4')])."
        )
    return {name: table_N[name] for name in ARRAY_NAMES if name in fields}


def _find_objects(content: bytes, is_npy: bool) -> str:
    """Returns the name of an array of Python objects; '' if there is none or a file is damaged."""
    with contextlib.suppress(
        ValueError, TypeError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error
    ):
        if is_npy:
            return 'The array' if _has_objects(io.BytesIO(content)) else ''
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                with archive.open(member) as stream:
                    if _has_objects(stream):
                        return member.removesuffix('.npy')
    return ''


def _has_objects(stream: BinaryIO) -> bool:
    """Returns whether the header of an array in the npy format says that it has Python objects."""
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_2_0
    if version == (1, 0):
        read_header = np.lib.format.read_array_header_1_0
    _, _, dtype = read_header(stream)
    return dtype.hasobject


def _check_arrays(
    file: Path, name_N: np.ndarray, z_NxD: np.ndarray, fold_N: np.ndarray | None
) -> None:
    """Raises a UserError for arrays that are no names and representations."""
    is_number = z_NxD.dtype.kind in 'fiu'
    if z_NxD.ndim != 2 or not is_number or not z_NxD.size:
        remedy = ' Take the mean over frames.' if z_NxD.ndim > 2 else ''
        raise UserError(
            f'{file} has z of shape {z_NxD.shape} and type {z_NxD.dtype}; expected a row of '
            f'numbers for each utterance.{remedy}'
        )
    if name_N.shape != (len(z_NxD),):
        raise UserError(
            f'{file} has z of shape {z_NxD.shape}, and utterance of shape {name_N.shape}; expected '
            'a name for each row of z, in the same order.'
        )
    if fold_N is not None and (fold_N.shape != name_N.shape or fold_N.dtype.kind not in 'iu'):
        raise UserError(
            f'{file} has fold of shape {fold_N.shape} and type {fold_N.dtype}; expected the '
            f'number of the fold for each of the {len(name_N)} representations.'
        )
    infinite_N = ~(np.abs(z_NxD) < MAX_VALUE).all(1)  # NaN, too
    if infinite_N.any():
        names = name_N[infinite_N].astype(str).tolist()
        count = pluralize(len(names), 'representation')
        raise UserError(
            f'{file} has NaN, infinite or huge numbers in {count}: '
            f'{join_first(names, MAX_LISTED)}. Compute them again.'
        )
