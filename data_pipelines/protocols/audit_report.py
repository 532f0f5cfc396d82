"""Prints the audit of folds: its findings, the sizes of parts, and the class shares of speakers."""

from collections.abc import Iterator

import numpy as np

from data_pipelines import labels
from data_pipelines.protocols.folds import ALL_PARTS, PARTS, Fold
from data_pipelines.protocols.recordings import format_pair
from data_pipelines.protocols.subsets import format_range
from data_pipelines.storage.schema import Utterances
from data_pipelines.terminal import format_table, print_text
from data_pipelines.wording import pluralize

# What tables call a part, if not by its name.
PART_TITLES = {'reserved': 'set aside'}

SET_ASIDE_NOTE = (
    'set aside: half of the utterances of each speaker, for enrolment. Those of\n'
    'training speakers are in train too, so that the parts of a fold add up to more\n'
    'than all utterances; dev and test are without them.'
)

MIN_PROBABLE = 2  # so many identical recordings: two speakers are probably one person
MAX_LISTED_PARTS = 3  # parts without a class that are named one by one


def describe_findings(findings: dict) -> Iterator[tuple[str, str]]:
    """Yields the name of each check with its result in words."""
    yield 'speakers', _describe_speakers(findings)
    yield 'audio', _describe_audio(findings)
    for person in findings.get('same_persons', []):
        yield 'same person', _describe_same_person(person)
    if findings['transductive']:
        predicted = 'ratings' if 'thirds_of' in findings else 'emotions'
        yield 'adaptation', f'training uses the test audio without its {predicted}, by design'
    duplicates = _describe_duplicates(findings['duplicates'])
    if duplicates:
        yield 'within a part', duplicates
    if any(findings['withheld']['utterances']):
        yield 'withheld', _describe_withheld(findings['withheld'])
    if 'copies' in findings:
        yield 'copies', _describe_copies(findings)
    if 'dropped_copies' in findings:
        yield 'left out', _describe_dropped(findings['dropped_copies'])
    yield from _describe_labels(findings)
    yield from _describe_shortcuts(findings)


def _describe_labels(findings: dict) -> Iterator[tuple[str, str]]:
    """Yields what the labels say of the parts: shared sessions and sentences, missing classes."""
    session = findings['session']
    if session['count']:
        where = _in_folds(findings, session)
        yield 'sessions', f'{session["count"]} shared{where}: same room, perhaps same dialogue'
    if findings['sentence']['known']:
        yield 'sentences', _leak_mark(findings, 'sentence') + _describe_sentences(findings)
    if any(findings.get('unused', ())):
        yield 'in no part', _describe_unused(findings)
    missing = findings['missing']
    kind, one = ('thirds', 'third') if 'thirds_of' in findings else ('classes', 'class')
    for example in missing['examples'][:MAX_LISTED_PARTS]:
        classes = ' nor '.join(example['classes'])
        yield kind, f'{example["part"]} of fold {example["fold"]!r} has no {classes}'
    further = missing['parts'] - MAX_LISTED_PARTS
    if further > 0:
        yield kind, f'{pluralize(further, "more part")} without a {one}'
    predicted = predicted_name(findings)
    for name, information in findings['tells'].items():
        yield f'{predicted} from {name}', _describe_information(information)


def predicted_name(findings: dict) -> str:
    """Returns what the audit predicts from other features: the emotion, or thirds of a rating."""
    rating = findings.get('thirds_of')
    return f'{rating} (thirds of its scale)' if rating else 'emotion'


def _in_folds(findings: dict, shared: dict) -> str:
    """Returns in how many of the folds something is shared, in words."""
    return f' in {shared["in_folds"]} of {pluralize(findings["folds"], "fold")}'


def _leak_mark(findings: dict, kind: str) -> str:
    """Returns the mark of a leak, or '' if there is no leak of that kind."""
    if kind not in findings['leaks']:
        return ''
    return 'LEAK (allowed): ' if kind in findings['allowed'] else 'LEAK: '


def _describe_speakers(findings: dict) -> str:
    """Returns how many speakers are shared, and how many utterances could not be checked."""
    speaker = findings['speaker']
    words = 'no speaker shared'
    if speaker['count']:
        words = f'{pluralize(speaker["count"], "speaker")} shared{_in_folds(findings, speaker)}'
        if findings['shares_speakers']:
            words += ', by design of the protocol'
    if speaker['unknown']:
        words += f'; {speaker["unknown"]} utterances of unknown speakers, which cannot be checked'
    return _leak_mark(findings, 'speaker') + words


def _describe_audio(findings: dict) -> str:
    """Returns how many recordings are shared."""
    audio = findings['audio']
    parts = []
    if audio['exact'] + audio['near']:
        identical = f'{pluralize(audio["exact"], "recording")} shared'
        parts.append(f'{identical}, {audio["near"]} nearly identical{_in_folds(findings, audio)}')
    windows = findings.get('windows')
    if windows:
        parts.append(
            f'{pluralize(windows["count"], "utterance")} in overlapping windows of one file'
            f'{_in_folds(findings, windows)}'
        )
    return _leak_mark(findings, 'audio') + ('; '.join(parts) or 'no audio shared')


