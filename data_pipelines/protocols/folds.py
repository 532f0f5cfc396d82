"""Who trains, who chooses the epoch, who is tested, and who is heard without a label: the protocols, as rows of utterances."""

import dataclasses
import hashlib

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.storage.schema import Utterances

LEAK_KINDS = ('speaker', 'audio')


def parse_allowed_leaks(text: str) -> tuple[str, ...]:
    """The kinds of leak in a comma list; refuses what is none."""
    words = tuple(sorted({w.strip() for w in text.split(',')} - {''}))
    if unknown := [w for w in words if w not in LEAK_KINDS]:
        raise UserError(
            f'There is no leak {unknown[0]!r} to allow; known are {", ".join(LEAK_KINDS)}.'
        )
    return words


WITHIN_CORPUS_PROTOCOLS = (
    'speaker_folds',
    'leave_one_speaker_out',
    'leave_one_session_out',
    'official',
    'speaker_dependent',
)

CROSS_CORPUS_PROTOCOLS = {
    'leave_one_corpus_out': 'corpus',
    'leave_one_language_out': 'language',
    'source_target': 'corpus',
}

ADAPTATION_MODES = {
    'none': '',
    'others': ', adapts to other speakers of the target',
    'transductive': ', transductive: hears the test speakers in training',
}

DEV_SPEAKER_GROUPS = 5  # of each source corpus' speakers, one chooses the epoch


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a corpus, or several, are cut into folds; configs/base.py explains the fields."""

    name: str = 'speaker_folds'
    folds: int = 5
    source: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    adapt: str = 'none'
    identity: tuple[str, ...] = ()
    test: str = 'test'
    allow_leak: str = ''

    def __post_init__(self):
        known = (*WITHIN_CORPUS_PROTOCOLS, *CROSS_CORPUS_PROTOCOLS)
        if self.name not in known:
            raise UserError(f'There is no protocol {self.name!r}; known are {", ".join(known)}.')
        if self.adapt not in ADAPTATION_MODES:
            raise UserError(
                f'config.protocol.adapt is {self.adapt!r}; expected one of {", ".join(ADAPTATION_MODES)}.'
            )
        if self.adapt == 'others' and self.name in WITHIN_CORPUS_PROTOCOLS:
            raise UserError(
                f'config.protocol.adapt=others needs a target apart from the source, which {self.name} has not.'
            )
        pair = self.name == 'source_target'
        if pair and not (self.source and self.target):
            raise UserError(
                'source_target needs both ends, e.g. --config.protocol.source=emodb --config.protocol.target=urdu.'
            )
        if not pair and (self.source or self.target):
            raise UserError(
                f'config.protocol.source and .target belong to the protocol source_target, not to {self.name}.'
            )
        if both := set(self.source) & set(self.target):
            raise UserError(
                f'{min(both)} is source and target; they are to have nothing in common.'
            )
        if both := set(self.identity) & {*self.source, *self.target}:
            raise UserError(
                f'{min(both)} is source or target, and cannot fill the identity batches too (config.protocol.identity).'
            )

    @property
    def title(self) -> str:
        """What is said of the protocol beside every result."""
        ends = f' {"+".join(self.source)} -> {"+".join(self.target)}' if self.source else ''
        part = f' ({self.test})' if self.name == 'official' and self.test != 'test' else ''
        shared = ', speakers are shared between training and test' if self.shares_speakers else ''
        identity = f', identity batches from {"+".join(self.identity)}' if self.identity else ''
        return f'{self.name}{ends}{part}{shared}{ADAPTATION_MODES[self.adapt]}{identity}'

    @property
    def shares_speakers(self) -> bool:
        """Whether test speakers are meant to be training speakers."""
        return self.name == 'speaker_dependent'

    @property
    def is_transductive(self) -> bool:
        """Whether the test part's audio, without its emotions, is heard in training."""
        return self.adapt == 'transductive'


@dataclasses.dataclass(frozen=True)
class Fold:
    """Rows of the utterances; `test` chooses nothing."""

    number: int
    name: str
    train: np.ndarray
    dev: np.ndarray
    test: np.ndarray
    adapt: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros(0, int)
    )  # heard in training without their emotion
    identity: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros(0, int)
    )  # of other corpora, for identity batches

    @property
    def domain_rows(self) -> np.ndarray:
        """Whose domains training tells apart: all that it hears, or other corpora, where they fill the identity batches."""
        return self.identity if len(self.identity) else self.seen

    @property
    def seen(self) -> np.ndarray:
        """All that training hears."""
        return np.concatenate([self.train, self.adapt])

    @property
    def used_rows(self) -> np.ndarray:
        """All that training hears, that chooses, or that is tested; in ascending order, each once."""
        return np.unique(np.concatenate([self.seen, self.dev, self.test]))


