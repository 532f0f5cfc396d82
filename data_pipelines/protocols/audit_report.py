"""TODO: data_pipelines.protocols.audit_report."""

from collections.abc import Iterator

import numpy as np

from data_pipelines.protocols.audit import ALL_PARTS, PARTS, format_pair, pluralize
from data_pipelines.protocols.folds import Fold
from data_pipelines.storage.schema import Utterances


def describe_findings(findings: dict) -> Iterator[tuple[str, str]]:
    """What was looked for, and what was found."""
    f, folds = findings, findings['folds']
    speaker, audio, session, sentence = (f[k] for k in ('speaker', 'audio', 'session', 'sentence'))
    within = lambda x: f' in {x["in_folds"]} of {pluralize(folds, "fold")}'  # noqa: E731
    leak = lambda kind: f'LEAK{" (allowed)" * (kind in f["allowed"])}: ' * (kind in f['leaks'])  # noqa: E731
    said = (
        f'{pluralize(speaker["count"], "speaker")} shared{within(speaker)}'
        if speaker['count']
        else 'no speaker shared'
    )
    meant = ', as the protocol means to' if speaker['count'] and f['shares_speakers'] else ''
    unknown = (
        f'; {speaker["unknown"]} utterances of unknown speakers, which cannot be checked'
        if speaker['unknown']
        else ''
    )
    yield 'speakers', leak('speaker') + said + meant + unknown
    copies = (
        f'{pluralize(audio["exact"], "recording")} shared, {audio["near"]} nearly{within(audio)}'
    )
    yield 'audio', leak('audio') + (copies if audio['exact'] + audio['near'] else 'no audio shared')
    if f['transductive']:
        yield 'adaptation', 'hears the tested audio, as the protocol means to'
    exact, nearly = f['duplicates']['exact'], f['duplicates']['near']
    pairs = [f'{pluralize(exact, "pair")} of identical audio'] if exact else []
    pairs += [f'{pluralize(nearly, "pair")} of nearly identical audio'] if nearly else []
    if pairs:
        yield 'within a part', ' and '.join(pairs)
    if session['count']:
        yield (
            'sessions',
            f'{session["count"]} shared{within(session)}: the same room, and perhaps the same dialogue',
        )
    if sentence['known']:
        share = f'{sentence["sentences_heard"]} of {pluralize(sentence["sentences"], "sentence")} tested'
        whole = (
            f' ({100 * sentence["heard"] / sentence["known"]:.0f} % of the utterances)'
            if sentence['heard']
            else ''
        )
        yield (
            'sentences',
            f'{share} {"is" if sentence["sentences"] == 1 else "are"} in training too{whole}',
        )
    for e in f['missing']['examples'][:3]:
        yield 'classes', f'{e["part"]} of fold {e["fold"]!r} has no {" nor ".join(e["classes"])}'
    if (n := f['missing']['parts']) > 3:
        yield 'classes', f'{pluralize(n - 3, "more part")} without a class'
    for name, c in f['tells'].items():
        yield (
            f'{name} tells',
            f'{c["bits"]:.2f} of {c["of"]:.2f} bits of emotion (chance {c["chance"]:.2f}): {c["word"]}',
        )


def summary_lines(findings: dict) -> list[str]:
    """The audit in a few lines, for the start of training."""
    first, others = [], []
    for what, found in describe_findings(findings):
        if what in ('speakers', 'audio', 'sentences'):
            first.append(found)
        elif what in ('within a part', 'speaker tells'):
            first.append(f'{found} {what}' if what == 'within a part' else f'{what} {found}')
        else:
            others.append(f'  {what} {found}' if what.endswith('tells') else f'  {what}: {found}')
    return ['Audit: ' + '; '.join(first), *others]


def print_findings(findings: dict) -> None:
    """Prints all of it, at 80 columns."""
    import rich.box
    import rich.console
    import rich.table

    grid = rich.table.Table('checked', 'found', box=rich.box.SIMPLE)
    for what, found in describe_findings(findings):
        grid.add_row(what, found)
    rich.console.Console(highlight=False, markup=False).print(grid)
    for kind in ('speaker', 'session'):
        if examples := findings[kind]['examples']:
            print(
                f'{kind}s in two parts of a fold, first in {examples[0]["fold"]!r}: {", ".join(e[kind] for e in examples)}'
            )
    for e in findings['audio']['examples']:
        print(f'shared audio: {format_pair(e)}: {" and ".join(e["parts"])} of fold {e["fold"]!r}')
    for e in findings['duplicates']['examples']:
        print(f'the same audio within a part: {format_pair(e)}')


def print_parts(utterances: Utterances, folds: list[Fold]) -> None:
    """Prints the size of every part: utterances, speakers, classes."""
    import rich.box
    import rich.console
    import rich.table

    text, parts = (
        utterances.text,
        [p for p in ALL_PARTS if p in PARTS or any(len(getattr(f, p)) for f in folds)],
    )
    grid = rich.table.Table('fold', box=rich.box.SIMPLE)
    for part in parts:
        grid.add_column(part, justify='right')
    for fold in folds:
        rows = [getattr(fold, part) for part in parts]
        kinds = [[len(set(text[c][r]) - {''}) for c in ('speaker', 'emotion')] for r in rows]
        grid.add_row(
            fold.name,
            *(f'{len(r):,}, {speakers}, {classes}' for r, (speakers, classes) in zip(rows, kinds)),
        )
    print('Utterances, speakers and classes of every part:')
    rich.console.Console(highlight=False, markup=False).print(grid)


def print_class_priors(utterances: Utterances, max_speakers: int = 40) -> None:
    """Prints the share of the classes in every speaker's utterances, the most one-sided speakers first."""
    import rich.box
    import rich.console
    import rich.table

    speakers, speaker_N = np.unique(utterances.text['speaker'], return_inverse=True)
    classes, emotion_N = np.unique(utterances.text['emotion'], return_inverse=True)
    count_KxC = np.zeros((len(speakers), len(classes)), int)
    np.add.at(count_KxC, (speaker_N, emotion_N), 1)
    p_KxC, p_C = (
        count_KxC / count_KxC.sum(axis=1, keepdims=True),
        count_KxC.sum(axis=0) / len(utterances),
    )
    order = np.argsort(-np.abs(p_KxC - p_C).sum(axis=1), kind='stable')
    grid = rich.table.Table('speaker', box=rich.box.SIMPLE)
    for heading in ('all', *classes):
        grid.add_column(str(heading), justify='right')
    for k in order[:max_speakers]:
        grid.add_row(
            str(speakers[k]) or 'unknown',
            str(count_KxC[k].sum()),
            *(f'{100 * p:.0f}' for p in p_KxC[k]),
        )
    grid.add_section()
    print('Utterances, and percent of them in each class, the most one-sided speaker first:')
    grid.add_row('all', str(len(utterances)), *(f'{100 * p:.0f}' for p in p_C))
    rich.console.Console(highlight=False, markup=False).print(grid)
    if len(speakers) > max_speakers:
        print(f'... and {len(speakers) - max_speakers} more speakers')
