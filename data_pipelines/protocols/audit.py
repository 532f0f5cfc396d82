"""Audits folds: what their parts share, and how much domains say about the emotion."""

import itertools
import math
from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.protocols.folds import (
    ALL_PARTS,
    PARTS,
    Fold,
    Protocol,
    parse_allowed_leaks,
    rows_of_parts,
)
from data_pipelines.storage.schema import Utterances
from data_pipelines.wording import pluralize

# Two signatures are of one recording if their product reaches the first, and the logarithms of
# their lengths differ by no more than the second. data_pipelines/audit.py says how they were set.
COPY_SIMILARITY = 0.96
MAX_LOG_LENGTH_DIFFERENCE = 0.03

BLOCK_SIZE = 512  # signatures compared at a time with BLOCK_RATIO times as many
BLOCK_RATIO = 8

MAX_EXAMPLES = 10

MAX_COPY_SIMILARITY = 0.9999  # the largest stated similarity of recordings that are not identical

# The largest share of the emotion's entropy, beyond chance, of each level of confounding. The
# limits are this project's choice.
CONFOUNDING_LEVELS = ((0.02, 'none'), (0.2, 'weak'), (1.0, 'strong'))


def audit_folds(utterances: Utterances, folds: list[Fold], protocol: Protocol) -> dict:
    """Returns the findings of `inspect_folds`; UserError for a leak that is not allowed."""
    findings = inspect_folds(utterances, folds, protocol)
    check_leaks(findings)
    return findings


def inspect_folds(utterances: Utterances, folds: list[Fold], protocol: Protocol) -> dict:
    """Returns what the parts of the folds share, and what domains say about the emotion.

    The findings are JSON: counts, and at most `MAX_EXAMPLES` examples of each kind.
    """
    allowed = parse_allowed_leaks(protocol.allow_leak)
    part_pairs = compared_parts(protocol)
    used_rows = rows_of_parts(folds, ALL_PARTS)
    unknown_speakers = int((utterances.text['speaker'][used_rows] == '').sum())
    speakers = shared_values(utterances, 'speaker', folds, part_pairs)
    audio, duplicates = shared_recordings(utterances, folds, part_pairs, used_rows)
    leaks = []
    if speakers['count'] and not protocol.shares_speakers:
        leaks.append('speaker')
    if audio['exact'] + audio['near']:
        leaks.append('audio')
    return {
        'folds': len(folds),
        'utterances': len(used_rows),
        'allowed': list(allowed),
        'shares_speakers': protocol.shares_speakers,
        'transductive': protocol.is_transductive,
        'speaker': speakers | {'unknown': unknown_speakers},
        'audio': audio,
        'duplicates': duplicates,
        'session': shared_values(utterances, 'session', folds, part_pairs),
        'sentence': sentence_overlap(utterances, folds),
        'missing': missing_classes(utterances, folds),
        'tells': emotion_information(utterances, folds),
        'leaks': leaks,
    }


def compared_parts(protocol: Protocol) -> list[tuple[str, str]]:
    """Returns the pairs of parts that may share nothing."""
    pairs = list(itertools.combinations(PARTS, 2))
    if not protocol.is_transductive:
        pairs += [('adapt', 'dev'), ('adapt', 'test')]
    return [*pairs, ('identity', 'dev'), ('identity', 'test')]


def shared_values(
    utterances: Utterances, column: str, folds: list[Fold], part_pairs: list[tuple[str, str]]
) -> dict:
    """Returns the values of a column that two parts of a fold share; '' is unknown and no value.

    They are counted once each, together with the folds in which they are, and examples.
    """
    values, index_N = np.unique(utterances.text[column], return_inverse=True)
    shared = set()
    fold_numbers = set()
    examples = []
    for fold in folds:
        present = _presence_by_part(fold, index_N, len(values))
        for pair in part_pairs:
            both = present[pair[0]] & present[pair[1]] & (values != '')
            for index in np.flatnonzero(both).tolist():
                fold_numbers.add(fold.number)
                if index not in shared and len(examples) < MAX_EXAMPLES:
                    rows = [_first_row(getattr(fold, part), index_N, index) for part in pair]
                    names = [str(utterances.text['utterance'][row]) for row in rows]
                    example = {'fold': fold.name, 'parts': list(pair), column: str(values[index])}
                    examples.append(example | {'utterances': names})
                shared.add(index)
    return {'count': len(shared), 'in_folds': len(fold_numbers), 'examples': examples}