def make_folds(utterances: Utterances, protocol: Protocol) -> list[Fold]:
    """The folds of a protocol; a row may be in none, e.g. where nobody knows the speaker."""
    apart_N = identity_mask(utterances, protocol.identity)
    if absent := set(protocol.identity) - set(utterances.text['corpus'].tolist()):
        raise UserError(
            f'There is no utterance of the corpus {min(absent)}, which config.protocol.identity names.'
        )
    own = np.flatnonzero(~apart_N)
    rest = utterances[own]
    made = (
        make_cross_corpus_folds(rest, protocol)
        if protocol.name in CROSS_CORPUS_PROTOCOLS
        else make_within_corpus_folds(rest, protocol)
    )
    check_folds(rest, made)
    known = np.flatnonzero(apart_N & (utterances.text['speaker'] != ''))
    if protocol.identity and not len(known):
        raise UserError(
            f'Nobody knows a speaker of {", ".join(protocol.identity)}, which config.protocol.identity names.'
        )
    parts = ('train', 'dev', 'test', 'adapt')
    return [
        dataclasses.replace(f, identity=known, **{p: own[getattr(f, p)] for p in parts})
        for f in made
    ]


def identity_mask(utterances: Utterances, identity_corpora: tuple[str, ...]) -> np.ndarray:
    """apart_N, whether an utterance is of a corpus that fills the identity batches and has no other part."""
    return np.isin(utterances.text['corpus'], identity_corpora)


def make_within_corpus_folds(utterances: Utterances, protocol: Protocol) -> list[Fold]:
    """Folds of one body of speech: part i is tested, part i + 1 is dev, the others train."""
    if protocol.name == 'official':
        return [make_official_fold(utterances, protocol)]
    parts = _test_groups(utterances, protocol)
    if len(parts) < 3:
        names = ', '.join(n for n, _ in parts) or 'none'
        raise UserError(
            f'{protocol.name} finds {len(parts)} part(s) ({names}); train, dev and test need 3 or more.'
        )
    rows = [r for _, r in parts]
    folds = []
    for i, (name, test) in enumerate(parts):
        j = (i + 1) % len(parts)
        train = np.sort(np.concatenate([r for n, r in enumerate(rows) if n not in (i, j)]))
        folds.append(
            Fold(i, name, train, rows[j], test, test if protocol.is_transductive else test[:0])
        )
    return folds


def _test_groups(utterances: Utterances, protocol: Protocol) -> list[tuple[str, np.ndarray]]:
    """Names and rows of the parts that are tested in turn."""
    speaker, session = utterances.text['speaker'], utterances.text['session']
    everyone, k = np.arange(len(utterances)), protocol.folds
    if protocol.name == 'leave_one_speaker_out':
        return [(s, np.flatnonzero(speaker == s)) for s in np.unique(speaker).tolist() if s]
    if protocol.name == 'leave_one_session_out':
        if '' in session:
            raise UserError(
                f'{(session == "").sum()} of {len(session)} utterances have no session. Choose '
                '--config.protocol.name=speaker_folds or leave_one_speaker_out.'
            )
        return [(s, np.flatnonzero(session == s)) for s in np.unique(session).tolist()]
    if protocol.name == 'speaker_folds':
        found = len(set(speaker) - {''})
        if not 3 <= k <= found:
            raise UserError(
                f'{k} folds by speaker cannot be made of {found} speakers: each part needs a speaker, and there must be 3 or '
                f'more parts (train, dev, test). Choose --config.protocol.folds from 3 to {found}.'
                if found >= 3
                else f'Only {found} speaker(s) found; a speaker-disjoint train, dev and test part needs 3 or more. They may '
                'train or be tested beside another corpus (source_target), or share their speakers (speaker_dependent).'
            )
        dealt = split_by_speaker(utterances, everyone, k)
    else:  # speaker_dependent: at random, but copies of a recording stay together
        if k < 3:
            raise UserError(f'config.protocol.folds is {k}; train, dev and test need 3 or more.')
        _, recording_N = np.unique(utterances.text['sha256'], return_inverse=True)
        recording_N = np.where(
            utterances.text['sha256'] == '', recording_N.max() + 1 + everyone, recording_N
        )
        part_of = np.random.default_rng(0).permutation(recording_N.max() + 1) % k
        dealt = [np.flatnonzero(part_of[recording_N] == i) for i in range(k)]
    return [(f'part {i + 1} of {k}', rows) for i, rows in enumerate(dealt)]


def split_by_speaker(utterances: Utterances, rows: np.ndarray, groups: int) -> list[np.ndarray]:
    """Rows by speaker in k parts, of corpus after corpus and women first, so that every part has its share of them."""
    corpus, sex, speaker = (utterances.text[c][rows] for c in ('corpus', 'sex', 'speaker'))
    kind = {s: (c, x) for s, c, x in zip(speaker.tolist(), corpus.tolist(), sex.tolist()) if s}
    speakers = sorted(kind, key=lambda s: (*kind[s], s))
    return [rows[np.isin(speaker, speakers[i::groups])] for i in range(groups)]


