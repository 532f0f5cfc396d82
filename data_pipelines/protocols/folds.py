"""Divides utterances into folds: training, dev, test, adaptation and identity rows."""

import dataclasses
import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.protocols.protocol import (
    CROSS_CORPUS_PROTOCOLS,
    Protocol,
    parse_allowed_leaks,
)
from data_pipelines.protocols.sentences import (
    deal_sentences,
    find_sentences,
    split_by_sentence,
)
from data_pipelines.protocols.windows import find_windows, unite_overlaps
from data_pipelines.speed_copies import check_no_copies
from data_pipelines.storage.schema import RATING_COLUMNS, VOTES_COLUMN, Utterances

PARTS = ('train', 'dev', 'test')

ALL_PARTS = (*PARTS, 'adapt', 'identity', 'withheld', 'reserved')

HASHED_COLUMNS = ('corpus', 'utterance', 'speaker', 'emotion')
HASHED_AT_ONCE = 10_000  # rows

MAX_LISTED_CLASSES = 10  # in one message
MIN_CLASS_UTTERANCES = 3  # of a training part; fewer are warned of

DEV_SPEAKER_GROUPS = 5  # the speakers of a source corpus are divided into 5 groups; one is dev


def _no_rows() -> np.ndarray:
    """Returns an empty array of rows."""
    return np.zeros(0, int)


@dataclasses.dataclass(frozen=True)
class Fold:
    """One fold, as rows of the utterances."""

    number: int
    name: str
    train: np.ndarray
    dev: np.ndarray  # chooses the epoch
    test: np.ndarray  # chooses nothing
    # Training reads them without their emotions.
    adapt: np.ndarray = dataclasses.field(default_factory=_no_rows)
    # Utterances of other corpora that fill the identity batches; of copies at other speeds only
    # those of training utterances (copies.py).
    identity: np.ndarray = dataclasses.field(default_factory=_no_rows)
    # Utterances of training speakers on which attackers are tested; chosen by withholding.py.
    attacker_test: np.ndarray = dataclasses.field(default_factory=_no_rows)
    # Utterances of all speakers that are set aside for enrolment: in no score, and not given to
    # attackers. Those of training speakers are in `train` too. Chosen by enrolment.py.
    reserved: np.ndarray = dataclasses.field(default_factory=_no_rows)
    # The reserved rows that may be enrolled, in the order in which they are, and the rows that are
    # enrolled: the first of each speaker.
    enrolment: np.ndarray = dataclasses.field(default_factory=_no_rows)
    enrolled: np.ndarray = dataclasses.field(default_factory=_no_rows)

    @property
    def train_and_adapt(self) -> np.ndarray:
        """Returns the rows of the training data, with or without their emotions; not `identity`."""
        return np.concatenate([self.train, self.adapt])

    @property
    def withheld(self) -> np.ndarray:
        """Returns the rows of `attacker_test` that training does not use."""
        rows = np.unique(self.attacker_test)
        return rows[~np.isin(rows, self.train_and_adapt)]

    @property
    def fit_rows(self) -> np.ndarray:
        """Returns the rows of `train_and_adapt` on which no attacker is tested.

        Attackers are fitted on these, and so is whatever a method fits after training. Rows that
        are set aside for enrolment are left out.
        """
        rows = self.train_and_adapt
        return rows[~np.isin(rows, np.concatenate([self.attacker_test, self.reserved]))]

    @property
    def domain_rows(self) -> np.ndarray:
        """Returns the rows on which domain heads train.

        These are the identity rows, or if there are none, the rows of `train_and_adapt`.
        """
        return self.identity if len(self.identity) else self.train_and_adapt

    @property
    def used_rows(self) -> np.ndarray:
        """Returns the rows of `train_and_adapt`, `attacker_test`, dev and test: ascending, once.

        Rows that are set aside for enrolment are left out.
        """
        parts = [self.train_and_adapt, self.attacker_test, self.dev, self.test]
        return np.setdiff1d(np.concatenate(parts), self.reserved)


