"""Audits folds: refuses leaks between their parts, and reports what else the parts share."""

import itertools

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.protocols.confounding import emotion_information
from data_pipelines.protocols.copies import inspect_copies
from data_pipelines.protocols.folds import ALL_PARTS, PARTS, Fold, rows_of_parts
from data_pipelines.protocols.overlap import (
    missing_classes,
    sentence_overlap,
    shared_values,
    shared_windows,
)
from data_pipelines.protocols.protocol import Protocol, parse_allowed_leaks
from data_pipelines.protocols.recordings import (
    Recordings,
    find_recordings,
    find_same_persons,
    format_pair,
    shared_recordings,
)
from data_pipelines.protocols.shortcuts import find_shortcuts
from data_pipelines.storage.schema import Utterances
from data_pipelines.wording import pluralize

# Where a protocol separates sentences, test sentences are in none of these.
SENTENCE_PAIRS = [(part, 'test') for part in ('train', 'dev', 'identity', 'withheld')]


def audit_folds(
    utterances: Utterances,
    folds: list[Fold],
    protocol: Protocol,
    dropped: dict | None = None,
    rating: str = '',
) -> dict:
    """Returns the findings of `inspect_folds`; UserError for a leak that is not allowed."""
    findings = inspect_folds(utterances, folds, protocol, dropped, rating)
    check_leaks(findings)
    return findings


def inspect_folds(
    utterances: Utterances,
    folds: list[Fold],
    protocol: Protocol,
    dropped: dict | None = None,
    rating: str = '',
) -> dict:
    """Returns what the parts of the folds share, and what predicts the emotion besides speech.

    The findings are JSON: counts, and at most ten examples of each kind. 'windows',
    'same_persons', 'copies' and 'unused' are there only if there are any. `find_shortcuts` explains
    'shortcuts' and 'unmeasured'. 'dropped_copies' is `dropped`, what drop_copies has left out.
    'thirds_of' is `rating`, the rating whose thirds of the scale stand for emotions, if any.
    """
    allowed = parse_allowed_leaks(protocol.allow_leak)
    part_pairs = compared_parts(protocol)
    used_rows = rows_of_parts(folds, ALL_PARTS)
    unknown_speakers = int((utterances.text['speaker'][used_rows] == '').sum())
    speakers = shared_values(utterances, 'speaker', folds, part_pairs)
    recordings = find_recordings(utterances, used_rows)
    audio, duplicates = shared_recordings(utterances, folds, part_pairs, recordings)
    windows = shared_windows(utterances, folds, part_pairs)
    copies = inspect_copies(utterances, folds)
    leaks = []
    if speakers['count'] and not protocol.shares_speakers:
        leaks.append('speaker')
    if audio['exact'] + audio['near'] + windows['count']:
        leaks.append('audio')
    sentence = sentence_overlap(utterances, folds)
    if protocol.separates_sentences:
        sentence |= shared_values(utterances, 'sentence', folds, SENTENCE_PAIRS)
        if sentence['count']:
            leaks.append('sentence')  # allow_leak cannot allow it
    if copies and copies['leaked']:
        leaks.append('copy')  # allow_leak cannot allow it
    findings = {
        'folds': len(folds),
        'utterances': len(used_rows),
        'allowed': list(allowed),
        'shares_speakers': protocol.shares_speakers,
        'separates_sentences': protocol.separates_sentences,
        'transductive': protocol.is_transductive,
        'speaker': speakers | {'unknown': unknown_speakers},
        'audio': audio,
        'duplicates': duplicates,
        'withheld': inspect_withheld(utterances, folds, recordings),
        'session': shared_values(utterances, 'session', folds, part_pairs),
        'sentence': sentence,
        'missing': missing_classes(utterances, folds),
        'tells': emotion_information(utterances, folds),
        **find_shortcuts(utterances, folds),
        'leaks': leaks,
    }
    further = {
        'windows': windows if windows['count'] else {},
        'same_persons': find_same_persons(utterances, recordings),
        'copies': copies,
        'dropped_copies': dropped,
        'unused': _count_unused(utterances, folds, protocol),
        'thirds_of': rating,
    }
    return findings | {kind: found for kind, found in further.items() if found}


def _count_unused(utterances: Utterances, folds: list[Fold], protocol: Protocol) -> list[int]:
    """Returns how many utterances with an emotion are in no part of a fold, for each fold.

    Returns [] for protocols that do not leave out utterances by design.
    """
    if protocol.name != 'speaker_sentence_folds':
        return []
    labelled = np.flatnonzero(utterances.text['emotion'] != '')
    counts = []
    for fold in folds:
        counts.append(len(np.setdiff1d(labelled, rows_of_parts([fold], ALL_PARTS))))
    return counts


def inspect_withheld(utterances: Utterances, folds: list[Fold], recordings: Recordings) -> dict:
    """Returns what is known of the withheld utterances: counts over all folds.

    'utterances' has the number in each fold. 'near' counts the pairs of a withheld recording and a
    nearly identical one in the training data: the encoder has nearly seen the former. 'windows',
    if there are any, counts the utterances that overlap as windows of one file, one withheld and
    one in training.
    """
    counts = [len(fold.withheld) for fold in folds]
    near = 0
    windows = 0
    if any(counts):
        pairs = [('train', 'withheld'), ('adapt', 'withheld'), ('identity', 'withheld')]
        near = shared_recordings(utterances, folds, pairs, recordings)[0]['near']
        windows = shared_windows(utterances, folds, pairs)['count']
    findings = {'utterances': counts, 'near': near}
    return findings | ({'windows': windows} if windows else {})


