"""TODO: data_pipelines.protocols.audit."""

import itertools
import math

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.protocols.folds import LEAK_KINDS, Fold, Protocol, parse_allowed_leaks
from data_pipelines.storage.schema import Utterances

PARTS = ('train', 'dev', 'test')

ALL_PARTS = (*PARTS, 'adapt', 'identity')

COPY_SIMILARITY = 0.96  # signatures whose product reaches it are those of one recording

MAX_LOG_LENGTH_DIFFERENCE = (
    0.03  # and the logarithms of the lengths over which they extend differ by no more
)

BLOCK_SIZE = 512  # signatures compared at a time, with eight times as many

MAX_EXAMPLES = 10  # examples

HIGHEST = 0.9999  # what is written of copies that are not identical, however alike

NUM_SHUFFLES = 20

CONFOUNDING_LEVELS = (
    (0.02, 'none'),
    (0.2, 'weak'),
    (1.0, 'strong'),
)  # up to which share of what there is to know; jaxser's own words


def audit_folds(utterances: Utterances, folds: list[Fold], protocol: Protocol) -> dict:
    """`inspect`, and a Refusal of every leak that the protocol does not allow."""
    findings = inspect_folds(utterances, folds, protocol)
    check_leaks(findings)
    return findings


def inspect_folds(utterances: Utterances, folds: list[Fold], protocol: Protocol) -> dict:
    """What the parts of the folds share and what their labels give away, as JSON: counts, and some examples of each."""
    allow, shares_speakers = parse_allowed_leaks(protocol.allow_leak), protocol.shares_speakers
    compared = [
        *itertools.combinations(PARTS, 2),
        *([] if protocol.is_transductive else [('adapt', 'dev'), ('adapt', 'test')]),
    ]
    compared += [('identity', 'dev'), ('identity', 'test')]
    text = utterances.text
    used = np.unique(np.concatenate([getattr(f, part) for f in folds for part in ALL_PARTS]))
    shared, duplicates = shared_recordings(utterances, folds, compared, used)
    findings = {
        'folds': len(folds),
        'utterances': len(used),
        'allowed': list(allow),
        'shares_speakers': shares_speakers,
        'transductive': protocol.is_transductive,
        'speaker': shared_values(utterances, 'speaker', folds, compared)
        | {'unknown': int((text['speaker'][used] == '').sum())},
        'audio': shared,
        'duplicates': duplicates,
        'session': shared_values(utterances, 'session', folds, compared),
        'sentence': sentence_overlap(utterances, folds),
        'missing': missing_classes(utterances, folds),
        'tells': emotion_information(utterances, folds),
    }
    leaks = {
        'speaker': findings['speaker']['count'] and not shares_speakers,
        'audio': shared['exact'] + shared['near'],
    }
    return findings | {'leaks': [kind for kind in LEAK_KINDS if leaks[kind]]}


def shared_values(
    utterances: Utterances, column: str, folds: list[Fold], part_pairs: list[tuple[str, str]]
) -> dict:
    """The values of a column that two parts of a fold share: how many, in how many folds, and examples; unknown is no value."""
    values, index_N = np.unique(utterances.text[column], return_inverse=True)
    seen, where, examples = set(), set(), []
    for fold in folds:
        has = {
            part: np.bincount(index_N[getattr(fold, part)], minlength=len(values)) > 0
            for part in ALL_PARTS
        }
        for parts in part_pairs:
            for v in np.flatnonzero(has[parts[0]] & has[parts[1]] & (values != '')):
                where.add(fold.number)
                if v not in seen and len(examples) < MAX_EXAMPLES:
                    rows = [
                        next(r for r in getattr(fold, part) if index_N[r] == v) for part in parts
                    ]
                    example = {'fold': fold.name, 'parts': list(parts), column: str(values[v])}
                    examples.append(
                        example
                        | {'utterances': [str(utterances.text['utterance'][r]) for r in rows]}
                    )
                seen.add(v)
    return {'count': len(seen), 'in_folds': len(where), 'examples': examples}