def make_folds(
    utterances: Utterances,
    protocol: Protocol,
    ratings: tuple[str, ...] = (),
    has_classes: bool = True,
) -> list[Fold]:
    """Returns the folds of a protocol.

    Some rows may be in no fold. Where the parts are divided by speaker, by session or by the
    release, an unknown speaker may be anyone: such rows are in training only. UserError if there
    are too few utterances, speakers or sessions for the protocol, or if a training part lacks
    classes or different ratings. `ratings` are the names of those that are predicted;
    `has_classes` says whether classes are predicted.
    """
    corpora = set(utterances.text['corpus'].tolist())
    absent = set(protocol.identity) - corpora
    if absent:
        raise UserError(
            f'There is no utterance of the corpus {min(absent)}, '
            'which config.protocol.identity names.'
        )
    check_no_copies(sorted(corpora - set(protocol.identity)), 'data.corpora')
    identity_N = identity_mask(utterances, protocol.identity)
    own_rows = np.flatnonzero(~identity_N)
    own_utterances = utterances[own_rows] if protocol.identity else utterances
    if protocol.name in CROSS_CORPUS_PROTOCOLS:
        folds = make_cross_corpus_folds(own_utterances, protocol)
    else:
        folds = make_within_corpus_folds(own_utterances, protocol)
    check_parts(folds)
    if has_classes:
        check_classes(own_utterances, folds)
    check_ratings(own_utterances, folds, ratings)

    identity_rows = np.flatnonzero(identity_N & (utterances.text['speaker'] != ''))
    if protocol.identity and not len(identity_rows):
        raise UserError(
            f'All speakers of {", ".join(protocol.identity)} are unknown; '
            'config.protocol.identity needs a corpus with known speakers.'
        )
    for n, fold in enumerate(folds):  # in place: the rows of many folds take much memory
        folds[n] = _with_identity(fold, own_rows, identity_rows)
    return folds


def _with_identity(fold: Fold, own_rows: np.ndarray, identity_rows: np.ndarray) -> Fold:
    """Turns a fold of the utterances `own_rows` into one of all utterances, with identity rows."""
    return dataclasses.replace(
        fold,
        train=own_rows[fold.train],
        dev=own_rows[fold.dev],
        test=own_rows[fold.test],
        adapt=own_rows[fold.adapt],
        identity=identity_rows,
    )


def identity_mask(utterances: Utterances, identity_corpora: tuple[str, ...]) -> np.ndarray:
    """Returns mask_N of the utterances whose corpus fills the identity batches and nothing else."""
    return np.isin(utterances.text['corpus'], identity_corpora)


def make_within_corpus_folds(utterances: Utterances, protocol: Protocol) -> list[Fold]:
    """Returns folds in which group i is tested, group i + 1 is dev, and the others train.

    Unknown speakers are in dev and test only where the protocol shares speakers.
    """
    if protocol.name == 'official':
        return [make_official_fold(utterances, protocol)]
    if protocol.name == 'speaker_sentence_folds':
        return make_speaker_sentence_folds(utterances, protocol)
    groups = _test_groups(utterances, protocol)
    names = list(groups)
    rows = list(groups.values())
    if len(groups) < 3:
        raise UserError(
            f'{protocol.name} finds {len(groups)} part(s) ({", ".join(names) or "none"}); '
            'train, dev and test need 3 or more.'
        )
    is_unknown_N = utterances.text['speaker'] == ''
    if protocol.shares_speakers:
        is_unknown_N[:] = False
    known_rows = [group[~is_unknown_N[group]] for group in rows]
    is_used_N = is_unknown_N.copy()
    is_used_N[np.concatenate(rows)] = True
    folds = []
    for i, name in enumerate(names):
        j = (i + 1) % len(groups)
        is_train_N = is_used_N.copy()
        is_train_N[rows[i]] = False
        is_train_N[rows[j]] = False
        train = np.flatnonzero(is_train_N)
        test = known_rows[i]
        adapt = test if protocol.is_transductive else _no_rows()
        folds.append(Fold(i, name, train, dev=known_rows[j], test=test, adapt=adapt))
    return folds