def _presence_by_part(fold: Fold, index_N: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Returns for each part of a fold which of `count` indices its utterances have."""
    presence = {}
    for part in ALL_PARTS:
        presence[part] = np.bincount(index_N[getattr(fold, part)], minlength=count) > 0
    return presence


def _first_row(rows: np.ndarray, index_N: np.ndarray, index: int) -> int:
    """Returns the first of the rows that has the index."""
    return int(rows[np.flatnonzero(index_N[rows] == index)[0]])


class Recordings(NamedTuple):
    """The recordings of the utterances; utterances with identical samples have one recording."""

    count: int  # K
    index_N: np.ndarray  # of each utterance
    used_rows: np.ndarray  # the utterances in any part of any fold
    near_Px2: np.ndarray  # pairs of recordings in use that are nearly identical


def find_recordings(utterances: Utterances, used_rows: np.ndarray) -> Recordings:
    """Returns the recordings, by the hashes of their samples; without a hash each is its own."""
    hash_N = utterances.text['sha256']
    row_names = np.arange(len(utterances)).astype(str)
    hash_N = np.where(hash_N == '', row_names, hash_N)
    _, first_K, index_N = np.unique(hash_N, return_index=True, return_inverse=True)
    near_Px2, _ = find_near_duplicates(utterances.signature_NxS[first_K])
    is_used_P = np.isin(near_Px2, index_N[used_rows]).all(axis=1)
    return Recordings(len(first_K), index_N, used_rows, near_Px2[is_used_P])


def shared_recordings(
    utterances: Utterances,
    folds: list[Fold],
    part_pairs: list[tuple[str, str]],
    used_rows: np.ndarray,
) -> tuple[dict, dict]:
    """Returns the recordings that two parts of a fold share, and other duplicates.

    The latter are recordings that occur twice, but never in two compared parts of a fold.
    """
    recordings = find_recordings(utterances, used_rows)
    # Each recording with itself (identical copies), then the nearly identical pairs.
    itself_Kx2 = np.repeat(np.arange(recordings.count), 2).reshape(-1, 2)
    pairs_Px2 = np.concatenate([itself_Kx2, recordings.near_Px2])
    leaks_P = np.zeros(len(pairs_Px2), bool)
    fold_numbers = set()
    examples = []
    for fold in folds:
        present = _presence_by_part(fold, recordings.index_N, recordings.count)
        for part_pair in part_pairs:
            a_Px2 = present[part_pair[0]][pairs_Px2]
            b_Px2 = present[part_pair[1]][pairs_Px2]
            in_order_P = a_Px2[:, 0] & b_Px2[:, 1]
            crosses_P = in_order_P | (a_Px2[:, 1] & b_Px2[:, 0])
            new = np.flatnonzero(crosses_P & ~leaks_P)
            for p in new[: MAX_EXAMPLES - len(examples)]:
                ends = pairs_Px2[p] if in_order_P[p] else pairs_Px2[p, ::-1]
                rows = [
                    _first_row(getattr(fold, part), recordings.index_N, end)
                    for part, end in zip(part_pair, ends)
                ]
                example = {'fold': fold.name, 'parts': list(part_pair)}
                examples.append(example | describe_pair(utterances, *rows))
            leaks_P |= crosses_P
            if crosses_P.any():
                fold_numbers.add(fold.number)
    exact = leaks_P[: recordings.count]
    near = leaks_P[recordings.count :]
    shared = {
        'exact': int(exact.sum()),
        'near': int(near.sum()),
        'in_folds': len(fold_numbers),
        'examples': examples,
    }
    return shared, _duplicates_within_parts(utterances, recordings, exact, near)


def _duplicates_within_parts(
    utterances: Utterances, recordings: Recordings, leaks_K: np.ndarray, near_leaks_P: np.ndarray
) -> dict:
    """Returns the duplicates that are no leak: further copies of a recording, and nearly copies."""
    used_rows = recordings.used_rows
    used_index = recordings.index_N[used_rows]
    copies_K = np.bincount(used_index, minlength=recordings.count)
    further_K = np.where(leaks_K, 0, np.maximum(copies_K - 1, 0))
    near_Px2 = recordings.near_Px2[~near_leaks_P]
    examples = []
    for k in np.flatnonzero(further_K)[:MAX_EXAMPLES]:
        rows = used_rows[used_index == k]
        examples.append(describe_pair(utterances, rows[0], rows[1]))
    for a, b in near_Px2[: MAX_EXAMPLES - len(examples)]:
        first = _first_row(used_rows, recordings.index_N, a)
        second = _first_row(used_rows, recordings.index_N, b)
        examples.append(describe_pair(utterances, first, second))
    return {'exact': int(further_K.sum()), 'near': len(near_Px2), 'examples': examples}


def describe_pair(utterances: Utterances, row: int, other: int) -> dict:
    """Returns two utterances of one recording, how similar they are, and which labels differ.

    'alike' is 1 for identical samples alone; otherwise it is rounded down and below 1.
    """
    text = utterances.text
    is_identical = row == other or text['sha256'][row] == text['sha256'][other] != ''
    similarity = 1.0
    if not is_identical:
        signature = utterances.signature_NxS[row, 1:].astype(float)
        correlation = float(signature @ utterances.signature_NxS[other, 1:])
        similarity = min(math.floor(1e4 * correlation) / 1e4, MAX_COPY_SIMILARITY)
    columns = ('speaker', 'emotion', 'corpus')
    return {
        'utterances': [str(text['utterance'][row]), str(text['utterance'][other])],
        'alike': similarity,
        'differ': [column for column in columns if text[column][row] != text[column][other]],
    }


def find_near_duplicates(signature_NxS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns near_Px2, pairs of rows whose signatures are of one recording, and similarity_P.

    The smaller row comes first. Only signatures of similar lengths are compared, in blocks: 20 to
    30 s for 150,000 utterances on two busy CPU cores.
    """
    length_N = np.log(np.maximum(signature_NxS[:, 0].astype(float), 1.0))
    order = np.argsort(length_N, kind='stable')
    length_N = length_N[order]
    grid_NxS = signature_NxS[order, 1:].astype(np.float32)
    pairs = [np.zeros((0, 2), int)]
    similarities = [np.zeros(0, np.float32)]
    for start in range(0, len(order), BLOCK_SIZE):
        block = grid_NxS[start : start + BLOCK_SIZE]
        longest = length_N[start + len(block) - 1] + MAX_LOG_LENGTH_DIFFERENCE
        end = np.searchsorted(length_N, longest, 'right')
        for other in range(start, end, BLOCK_RATIO * BLOCK_SIZE):
            others = grid_NxS[other : min(other + BLOCK_RATIO * BLOCK_SIZE, end)]
            product = block @ others.T
            i, j = np.nonzero(product >= COPY_SIMILARITY)
            difference = length_N[other + j] - length_N[start + i]
            keep = (other + j > start + i) & (difference <= MAX_LOG_LENGTH_DIFFERENCE)
            i = i[keep]
            j = j[keep]
            rows_Px2 = np.stack([order[start + i], order[other + j]], axis=1)
            pairs.append(np.sort(rows_Px2, axis=1))
            similarities.append(product[i, j])
    near_Px2 = np.concatenate(pairs)
    sorted_P = np.lexsort(near_Px2.T[::-1])
    return near_Px2[sorted_P], np.concatenate(similarities)[sorted_P]


def sentence_overlap(utterances: Utterances, folds: list[Fold]) -> dict:
    """Returns how much of what is said in test, over all folds, is said in training too.

    'known' counts test utterances with a known sentence, 'heard' those of them whose sentence is
    in training; 'sentences' and 'sentences_heard' count different sentences.
    """
    sentence_N = utterances.text['sentence']
    known = []
    seen = []
    for fold in folds:
        tested = sentence_N[fold.test]
        tested = tested[tested != '']
        known.append(tested)
        seen.append(tested[np.isin(tested, sentence_N[fold.train])])
    known = np.concatenate(known)
    seen = np.concatenate(seen)
    return {
        'known': len(known),
        'heard': len(seen),
        'sentences': len(np.unique(known)),
        'sentences_heard': len(np.unique(seen)),
    }


def missing_classes(utterances: Utterances, folds: list[Fold]) -> dict:
    """Returns the parts of folds that have no utterance of a class: their count, and examples."""
    emotion_N = utterances.text['emotion']
    classes = set(emotion_N[rows_of_parts(folds, PARTS)])
    parts = []
    for fold, part in itertools.product(folds, PARTS):
        missing = sorted(classes - set(emotion_N[getattr(fold, part)]))
        if missing:
            names = [str(name) for name in missing]
            parts.append({'fold': fold.name, 'part': part, 'classes': names})
    return {'parts': len(parts), 'examples': parts[:MAX_EXAMPLES]}


def emotion_information(utterances: Utterances, folds: list[Fold]) -> dict:
    """Returns how much the speaker, the corpus and the language say about the emotion.

    Corpus and language are left out where there is only one; with several corpora, the speakers
    within each corpus are measured too.
    """
    rows = rows_of_parts(folds, PARTS)
    speaker_N = utterances.text['speaker'][rows]
    corpus_N = utterances.text['corpus'][rows]
    language_N = utterances.text['language'][rows]
    emotion_N = utterances.text['emotion'][rows]
    is_known_N = speaker_N != ''
    information = {'speaker': measure_confounding(speaker_N[is_known_N], emotion_N[is_known_N])}
    corpora = np.unique(corpus_N).tolist()
    if len(corpora) > 1:
        for corpus in corpora:
            mask_N = is_known_N & (corpus_N == corpus)
            name = f'speaker in {corpus}'
            information[name] = measure_confounding(speaker_N[mask_N], emotion_N[mask_N])
        information['corpus'] = measure_confounding(corpus_N, emotion_N)
    if len(np.unique(language_N)) > 1:
        information['language'] = measure_confounding(language_N, emotion_N)
    return information


def measure_confounding(domain_N: np.ndarray, emotion_N: np.ndarray) -> dict:
    """Returns the mutual information of domain and emotion, and what it would be by chance.

    All in bits: 'bits' is I(domain; emotion), 'chance' its expectation for the same counts if the
    two are independent, 'of' is H(emotion). Counts overestimate the information, the more so the
    fewer utterances a domain has, so 'share' is (bits - chance) / (of - chance), and 'word' the
    level of confounding.
    """
    _, domain_N = np.unique(domain_N, return_inverse=True)
    _, emotion_N = np.unique(emotion_N, return_inverse=True)
    chance = chance_information(domain_N, emotion_N)
    bits = mutual_information(domain_N, emotion_N)
    total = entropy(emotion_N)
    share = 0.0
    if total - chance > 1e-9:
        share = max(0.0, bits - chance) / (total - chance)
    return {
        'bits': round(bits, 4),
        'chance': round(chance, 4),
        'of': round(total, 4),
        'share': round(share, 4),
        'word': _confounding_level(share),
    }


def _confounding_level(share: float) -> str:
    """Returns the word for a share of the emotion's entropy."""
    for limit, level in CONFOUNDING_LEVELS:
        if share <= limit:
            return level
    return CONFOUNDING_LEVELS[-1][1]


def chance_information(x_N: np.ndarray, y_N: np.ndarray) -> float:
    """Returns the expected mutual information in bits, where one of two columns is shuffled.

    This is the adjustment for chance of Vinh, Epps, Bailey (2010), Information theoretic measures
    for clusterings comparison, JMLR 11.
    """
    if not len(x_N):
        return 0.0
    # Imported here: it takes most of a second, and commands without an audit do not need it.
    from sklearn.metrics.cluster import contingency_matrix, expected_mutual_information

    counts = contingency_matrix(x_N, y_N, sparse=True)
    nats = expected_mutual_information(counts, len(x_N))
    return max(0.0, float(nats) / math.log(2))


def mutual_information(x_N: np.ndarray, y_N: np.ndarray) -> float:
    """Returns the mutual information in bits of two columns of small integers."""
    joint_N = x_N * (y_N.max(initial=0) + 1) + y_N
    return max(0.0, entropy(x_N) + entropy(y_N) - entropy(joint_N))


def entropy(x_N: np.ndarray) -> float:
    """Returns the entropy in bits of a column of small integers."""
    count = np.bincount(x_N)
    p = count[count > 0] / max(len(x_N), 1)
    return float(-(p * np.log2(p)).sum()) + 0.0  # + 0.0 turns -0.0 into 0.0


def check_leaks(findings: dict) -> None:
    """Raises a UserError for leaks that are not allowed: where they are, and what to do."""
    refused = [kind for kind in findings['leaks'] if kind not in findings['allowed']]
    messages = []
    if 'speaker' in refused:
        messages.append(_speaker_leak_message(findings))
    if 'audio' in refused:
        messages.append(_audio_leak_message(findings))
    if messages:
        raise UserError('\n'.join(messages))


def _speaker_leak_message(findings: dict) -> str:
    """Returns which speakers are in two parts, first by the examples of one pair of parts."""
    leak = findings['speaker']
    examples = _examples_of_first_fold(leak)
    named = [f'{e["speaker"]} ({" and ".join(e["utterances"])})' for e in examples]
    return (
        f'Speaker leak: in fold {examples[0]["fold"]!r} {" and ".join(examples[0]["parts"])} '
        f'share {pluralize(len(named), "speaker")}: {"; ".join(named)}. '
        f'In all {pluralize(leak["count"], "speaker")} '
        f'in {leak["in_folds"]} of {pluralize(findings["folds"], "fold")}. '
        'Choose a speaker-disjoint protocol; --allow_leak=speaker continues, '
        'and the results state the leak.'
    )


def _audio_leak_message(findings: dict) -> str:
    """Returns which recordings are in two parts, first by the examples of one pair of parts."""
    leak = findings['audio']
    examples = _examples_of_first_fold(leak)
    named = [format_pair(e) for e in examples[:3]]
    if len(examples) > 3:
        named.append('...')
    return (
        f'Audio leak: in fold {examples[0]["fold"]!r} {" and ".join(examples[0]["parts"])} '
        f'share recordings: {"; ".join(named)}. '
        f'In all {leak["exact"]} identical and {leak["near"]} nearly identical, '
        f'in {leak["in_folds"]} of {pluralize(findings["folds"], "fold")}. '
        'Remove one of the copies and prepare the corpus again; --allow_leak=audio continues, '
        'and the results state the leak.'
    )


def _examples_of_first_fold(leak: dict) -> list[dict]:
    """Returns the examples that are of the same fold and the same two parts as the first."""
    fold = leak['examples'][0]['fold']
    parts = leak['examples'][0]['parts']
    return [e for e in leak['examples'] if e['fold'] == fold and e['parts'] == parts]


def format_pair(pair: dict) -> str:
    """Returns 'a = b' for identical recordings, 'a ~ (0.9876) b' for nearly identical ones.

    Labels in which the two differ are named.
    """
    first, second = pair['utterances']
    if pair['alike'] == 1:
        sign = '='
    elif pair['alike'] < MAX_COPY_SIMILARITY:
        sign = f'~ ({pair["alike"]:.4f})'
    else:
        sign = f'~ (> {MAX_COPY_SIMILARITY})'
    differences = ''
    if pair['differ']:
        differences = f', labelled with different {" and ".join(pair["differ"])}'
    return f'{first} {sign} {second}{differences}'