def make_official_fold(utterances: Utterances, protocol: Protocol) -> Fold:
    """The release's own partition."""
    split = utterances.text['split']
    train, dev, test = (np.flatnonzero(split == part) for part in ('train', 'dev', protocol.test))
    if not (len(train) and len(dev) and len(test)):
        found = ', '.join(
            f'{n} {s or "without one"}' for s, n in zip(*np.unique(split, return_counts=True))
        )
        raise UserError(
            f'The official split needs utterances of train, dev and {protocol.test}; this data set has {found}. '
            'Choose another --config.protocol.name, or --config.protocol.test.'
        )
    return Fold(0, protocol.test, train, dev, test, test if protocol.is_transductive else test[:0])


def make_cross_corpus_folds(utterances: Utterances, protocol: Protocol) -> list[Fold]:
    """Folds whose source trains and chooses the epoch, and whose target is tested, and heard where the protocol adapts."""
    kind = CROSS_CORPUS_PROTOCOLS[protocol.name]
    value_N = utterances.text[kind]
    if protocol.name == 'source_target':
        if absent := {*protocol.source, *protocol.target} - set(value_N.tolist()):
            found = ', '.join(np.unique(value_N).tolist())
            raise UserError(
                f'There is no utterance with a class of the corpus {min(absent)}; found: {found}.'
            )
        ends = [
            (
                '+'.join(protocol.target),
                np.isin(value_N, protocol.source),
                np.isin(value_N, protocol.target),
            )
        ]
    else:
        values = np.unique(value_N).tolist()
        if len(values) < 2 or '' in values:
            raise UserError(
                f'To leave one {kind} out there must be two or more, and of every utterance it must be known; found: '
                f'{", ".join(v or "(unknown)" for v in values)}. Name several corpora: --config.data.corpora=emodb,ravdess.'
            )
        ends = [(v, value_N != v, value_N == v) for v in values]
    known_N = utterances.text['speaker'] != ''
    folds: list[Fold] = []
    for name, source_N, target_N in ends:
        source, target = np.flatnonzero(source_N & known_N), np.flatnonzero(target_N)
        for part, test, adapt in _target_groups(utterances, target, protocol):
            dev = _choose_dev(utterances, source, len(folds))
            train = source[~np.isin(source, dev)]
            folds.append(Fold(len(folds), name + part, train, dev, test, adapt))
    return folds


def _target_groups(
    utterances: Utterances, target: np.ndarray, protocol: Protocol
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Names, test parts and what is heard beside them: of a target that is adapted to, each speaker is tested once."""
    if protocol.adapt != 'others':
        return [('', target, target if protocol.is_transductive else target[:0])]
    k, speakers = protocol.folds, len(set(utterances.text['speaker'][target]) - {''})
    if not 2 <= k <= speakers:
        raise UserError(
            f'A target of {speakers} speaker(s) cannot be dealt into {k} parts, one tested and the others heard: '
            f'choose --config.protocol.folds from 2 to {speakers}, or --config.protocol.adapt=none.'
        )
    parts = split_by_speaker(utterances, target, k)
    heard = [np.sort(np.concatenate([p for n, p in enumerate(parts) if n != i])) for i in range(k)]
    return [(f', part {i + 1} of {k}', parts[i], heard[i]) for i in range(k)]


def _choose_dev(utterances: Utterances, source: np.ndarray, fold_number: int) -> np.ndarray:
    """About a fifth of the speakers of each source corpus, other ones in each fold; a corpus of one speaker only trains."""
    chosen = [source[:0]]
    for corpus in np.unique(utterances.text['corpus'][source]).tolist():
        rows = source[utterances.text['corpus'][source] == corpus]
        k = min(DEV_SPEAKER_GROUPS, len(set(utterances.text['speaker'][rows])))
        if k > 1:
            chosen.append(split_by_speaker(utterances, rows, k)[fold_number % k])
    return np.sort(np.concatenate(chosen))


def check_folds(utterances: Utterances, folds: list[Fold]) -> None:
    """Refuses a fold with an empty part or whose training part lacks a class."""
    emotion = utterances.text['emotion']
    for fold in folds:
        for part in ('train', 'dev', 'test'):
            if not len(getattr(fold, part)):
                raise UserError(
                    f'Nobody is in the {part} part of fold {fold.name!r}: its corpora have too few speakers.'
                )
        if missing := {*emotion[fold.test], *emotion[fold.dev]} - set(emotion[fold.train]):
            raise UserError(
                f'Nobody in the training part of fold {fold.name!r} is {" or ".join(sorted(missing))}. '
                'Choose a label space that its corpora share (--config.data.labels), or a protocol that trains on more.'
            )


def hash_folds(utterances: Utterances, folds: list[Fold]) -> str:
    """The split's hash: changes with any utterance, label, speaker, or part of any fold."""
    digest = hashlib.sha256()
    for fold in folds:
        for part in ('train', 'dev', 'test', 'adapt', 'identity'):
            for row in getattr(fold, part):
                fields = (
                    utterances.text[c][row] for c in ('corpus', 'utterance', 'speaker', 'emotion')
                )
                digest.update('\t'.join((fold.name, part, *fields)).encode() + b'\n')
    return digest.hexdigest()