def shared_recordings(
    utterances: Utterances,
    folds: list[Fold],
    part_pairs: list[tuple[str, str]],
    used_rows: np.ndarray,
) -> tuple[dict, dict]:
    """The recordings that two parts of a fold share, and those that are there twice but never in two parts."""
    sha256_N = np.where(
        utterances.text['sha256'] == '',
        np.arange(len(utterances)).astype(str),
        utterances.text['sha256'],
    )
    _, first_K, recording_N = np.unique(sha256_N, return_index=True, return_inverse=True)
    inside_N = np.isin(np.arange(len(utterances)), used_rows)
    near_Px2, _ = find_near_duplicates(utterances.signature_NxS[first_K])
    near_Px2 = near_Px2[np.isin(near_Px2, recording_N[used_rows]).all(axis=1)]
    pairs_Px2 = np.concatenate(
        [np.repeat(np.arange(len(first_K)), 2).reshape(-1, 2), near_Px2]
    )  # each with itself, then others
    leaks_P, where, shared = np.zeros(len(pairs_Px2), bool), set(), []
    for fold in folds:
        has = {
            part: np.bincount(recording_N[getattr(fold, part)], minlength=len(first_K)) > 0
            for part in ALL_PARTS
        }
        for parts in part_pairs:
            a_Px2, b_Px2 = (has[part][pairs_Px2] for part in parts)
            crosses_P = (a_Px2[:, 0] & b_Px2[:, 1]) | (a_Px2[:, 1] & b_Px2[:, 0])
            for p in np.flatnonzero(crosses_P & ~leaks_P)[: MAX_EXAMPLES - len(shared)]:
                x, y = pairs_Px2[p] if a_Px2[p, 0] & b_Px2[p, 1] else pairs_Px2[p, ::-1]
                rows = [
                    next(r for r in getattr(fold, part) if recording_N[r] == k)
                    for part, k in zip(parts, (x, y))
                ]
                shared.append(
                    {'fold': fold.name, 'parts': list(parts)} | describe_pair(utterances, *rows)
                )
            leaks_P |= crosses_P
            where |= {fold.number} if crosses_P.any() else set()
    exact = len(first_K)
    again_K = np.where(
        leaks_P[:exact], 0, np.maximum(np.bincount(recording_N[inside_N], minlength=exact) - 1, 0)
    )
    twice = []
    for k in np.flatnonzero(again_K)[:MAX_EXAMPLES]:
        rows = np.flatnonzero((recording_N == k) & inside_N)
        twice.append(describe_pair(utterances, *rows[:2]))
    for x, y in near_Px2[~leaks_P[exact:]][: MAX_EXAMPLES - len(twice)]:
        twice.append(
            describe_pair(
                utterances, *(np.flatnonzero((recording_N == k) & inside_N)[0] for k in (x, y))
            )
        )
    return (
        {
            'exact': int(leaks_P[:exact].sum()),
            'near': int(leaks_P[exact:].sum()),
            'in_folds': len(where),
            'examples': shared,
        },
        {'exact': int(again_K.sum()), 'near': int((~leaks_P[exact:]).sum()), 'examples': twice},
    )


def describe_pair(utterances: Utterances, x: int, y: int) -> dict:
    """Two utterances of one recording, how alike they are, and what is said differently of them.

    `alike` is 1 for identical samples alone; that of others is rounded down and below 1.
    """
    text = utterances.text
    alike = 1.0
    if x != y and not text['sha256'][x] == text['sha256'][y] != '':
        correlation = float(
            utterances.signature_NxS[x, 1:].astype(float) @ utterances.signature_NxS[y, 1:]
        )
        alike = min(math.floor(1e4 * correlation) / 1e4, HIGHEST)
    differ = [c for c in ('speaker', 'emotion', 'corpus') if text[c][x] != text[c][y]]
    return {
        'utterances': [str(text['utterance'][r]) for r in (x, y)],
        'alike': alike,
        'differ': differ,
    }


