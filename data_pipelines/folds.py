"""Who trains, who chooses the epoch and who is tested: folds whose three parts share no speaker."""

import dataclasses
import hashlib
import itertools

import numpy as np

from data_pipelines.refusal import Refusal
from data_pipelines.shards import Utterances

PROTOCOLS = ('speaker_folds', 'leave_one_speaker_out', 'leave_one_session_out')


@dataclasses.dataclass(frozen=True)
class Fold:
    """Rows of the utterances; `test` chooses nothing."""

    number: int
    name: str
    train: np.ndarray
    dev: np.ndarray
    test: np.ndarray
    adapt: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, int))  # heard in training without their emotion


def groups(utterances: Utterances, protocol: str, k: int) -> list[tuple[str, list[str]]]:
    """Names of the parts into which the protocol cuts the corpus, with their speakers."""
    speaker, session, sex = (utterances.text[c] for c in ('speaker', 'session', 'sex'))
    sex_of = dict(zip(speaker, sex))
    speakers = sorted(sex_of, key=lambda s: (sex_of[s], s))
    if protocol == 'leave_one_speaker_out':
        return [(s, [s]) for s in sorted(sex_of)]
    if protocol == 'speaker_folds':
        # Dealt out in turn, women first, so that every part has its share of both sexes.
        return [(f'part {i + 1} of {k}', speakers[i::k]) for i in range(k)]
    if protocol == 'leave_one_session_out':
        sessions = sorted(set(session))
        if '' in sessions:
            raise Refusal('This corpus has no sessions. Choose --config.protocol.name=speaker_folds or leave_one_speaker_out.')
        parts = [(s, sorted(set(speaker[session == s]))) for s in sessions]
        for (a, in_a), (b, in_b) in itertools.combinations(parts, 2):
            if shared := set(in_a) & set(in_b):
                raise Refusal(
                    f'Sessions {a} and {b} share the speaker {sorted(shared)[0]}: leaving a session out would not leave its '
                    'speakers out. Choose --config.protocol.name=speaker_folds.'
                )
        return parts
    raise Refusal(f'There is no protocol {protocol!r}; known are {", ".join(PROTOCOLS)}.')


def make(utterances: Utterances, protocol: str, k: int) -> list[Fold]:
    """The folds: part i is tested, part i + 1 is dev, the others train."""
    speakers = len(set(utterances.text['speaker']))
    if protocol == 'speaker_folds' and not 3 <= k <= speakers:
        raise Refusal(
            f'{k} folds by speaker cannot be made of {speakers} speakers: each part needs a speaker, and there must be 3 or more '
            f'parts (train, dev, test). Choose --config.protocol.folds from 3 to {speakers}.'
            if speakers >= 3
            else f'Only {speakers} speaker(s) found; a speaker-disjoint train, dev and test part needs 3 or more.'
        )
    parts = groups(utterances, protocol, k)
    if len(parts) < 3:
        raise Refusal(
            f'{protocol} finds {len(parts)} part(s) ({", ".join(n for n, _ in parts)}); train, dev and test need 3 or more.'
        )
    rows = [np.flatnonzero(np.isin(utterances.text['speaker'], s)) for _, s in parts]
    folds = []
    for i, (name, _) in enumerate(parts):
        j = (i + 1) % len(parts)
        train = np.sort(np.concatenate([r for n, r in enumerate(rows) if n not in (i, j)]))
        folds.append(Fold(i, name, train, rows[j], rows[i]))
    check(utterances, folds)
    return folds


def check(utterances: Utterances, folds: list[Fold]) -> None:
    """Refuses a fold whose parts share a speaker or whose training part lacks a class."""
    classes = set(utterances.text['emotion'])
    for fold in folds:
        seen = [set(utterances.text['speaker'][part]) for part in (fold.train, fold.dev, fold.test)]
        for a, b in itertools.combinations(seen, 2):
            if shared := a & b:
                raise Refusal(f'Fold {fold.name!r} has the speaker {sorted(shared)[0]} in two of its parts.')
        if missing := classes - set(utterances.text['emotion'][fold.train]):
            raise Refusal(
                f'Nobody in the training part of fold {fold.name!r} is {" or ".join(sorted(missing))}. '
                'Choose fewer folds, or another label space.'
            )


def sha256(utterances: Utterances, folds: list[Fold]) -> str:
    """The split's hash: changes with any utterance, label, speaker, or part of any fold."""
    digest = hashlib.sha256()
    for fold in folds:
        for part in ('train', 'dev', 'test'):
            for row in getattr(fold, part):
                fields = (utterances.text[c][row] for c in ('corpus', 'utterance', 'speaker', 'emotion'))
                digest.update('\t'.join((fold.name, part, *fields)).encode() + b'\n')
    return digest.hexdigest()