def compared_parts(protocol: Protocol) -> list[tuple[str, str]]:
    """Returns the pairs of parts that may share nothing."""
    pairs = list(itertools.combinations(PARTS, 2))
    if not protocol.is_transductive:
        pairs += [('adapt', 'dev'), ('adapt', 'test')]
    for part in ('identity', 'withheld'):
        pairs += [(part, 'dev'), (part, 'test')]
    return pairs


def check_leaks(findings: dict) -> None:
    """Raises a UserError for leaks that are not allowed."""
    refused = [kind for kind in findings['leaks'] if kind not in findings['allowed']]
    messages = []
    if 'speaker' in refused:
        messages.append(_speaker_leak_message(findings))
    if 'audio' in refused and findings['audio']['exact'] + findings['audio']['near']:
        messages.append(_audio_leak_message(findings))
    if 'audio' in refused and findings.get('windows'):
        messages.append(_window_leak_message(findings))
    if 'sentence' in refused:
        messages.append(_sentence_leak_message(findings))
    if 'copy' in refused:
        messages.append(_copy_leak_message(findings['copies']))
    if messages:
        raise UserError('\n'.join(messages))


def _speaker_leak_message(findings: dict) -> str:
    """Returns the message of a speaker leak, with examples from one pair of parts."""
    leak = findings['speaker']
    examples = _examples_of_first_fold(leak)
    named = []
    for example in examples:
        name = ' = '.join(example.get('spellings', [example['speaker']]))
        named.append(f'{name} ({" and ".join(example["utterances"])})')
    advice = 'Choose a speaker-disjoint protocol'
    if 'spellings' in examples[0]:
        advice = 'Write the names of a speaker in one way, and prepare the corpus again'
    return (
        f'Speaker leak: in fold {examples[0]["fold"]!r} {" and ".join(examples[0]["parts"])} '
        f'share {pluralize(len(named), "speaker")}: {"; ".join(named)}. '
        f'In all {pluralize(leak["count"], "speaker")} '
        f'in {leak["in_folds"]} of {pluralize(findings["folds"], "fold")}. '
        f'{advice}; --allow_leak=speaker continues, '
        'and the results state the leak.'
    )


def _audio_leak_message(findings: dict) -> str:
    """Returns the message of an audio leak, with examples from one pair of parts."""
    leak = findings['audio']
    examples = _examples_of_first_fold(leak)
    named = [format_pair(e) for e in examples[:3]]
    if len(examples) > 3:
        named.append('...')
    return (
        f'Audio leak: in fold {examples[0]["fold"]!r} {" and ".join(examples[0]["parts"])} '
        f'have the same (=) or nearly the same (~, with the similarity) recordings: '
        f'{"; ".join(named)}. '
        f'In all {leak["exact"]} identical and {leak["near"]} nearly identical, '
        f'in {leak["in_folds"]} of {pluralize(findings["folds"], "fold")}. '
        '--drop_copies keeps one of each group of copies; --allow_leak=audio continues with all, '
        'and the results state the leak.'
    )


def _window_leak_message(findings: dict) -> str:
    """Returns the message about windows of one file that overlap across parts."""
    leak = findings['windows']
    examples = _examples_of_first_fold(leak)
    named = [' and '.join(example['utterances']) for example in examples[:3]]
    if len(examples) > 3:
        named.append('...')
    return (
        f'Audio leak: in fold {examples[0]["fold"]!r} {" and ".join(examples[0]["parts"])} '
        f'have overlapping windows of one file: {"; ".join(named)}. '
        f'In all {pluralize(leak["count"], "utterance")}, '
        f'in {leak["in_folds"]} of {pluralize(findings["folds"], "fold")}. '
        f'{_window_advice(examples[0])} '
        '--allow_leak=audio continues, and the results state the leak.'
    )


def _window_advice(example: dict) -> str:
    """Returns what to do about two windows that overlap; `example` names their speakers."""
    first, second = [repr(name) if name else 'unknown' for name in example['speakers']]
    advice = 'In the protocol official, give all windows of a file the same split; else'
    if first == second:
        return (
            f'These windows are listed under the speaker {first}. {advice} correct start and end.'
        )
    return (
        f'These windows are listed under the speakers {first} and {second}. If that is one person, '
        f'write one name. {advice} correct start and end.'
    )


def _sentence_leak_message(findings: dict) -> str:
    """Returns the message of a sentence in training and test of a protocol that separates them."""
    leak = findings['sentence']
    example = leak['examples'][0]
    return (
        f'Sentence leak: in fold {example["fold"]!r} {" and ".join(example["parts"])} share the '
        f'sentence {example["sentence"]} ({" and ".join(example["utterances"])}). In all, '
        f'{pluralize(leak["count"], "sentence")} in {leak["in_folds"]} of '
        f'{pluralize(findings["folds"], "fold")} leak, although the protocol separates sentences. '
        'This is a mistake in jaxser: please report it with your command.'
    )


def _copy_leak_message(copies: dict) -> str:
    """Returns the message about copies in training whose source must not be there."""
    example = copies['examples'][0]
    return (
        f'Audio leak: in fold {example["fold"]!r} training uses {example["utterance"]}, a copy of '
        f'an utterance of {example["part"]}. In all {copies["leaked"]} copies of dev, test or '
        'withheld utterances are in training. make_split leaves such copies out by itself, so that '
        'this is a mistake in jaxser: please report it with your command.'
    )


def _examples_of_first_fold(leak: dict) -> list[dict]:
    """Returns the examples that are of the same fold and the same two parts as the first."""
    fold = leak['examples'][0]['fold']
    parts = leak['examples'][0]['parts']
    return [e for e in leak['examples'] if e['fold'] == fold and e['parts'] == parts]