def _describe_same_person(person: dict) -> str:
    """Returns that two speakers are probably one person, since they share recordings."""
    probability = 'probably' if person['identical'] >= MIN_PROBABLE else 'perhaps'
    recordings = pluralize(person['identical'], 'identical recording')
    return f'{" and ".join(person["speakers"])} are {probability} one person: {recordings}'


def _describe_duplicates(duplicates: dict) -> str:
    """Returns how many recordings occur more than once without a leak; '' for none."""
    words = []
    if duplicates['exact']:
        words.append(f'{pluralize(duplicates["exact"], "pair")} of identical audio')
    if duplicates['near']:
        words.append(f'{pluralize(duplicates["near"], "pair")} of nearly identical audio')
    return ' and '.join(words)


def _describe_withheld(withheld: dict) -> str:
    """Returns how many utterances of a fold are withheld, and whether training has near copies."""
    words = (
        f'{format_range(withheld["utterances"])} utterances of training speakers in each fold, '
        'on which attackers are tested'
    )
    if withheld['near']:
        pairs = pluralize(withheld['near'], 'pair')
        words += f'; {pairs} of nearly identical audio, one withheld and one in training'
    if withheld.get('windows'):
        overlapping = pluralize(withheld['windows'], 'utterance')
        words += f'; {overlapping} in overlapping windows of one file, withheld and in training'
    return words


def _describe_copies(findings: dict) -> str:
    """Returns how many copies at other speeds a fold trains on, and how many of them leak."""
    copies = findings['copies']
    words = (
        f'{format_range(copies["utterances"])} copies of training utterances at other speeds in '
        'each fold, as new speakers'
    )
    if copies['leaked']:
        words = f'{copies["leaked"]} are of dev, test or withheld utterances; {words}'
    return _leak_mark(findings, 'copy') + words


def _describe_dropped(dropped: dict) -> str:
    """Returns how many copies of recordings are left out."""
    words = f'{pluralize(dropped["utterances"], "duplicate")} of other recordings'
    if dropped['utterances']:
        words += f', {dropped["identical"]} of them identical'
    if dropped['other_labels']:
        words += f', {dropped["other_labels"]} with another speaker, emotion or corpus'
    return words


def _describe_shortcuts(findings: dict) -> Iterator[tuple[str, str]]:
    """Yields how well each feature alone predicts the emotion, and which were not measured."""
    predicted = predicted_name(findings)
    for shortcut in findings.get('shortcuts', []):
        yield f'{predicted} from {shortcut["feature"]}', _describe_shortcut(shortcut)
    reasons: dict[str, list[str]] = {}
    for feature, reason in findings.get('unmeasured', {}).items():
        reasons.setdefault(reason, []).append(feature)
    for reason, features in reasons.items():
        yield 'not measured', f'{predicted} from {", ".join(features)}: {reason}'


def _describe_shortcut(shortcut: dict) -> str:
    """Returns the UAR of a classifier on one feature, and the bits beyond chance."""
    return (
        f'UAR {shortcut["uar"]:.2f} (chance: {shortcut["chance"]:.2f}), {shortcut["bits"]:.2f} of '
        f'{shortcut["of"]:.2f} bits beyond chance, shortcut: {shortcut["status"]}'
    )


def shortcut_warnings(findings: dict) -> list[str]:
    """Returns a warning for each feature that is a clear shortcut."""
    whose = 'tested utterances' if findings['shares_speakers'] else 'unseen speakers'
    predicted = predicted_name(findings)
    predicted = predicted if 'thirds_of' in findings else f'the {predicted}'
    warnings = []
    for shortcut in findings.get('shortcuts', []):
        if shortcut['status'] == 'clear':
            warnings.append(
                f'Warning: {shortcut["feature"]} alone predicts {predicted} of {whose}: UAR '
                f'{shortcut["uar"]:.2f} (chance: {shortcut["chance"]:.2f}). A model may learn this '
                'in place of speech.'
            )
    return warnings


def _describe_unused(findings: dict) -> str:
    """Returns how many utterances are in no part of a fold, and which they are."""
    count = format_range(findings['unused'])
    return f'{count} utterances of each fold: speakers of one part with sentences of another'


def _describe_sentences(findings: dict) -> str:
    """Returns how many of the tested sentences are in training too."""
    sentence = findings['sentence']
    verb = 'is' if sentence['sentences'] == 1 else 'are'
    tested = f'{pluralize(sentence["sentences"], "sentence")} tested'
    words = f'{sentence["sentences_heard"]} of {tested} {verb} in training too'
    if sentence['heard']:
        percent = 100 * sentence['heard'] / sentence['known']
        words += f' ({percent:.0f} % of the utterances)'
    elif findings.get('separates_sentences'):
        words += ', by design of the protocol'
    return words


def _describe_information(information: dict) -> str:
    """Returns the mutual information of a domain and the emotion, with its chance level."""
    return (
        f'{information["bits"]:.2f} of {information["of"]:.2f} bits '
        f'(chance: {information["chance"]:.2f}), confounding: {information["word"]}'
    )