def _test_groups(utterances: Utterances, protocol: Protocol) -> dict[str, np.ndarray]:
    """Returns the rows of the groups that are tested in turn, by the group's name."""
    if protocol.name == 'leave_one_speaker_out':
        groups = group_rows(utterances.text['speaker'])
        groups.pop('', None)
        return groups
    if protocol.name == 'leave_one_session_out':
        groups = group_rows(utterances.text['session'])
        if '' in groups:
            raise UserError(
                f'{len(groups[""])} of {len(utterances)} utterances have no session. Choose '
                '--config.protocol.name=speaker_folds or leave_one_speaker_out.'
            )
        return groups
    if protocol.name == 'speaker_folds':
        parts = _deal_speakers(utterances, protocol.folds)
    elif protocol.name == 'sentence_folds':
        parts = deal_sentences(utterances, protocol.folds)
    else:
        parts = _deal_recordings(utterances, protocol.folds)
    return {f'part {i} of {len(parts)}': rows for i, rows in enumerate(parts, start=1)}


def group_rows(value_N: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the rows of each value of a column, by value in alphabetical order."""
    values, index_N = np.unique(value_N, return_inverse=True)
    rows = np.argsort(index_N, kind='stable')
    ends = np.cumsum(np.bincount(index_N, minlength=len(values)))
    return dict(zip(values.tolist(), np.split(rows, ends[:-1])))


def _deal_speakers(utterances: Utterances, parts: int) -> list[np.ndarray]:
    """Returns the rows of speaker-disjoint parts; UserError if there are too few speakers."""
    count = len(set(utterances.text['speaker']) - {''})
    if count < 3:
        raise UserError(
            f'Only {count} speaker(s) found; speaker-disjoint train, dev and test parts need 3 or '
            'more. Use these speakers together with another corpus (source_target), '
            'or choose --config.protocol.name=speaker_dependent.'
        )
    if not 3 <= parts <= count:
        raise UserError(
            f'{parts} folds by speaker cannot be made of {count} speakers: '
            'each part needs a speaker, and there must be 3 or more parts (train, dev, test). '
            f'Choose --config.protocol.folds from 3 to {count}.'
        )
    return split_by_speaker(utterances, np.arange(len(utterances)), parts)


def make_speaker_sentence_folds(utterances: Utterances, protocol: Protocol) -> list[Fold]:
    """Returns folds in which neither the tested speakers nor their sentences are in training.

    Group i of the speakers is tested with sentences of group i, and group i + 1 is dev with
    sentences of group i + 1. Other speakers train on the other sentences. What remains is in no
    part of the fold: test and dev speakers with other sentences, and other speakers with test or
    dev sentences. There are as many groups of sentences as of speakers, or as sentences, if those
    are fewer. Of two groups of sentences, one is tested, and the other is in training and in dev.
    """
    speaker_groups = _deal_speakers(utterances, protocol.folds)
    sentences = find_sentences(utterances, protocol.name)
    if len(sentences) < 2:
        raise UserError(
            'speaker_sentence_folds finds only one sentence; training and test need different '
            'ones. Choose --config.protocol.name=speaker_folds.'
        )
    count = min(len(speaker_groups), len(sentences))
    sentence_groups = split_by_sentence(utterances, count, protocol.name)
    folds = []
    for i, test_speakers in enumerate(speaker_groups):
        dev_speakers = speaker_groups[(i + 1) % len(speaker_groups)]
        test_sentences = sentence_groups[i % count]
        dev_sentences = sentence_groups[(i + 1) % count]
        held_out = [test_speakers, dev_speakers, test_sentences]
        if count > 2:  # otherwise dev has the sentences of training
            held_out.append(dev_sentences)
        is_train_N = np.ones(len(utterances), bool)
        is_train_N[np.concatenate(held_out)] = False
        test = np.intersect1d(test_speakers, test_sentences)
        fold = Fold(
            i,
            f'part {i + 1} of {len(speaker_groups)}',
            train=np.flatnonzero(is_train_N),
            dev=np.intersect1d(dev_speakers, dev_sentences),
            test=test,
            adapt=test if protocol.is_transductive else _no_rows(),
        )
        folds.append(fold)
    return folds


def _deal_recordings(utterances: Utterances, parts: int) -> list[np.ndarray]:
    """Returns the rows of random parts.

    Copies of a recording are in one part, and so are overlapping windows of one file.
    """
    if parts < 3:
        raise UserError(f'config.protocol.folds is {parts}; train, dev and test need 3 or more.')
    if parts > len(utterances):
        raise UserError(
            f'config.protocol.folds is {parts}, but there are only {len(utterances)} utterances. '
            'Choose fewer folds, at most one for each utterance.'
        )
    sha256_N = utterances.text['sha256']
    _, recording_N = np.unique(sha256_N, return_inverse=True)
    # An utterance without a hash is a recording of its own.
    own_N = recording_N.max() + 1 + np.arange(len(utterances))
    recording_N = np.where(sha256_N == '', own_N, recording_N)
    windows = find_windows(utterances)
    if len(windows.row_W):
        recording_N = unite_overlaps(windows, recording_N)
    part_of_recording = np.random.default_rng(0).permutation(recording_N.max() + 1) % parts
    part_N = part_of_recording[recording_N]
    return [np.flatnonzero(part_N == i) for i in range(parts)]


def split_by_speaker(utterances: Utterances, rows: np.ndarray, groups: int) -> list[np.ndarray]:
    """Returns the rows of each of several groups of speakers.

    Speakers are assigned to the groups in turn, sorted by corpus and sex, so that the groups are
    balanced in both. Rows of unknown speakers are in no group.
    """
    speaker_N = utterances.text['speaker'][rows]
    corpora = utterances.text['corpus'][rows].tolist()
    sexes = utterances.text['sex'][rows].tolist()
    sort_keys = {}  # the last row of a speaker counts, where rows disagree
    for speaker, corpus, sex in zip(speaker_N.tolist(), corpora, sexes):
        if speaker:
            sort_keys[speaker] = (corpus, sex, speaker)
    speakers = sorted(sort_keys, key=sort_keys.get)
    return [rows[np.isin(speaker_N, speakers[i::groups])] for i in range(groups)]


def make_official_fold(utterances: Utterances, protocol: Protocol) -> Fold:
    """Returns the fold of the corpus's own split; UserError if a part of it is empty.

    An unknown speaker of dev or test may be a training speaker. Such rows are in no part, unless
    `protocol.allow_leak` accepts shared speakers.
    """
    split_N = utterances.text['split']
    train = np.flatnonzero(split_N == 'train')
    usable_N = utterances.text['speaker'] != ''
    if 'speaker' in parse_allowed_leaks(protocol.allow_leak):
        usable_N[:] = True
    dev = np.flatnonzero((split_N == 'dev') & usable_N)
    test = np.flatnonzero((split_N == protocol.test) & usable_N)
    for part, rows in (('dev', dev), (protocol.test, test)):
        count = int(np.sum(split_N == part))
        if count and not len(rows):
            other_part = '' if part == 'dev' else ', or choose another --config.protocol.test'
            raise UserError(
                f'All {count} utterances of the part {part} of the official split are of unknown '
                'speakers, who may be training speakers. Use them by --allow_leak=speaker, which '
                f'the results state{other_part}.'
            )
    if not (len(train) and len(dev) and len(test)):
        values, counts = np.unique(split_N, return_counts=True)
        listed = ', '.join(f'{n} {value or "without one"}' for value, n in zip(values, counts))
        raise UserError(
            f'The official split needs utterances of train, dev and {protocol.test}; '
            f'this data set has {listed}. '
            'Choose another --config.protocol.name, or --config.protocol.test.'
        )
    adapt = test if protocol.is_transductive else _no_rows()
    return Fold(0, protocol.test, train, dev, test, adapt)


class DomainShift(NamedTuple):
    """A source and a target that share no corpus, or no language."""

    name: str  # of the target
    source_N: np.ndarray  # whether an utterance is of the source
    target_N: np.ndarray


class TargetPart(NamedTuple):
    """A part of a target that is tested in one fold, and what training adapts to there."""

    suffix: str  # of the fold's name
    test: np.ndarray
    adapt: np.ndarray


def make_cross_corpus_folds(utterances: Utterances, protocol: Protocol) -> list[Fold]:
    """Returns folds in which speakers of the source train and are dev, and the target is tested."""
    if protocol.name == 'source_target':
        shifts = [_named_shift(utterances, protocol)]
    else:
        shifts = _left_out_shifts(utterances, CROSS_CORPUS_PROTOCOLS[protocol.name])
    known_N = utterances.text['speaker'] != ''
    folds: list[Fold] = []
    for shift in shifts:
        source = np.flatnonzero(shift.source_N)
        target = np.flatnonzero(shift.target_N)
        for part in _target_parts(utterances, target, protocol):
            number = len(folds)
            dev = _choose_dev(utterances, source[known_N[source]], number)
            train = source[~np.isin(source, dev)]
            folds.append(Fold(number, shift.name + part.suffix, train, dev, part.test, part.adapt))
    return folds


def _named_shift(utterances: Utterances, protocol: Protocol) -> DomainShift:
    """Returns the source and the target that the protocol names."""
    corpus_N = utterances.text['corpus']
    absent = {*protocol.source, *protocol.target} - set(corpus_N.tolist())
    if absent:
        raise UserError(
            f'There is no utterance with a class of the corpus {min(absent)}; '
            f'found: {", ".join(np.unique(corpus_N).tolist())}.'
        )
    source_N = np.isin(corpus_N, protocol.source)
    target_N = np.isin(corpus_N, protocol.target)
    return DomainShift('+'.join(protocol.target), source_N, target_N)


def _left_out_shifts(utterances: Utterances, column: str) -> list[DomainShift]:
    """Returns each corpus, or each language, as the target of all others."""
    value_N = utterances.text[column]
    values = np.unique(value_N).tolist()
    if len(values) < 2 or '' in values:
        listed = ', '.join(value or '(unknown)' for value in values)
        raise UserError(
            f'Leaving one {column} out needs two or more, and every utterance must name '
            f'its {column}; found: {listed}. '
            'Name several corpora: --config.data.corpora=emodb,ravdess.'
        )
    return [DomainShift(value, value_N != value, value_N == value) for value in values]


def _target_parts(
    utterances: Utterances, target: np.ndarray, protocol: Protocol
) -> list[TargetPart]:
    """Returns the parts in which a target is tested.

    With adapt=others the speakers are divided into parts. Each part is tested once, while training
    adapts to the others. Otherwise the whole target is tested at once.
    """
    if protocol.adapt != 'others':
        adapt = target if protocol.is_transductive else _no_rows()
        return [TargetPart('', target, adapt)]
    count = protocol.folds
    speakers = len(set(utterances.text['speaker'][target]) - {''})
    if not 2 <= count <= speakers:
        raise UserError(
            f'A target of {speakers} speaker(s) cannot be divided into {count} parts, '
            'of which one is tested while training adapts to the others: '
            f'choose --config.protocol.folds from 2 to {speakers}, or --config.protocol.adapt=none.'
        )
    groups = split_by_speaker(utterances, target, count)
    parts = []
    for i, test in enumerate(groups):
        adapt = np.sort(np.concatenate(groups[:i] + groups[i + 1 :]))
        parts.append(TargetPart(f', part {i + 1} of {count}', test, adapt))
    return parts


def _choose_dev(utterances: Utterances, source: np.ndarray, fold_number: int) -> np.ndarray:
    """Returns the rows of about a fifth of the speakers of each source corpus.

    The next fold chooses other speakers. A corpus with one speaker has none in dev.
    """
    corpus_N = utterances.text['corpus'][source]
    chosen = [_no_rows()]
    for corpus in np.unique(corpus_N).tolist():
        rows = source[corpus_N == corpus]
        speakers = len(set(utterances.text['speaker'][rows]))
        count = min(DEV_SPEAKER_GROUPS, speakers)
        if count > 1:
            groups = split_by_speaker(utterances, rows, count)
            chosen.append(groups[fold_number % count])
    return np.sort(np.concatenate(chosen))


def check_parts(folds: list[Fold]) -> None:
    """Raises a UserError for an empty part."""
    for fold in folds:
        for part in PARTS:
            if not len(getattr(fold, part)):
                raise UserError(
                    f'The {part} part of fold {fold.name!r} is empty: '
                    'its corpora have too few speakers, or its speakers do not say its sentences. '
                    'Add a corpus, or choose another --config.protocol.name.'
                )


def check_classes(utterances: Utterances, folds: list[Fold]) -> None:
    """Raises a UserError for a training part that lacks classes."""
    classes, emotion_N = np.unique(utterances.text['emotion'], return_inverse=True)
    for fold in folds:
        is_trained = np.bincount(emotion_N[fold.train], minlength=len(classes)) > 0
        evaluated = emotion_N[np.concatenate([fold.test, fold.dev])]
        is_evaluated = np.bincount(evaluated, minlength=len(classes)) > 0
        missing = set(classes[is_evaluated & ~is_trained].tolist())
        if missing:
            raise UserError(
                f'The training part of fold {fold.name!r} has no utterance of the class '
                f'{_list_classes(missing)}. Choose a label space that its corpora share '
                '(--config.data.labels), leave rare classes out, or choose a protocol that trains '
                'on more.'
            )
        if is_trained.sum() < 2:
            raise UserError(
                f'The training part of fold {fold.name!r} has utterances of one class only '
                f'({", ".join(classes[is_trained])}), so that any model is always right. Choose '
                'other --config.data.labels or --config.data.only, or add utterances of other '
                'classes.'
            )


def check_ratings(utterances: Utterances, folds: list[Fold], ratings: tuple[str, ...]) -> None:
    """Raises a UserError for a training part in which all utterances have the same rating."""
    for name in ratings:
        rating_N = utterances.rating_NxA[:, RATING_COLUMNS.index(name)]
        for fold in folds:
            if rating_N[fold.train].min() == rating_N[fold.train].max():
                raise UserError(
                    f'All utterances of the training part of fold {fold.name!r} have the same '
                    f'{name}, {rating_N[fold.train[0]]:g}, so that there is nothing to learn. '
                    'Leave this rating out (--config.data.ratings), or choose other corpora.'
                )


def _list_classes(classes: set[str]) -> str:
    """Returns the names of the first classes, and how many more there are, for a message."""
    listed = sorted(classes)[:MAX_LISTED_CLASSES]
    more = len(classes) - len(listed)
    return ', '.join(listed) + (f' and {more} more' if more else '')


def describe_poor_parts(
    utterances: Utterances, folds: list[Fold], has_classes: bool = True
) -> list[str]:
    """Returns warnings for parts with too few classes, utterances of a class, or speakers.

    `has_classes` says whether classes are predicted; otherwise only speakers count.
    """
    warnings = _describe_poor_classes(utterances, folds) if has_classes else []
    speakers = set(utterances.text['speaker'][rows_of_parts(folds, PARTS)].tolist()) - {''}
    if len(speakers) == 1:
        warnings.append(
            'Warning: there is only one known speaker, so that the results say nothing of other '
            'speakers.'
        )
    return warnings


def _describe_poor_classes(utterances: Utterances, folds: list[Fold]) -> list[str]:
    """Returns warnings for parts with too few classes, or too few utterances of a class."""
    warnings = []
    names = []
    rare_classes: set[str] = set()
    classes, emotion_N = np.unique(utterances.text['emotion'], return_inverse=True)
    for fold in folds:
        count_C = np.bincount(emotion_N[fold.train], minlength=len(classes))
        is_rare_C = (count_C > 0) & (count_C < MIN_CLASS_UTTERANCES) & (classes != '')
        rare_classes.update(classes[is_rare_C].tolist())
        if len(np.unique(emotion_N[fold.test])) < 2:
            names.append(repr(fold.name))
    if names:
        warnings.append(
            f'Warning: the test part of fold {", ".join(names)} has one class only, where UAR is '
            'the recall of that class.'
        )
    if rare_classes:
        warnings.append(
            f'Warning: a fold has fewer than {MIN_CLASS_UTTERANCES} training utterances of '
            f'{_list_classes(rare_classes)}, which are too few to learn a class from.'
        )
    return warnings


def rows_of_parts(folds: list[Fold], parts: tuple[str, ...]) -> np.ndarray:
    """Returns the rows in any of the parts of any fold: ascending, each once."""
    rows = [_no_rows()]
    for fold in folds:
        rows += [getattr(fold, part) for part in parts]
    is_used = np.zeros(max([part.max(initial=-1) for part in rows]) + 1, bool)
    for part in rows:  # not np.unique: a fold for each speaker makes many millions of rows
        is_used[part] = True
    return np.flatnonzero(is_used)


def hash_folds(
    utterances: Utterances,
    folds: list[Fold],
    ratings: tuple[str, ...] = (),
    with_votes: bool = False,
) -> str:
    """Returns the split's SHA-256: it changes with any utterance, label, speaker or part.

    Args:
      utterances: The utterances.
      folds: Their folds.
      ratings: The ratings that the split's task predicts, which count too: names of
        `schema.RATING_COLUMNS`.
      with_votes: Whether the raters' votes count too.
    """
    line_N = _hashed_lines(utterances, ratings, with_votes)
    digest = hashlib.sha256()
    for fold in folds:
        for part in ALL_PARTS:
            start = f'{fold.name}\t{part}\t'.encode()  # of each line
            rows = getattr(fold, part)
            for first in range(0, len(rows), HASHED_AT_ONCE):
                lines = line_N[rows[first : first + HASHED_AT_ONCE]].tolist()
                digest.update(start.join([b'', *lines]))
    return digest.hexdigest()


def _hashed_lines(utterances: Utterances, ratings: tuple[str, ...], with_votes: bool) -> np.ndarray:
    """Returns line_N, what the hash contains of each utterance after the fold and the part."""
    columns = [utterances.text[column].tolist() for column in HASHED_COLUMNS]
    for name in ratings:
        rating_N = utterances.rating_NxA[:, RATING_COLUMNS.index(name)]
        columns.append([format_rating(rating) for rating in rating_N.tolist()])
    if with_votes:
        columns.append(utterances.text[VOTES_COLUMN].tolist())
    line_N = np.empty(len(utterances), object)
    line_N[:] = [_hashed_line(fields) for fields in zip(*columns)]
    return line_N


def _hashed_line(fields: Iterable[str]) -> bytes:
    """Returns the fields of a row, or the last of them, as the hash contains them."""
    return '\t'.join(fields).encode() + b'\n'


def format_rating(rating: float) -> str:
    """Returns a rating as the SHA-256 of a split has it; 'nan' if there is none."""
    return f'{rating:.6g}'


def hash_rows(rows: Iterable[Iterable[str]]) -> str:
    """Returns the SHA-256 of the rows of a split: an utterance in a part of a fold each, in order.

    The fields of a row are the fold's name, the part, `HASHED_COLUMNS`, and where the task has
    them, the ratings (`format_rating`) and the votes.
    """
    digest = hashlib.sha256()
    for fields in rows:
        digest.update(_hashed_line(fields))
    return digest.hexdigest()