def find_near_duplicates(signature_NxS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """near_Px2, the pairs of rows (the smaller first) whose signatures are those of copies, and how alike they are.

    Only what extends over similar lengths is compared: 20 to 30 s for 150,000 utterances on two busy cores.
    """
    length_N = np.log(np.maximum(signature_NxS[:, 0].astype(float), 1.0))
    order = np.argsort(length_N, kind='stable')
    length_N, grid_NxS = length_N[order], signature_NxS[order, 1:].astype(np.float32)
    pairs, alike = [np.zeros((0, 2), int)], [np.zeros(0, np.float32)]
    for at in range(0, len(order), BLOCK_SIZE):
        end = np.searchsorted(
            length_N, length_N[at : at + BLOCK_SIZE][-1] + MAX_LOG_LENGTH_DIFFERENCE, 'right'
        )
        for to in range(at, end, 8 * BLOCK_SIZE):
            product = (
                grid_NxS[at : at + BLOCK_SIZE] @ grid_NxS[to : min(to + 8 * BLOCK_SIZE, end)].T
            )
            i, j = np.nonzero(product >= COPY_SIMILARITY)
            keep = (to + j > at + i) & (
                length_N[to + j] - length_N[at + i] <= MAX_LOG_LENGTH_DIFFERENCE
            )
            i, j = i[keep], j[keep]
            pairs.append(np.sort(np.stack([order[at + i], order[to + j]], axis=1), axis=1))
            alike.append(product[i, j])
    near_Px2 = np.concatenate(pairs)
    sorted_P = np.lexsort(near_Px2.T[::-1])
    return near_Px2[sorted_P], np.concatenate(alike)[sorted_P]


def sentence_overlap(utterances: Utterances, folds: list[Fold]) -> dict:
    """How many test utterances, over all folds, say a sentence that training has; `known` is how many say a known one."""
    said = utterances.text['sentence']
    known, heard = [], []
    for fold in folds:
        test = said[fold.test]
        known.append(test[test != ''])
        heard.append(known[-1][np.isin(known[-1], said[fold.train])])
    known, heard = np.concatenate(known), np.concatenate(heard)
    tested, sentences_heard = (len(np.unique(x)) for x in (known, heard))
    return {
        'known': len(known),
        'heard': len(heard),
        'sentences': tested,
        'sentences_heard': sentences_heard,
    }


def missing_classes(utterances: Utterances, folds: list[Fold]) -> dict:
    """The parts that lack a class."""
    emotion = utterances.text['emotion']
    classes = np.unique(
        np.concatenate([emotion[getattr(f, part)] for f in folds for part in PARTS])
    )
    found = []
    for fold, part in itertools.product(folds, PARTS):
        if lacking := sorted(set(classes) - set(emotion[getattr(fold, part)])):
            found.append({'fold': fold.name, 'part': part, 'classes': [str(c) for c in lacking]})
    return {'parts': len(found), 'examples': found[:MAX_EXAMPLES]}


def emotion_information(utterances: Utterances, folds: list[Fold]) -> dict:
    """How much the speaker, and the language where there are several, tells of the emotion; the speaker also per corpus."""
    rows = np.unique(np.concatenate([getattr(f, part) for f in folds for part in PARTS]))
    text = {k: v[rows] for k, v in utterances.text.items()}
    corpora = np.unique(text['corpus'])
    every = {'speaker': ('speaker', text['speaker'] != '')}
    if len(corpora) > 1:
        every |= {
            f'speaker in {c}': ('speaker', (text['speaker'] != '') & (text['corpus'] == c))
            for c in corpora
        }
        every['corpus'] = ('corpus', np.ones(len(rows), bool))
    if len(np.unique(text['language'])) > 1:
        every['language'] = ('language', np.ones(len(rows), bool))
    return {
        str(name): measure_confounding(text[column][some], text['emotion'][some])
        for name, (column, some) in every.items()
    }


def measure_confounding(domain_N: np.ndarray, emotion_N: np.ndarray) -> dict:
    """I(domain; emotion) in bits, what chance gives, H(emotion), and a word on how much that is.

    The counts overrate the information, the more so the fewer utterances a domain has; `chance` is what they give on average when
    the emotions are dealt out anew. `share` is (I - chance) / (H - chance).
    """
    random = np.random.default_rng(0)
    domain_N, emotion_N = (np.unique(x, return_inverse=True)[1] for x in (domain_N, emotion_N))
    chance = float(
        np.mean(
            [
                mutual_information(domain_N, random.permutation(emotion_N))
                for _ in range(NUM_SHUFFLES)
            ]
        )
    )
    bits, whole = mutual_information(domain_N, emotion_N), entropy(emotion_N)
    share = max(0.0, bits - chance) / (whole - chance) if whole - chance > 1e-9 else 0.0
    word = next(
        word
        for least, word in CONFOUNDING_LEVELS
        if share <= least or word == CONFOUNDING_LEVELS[-1][1]
    )
    return {
        k: round(v, 4)
        for k, v in (('bits', bits), ('chance', chance), ('of', whole), ('share', share))
    } | {'word': word}


def mutual_information(x_N: np.ndarray, y_N: np.ndarray) -> float:
    """Mutual information of two columns of small integers, in bits."""
    return max(0.0, entropy(x_N) + entropy(y_N) - entropy(x_N * (y_N.max(initial=0) + 1) + y_N))


def entropy(x_N: np.ndarray) -> float:
    """In bits, of the counts of a column of small integers."""
    count = np.bincount(x_N)
    p = count[count > 0] / max(len(x_N), 1)
    return float(-(p * np.log2(p)).sum()) + 0.0


def check_leaks(findings: dict) -> None:
    """Raises what `findings` has of leaks that are not allowed, with the way out."""
    said = []
    if 'speaker' in findings['leaks'] and 'speaker' not in findings['allowed']:
        s = findings['speaker']
        first = s['examples'][0]
        same = [
            e for e in s['examples'] if (e['fold'], e['parts']) == (first['fold'], first['parts'])
        ]
        said.append(
            f'Speaker leak: in fold {first["fold"]!r} {" and ".join(first["parts"])} share {pluralize(len(same), "speaker")}: '
            + '; '.join(f'{e["speaker"]} ({" and ".join(e["utterances"])})' for e in same)
            + f'. In all {pluralize(s["count"], "speaker")} in {s["in_folds"]} of {pluralize(findings["folds"], "fold")}. '
            'Choose a protocol that is disjoint by speaker; --allow_leak=speaker goes on, and says so in the results.'
        )
    if 'audio' in findings['leaks'] and 'audio' not in findings['allowed']:
        a = findings['audio']
        first = a['examples'][0]
        same = [
            e for e in a['examples'] if (e['fold'], e['parts']) == (first['fold'], first['parts'])
        ]
        said.append(
            f'Audio leak: in fold {first["fold"]!r} {" and ".join(first["parts"])} share recordings: '
            + '; '.join(map(format_pair, same[:3]))
            + '; ...' * (len(same) > 3)
            + f'. In all {a["exact"]} identical and {a["near"]} nearly, in {a["in_folds"]} of {pluralize(findings["folds"], "fold")}. '
            'Remove one of the copies and prepare the corpus again; --allow_leak=audio goes on, and says so in the results.'
        )
    if said:
        raise UserError('\n'.join(said))


def format_pair(pair: dict) -> str:
    """'a = b' of identical recordings, 'a ~ (0.9876) b' of others, with what is said differently of them."""
    a, b = pair['utterances']
    sign = '='
    if pair['alike'] < 1:
        sign = f'~ (> {HIGHEST})' if pair['alike'] >= HIGHEST else f'~ ({pair["alike"]:.4f})'
    return f'{a} {sign} {b}' + (
        f', though of another {" and ".join(pair["differ"])}' if pair['differ'] else ''
    )


def pluralize(count: int, noun: str) -> str:
    """'1 pair', '2 pairs'."""
    return f'{count} {noun}{"" if count == 1 else "s"}'