def summary_lines(findings: dict) -> list[str]:
    """Returns the audit in a few lines, for the start of training."""
    first = []
    others = shortcut_warnings(findings)
    predicted = predicted_name(findings)
    hidden = []  # clear ones are among the warnings, and the audit has those that are none
    for shortcut in findings.get('shortcuts', []):
        if shortcut['status'] != 'weak':
            hidden.append(f'{predicted} from {shortcut["feature"]}')
    for check, result in describe_findings(findings):
        if check in hidden:
            continue
        if check in ('speakers', 'audio', 'sentences'):
            first.append(result)
        elif check == 'within a part':
            first.append(f'{result} within a part')
        elif check == f'{predicted} from speaker':
            first.append(f'{check}: {result}')
        else:
            others.append(f'  {check}: {result}')
    return ['Audit: ' + '; '.join(first), *others]


def print_findings(findings: dict) -> None:
    """Prints all findings, at most 80 columns wide, and then the examples."""
    grid = _make_table('checked', 'found')
    for check, result in describe_findings(findings):
        grid.add_row(check, result)
    print_text(format_table(grid), kept='\n')
    for kind in ('speaker', 'session'):
        examples = findings[kind]['examples']
        if examples:
            values = ', '.join([' = '.join(e.get('spellings', [e[kind]])) for e in examples])
            first = examples[0]['fold']
            print_text(f'{kind}s in two parts of a fold, first in {first!r}: {values}')
    for example in findings['audio']['examples']:
        parts = ' and '.join(example['parts'])
        print_text(f'shared audio: {format_pair(example)}: {parts} of fold {example["fold"]!r}')
    for example in findings.get('windows', {}).get('examples', []):
        parts = ' and '.join(example['parts'])
        names = ' and '.join(example['utterances'])
        print_text(f'overlapping windows: {names}: {parts} of fold {example["fold"]!r}')
    for example in findings['duplicates']['examples']:
        print_text(f'the same audio within a part: {format_pair(example)}')


def print_parts(utterances: Utterances, folds: list[Fold]) -> None:
    """Prints the size of every part: utterances, speakers, classes."""
    parts = list(PARTS)
    for part in ALL_PARTS[len(PARTS) :]:
        if any(len(getattr(fold, part)) for fold in folds):
            parts.append(part)
    grid = _make_table('fold')
    for part in parts:
        grid.add_column(PART_TITLES.get(part, part), justify='right')
    for fold in folds:
        sizes = [_describe_size(utterances, getattr(fold, part)) for part in parts]
        grid.add_row(fold.name, *sizes)
    print('Utterances, speakers and classes of every part:')
    print_text(format_table(grid), kept='\n')
    if 'reserved' in parts:
        print(SET_ASIDE_NOTE)


def _describe_size(utterances: Utterances, rows: np.ndarray) -> str:
    """Returns the counts of utterances, known speakers and classes."""
    speakers = set(utterances.text['speaker'][rows]) - {''}
    classes = set(utterances.text['emotion'][rows]) - {''}
    return f'{len(rows):,}, {len(speakers)}, {len(classes)}'


def print_class_priors(utterances: Utterances, max_speakers: int = 40) -> None:
    """Prints the shares of the classes in every speaker's utterances.

    Speakers whose shares differ most from those of all utterances come first.
    """
    speakers, speaker_N = np.unique(utterances.text['speaker'], return_inverse=True)
    classes = labels.in_order(set(utterances.text['emotion'].tolist()))
    emotion_N = [classes.index(name) for name in utterances.text['emotion'].tolist()]
    count_KxC = np.zeros((len(speakers), len(classes)), int)
    np.add.at(count_KxC, (speaker_N, emotion_N), 1)
    count_K = count_KxC.sum(axis=1)
    share_KxC = count_KxC / count_K[:, None]
    share_C = count_KxC.sum(axis=0) / len(utterances)
    difference_K = np.abs(share_KxC - share_C).sum(axis=1)
    order = np.argsort(-difference_K, kind='stable')

    grid = _make_table('speaker')
    for heading in ('all', *classes):
        grid.add_column(heading, justify='right')
    for k in order[:max_speakers]:
        name = str(speakers[k]) or 'unknown'
        grid.add_row(name, str(count_K[k]), *_format_percents(share_KxC[k]))
    grid.add_section()
    grid.add_row('all', str(len(utterances)), *_format_percents(share_C))
    print('Utterances, and percent of them in each class; most unbalanced speakers first:')
    print_text(format_table(grid), kept='\n')
    if len(speakers) > max_speakers:
        print(f'... and {len(speakers) - max_speakers} more speakers')


def _format_percents(shares: np.ndarray) -> list[str]:
    """Returns shares as whole percents."""
    return [f'{100 * share:.0f}' for share in shares]


def _make_table(*headings: str):
    """Returns an empty table for the terminal."""
    # Imported here: training imports this module and does not print tables.
    import rich.box
    import rich.table

    return rich.table.Table(*headings, box=rich.box.SIMPLE)
