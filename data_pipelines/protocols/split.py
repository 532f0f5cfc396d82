"""Turns a configuration into its split: utterances with a label, divided into folds."""

import collections
from typing import NamedTuple

import numpy as np

from data_pipelines import labels
from data_pipelines.errors import UserError
from data_pipelines.protocols.copies import keep_copies_of_training
from data_pipelines.protocols.duplicates import NO_COPIES, DroppedCopies, drop_copies
from data_pipelines.protocols.enrolment import reserve_enrolment
from data_pipelines.protocols.folds import (
    ALL_PARTS,
    Fold,
    hash_folds,
    identity_mask,
    make_folds,
    rows_of_parts,
)
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.protocols.undecided import add_undecided, count_used, split_undecided
from data_pipelines.protocols.withholding import reserve_attacker_test
from data_pipelines.storage.dataset import PreparedData, read_own_classes, read_utterances
from data_pipelines.storage.schema import (
    RATING_COLUMNS,
    TEXT_COLUMNS,
    VOTES_COLUMN,
    Utterances,
)

MAX_LISTED_VALUES = 20  # values of a column that an error message lists


def filter_utterances(utterances: Utterances, selection: str) -> tuple[Utterances, dict[str, int]]:
    """Returns the selected utterances, and the counts of the others by value, e.g. 'style=acted'.

    `selection` is 'column=value,value', or 'column!=value,value' for all with other values; ''
    selects all. UserError for an unknown column or value.
    """
    if not selection:
        return utterances, {}
    column, equals, text = selection.partition('=')
    is_excluded = column.endswith('!')
    column = column.removesuffix('!')
    named = text.split(',')
    if not equals or column not in TEXT_COLUMNS:
        raise UserError(
            f'config.data.only is {selection!r}; expected COLUMN=VALUE, e.g. style=improvised. '
            f'Columns: {", ".join(TEXT_COLUMNS)}. COLUMN!=VALUE selects all others.'
        )
    value_N = utterances.text[column]
    values, counts = np.unique(value_N, return_counts=True)
    unknown = [value for value in named if value not in values]
    if unknown:
        raise UserError(
            f'config.data.only: no utterance has {column}={unknown[0]}; '
            f'found: {_list_values(values)}.'
        )
    is_selected = np.isin(values, named, invert=is_excluded)
    if not is_selected.any():
        raise UserError(
            f'config.data.only={selection} leaves no utterance: all have one of these values. '
            f'Name fewer; found: {_list_values(values)}.'
        )
    others = {}
    for value, count in zip(values[~is_selected], counts[~is_selected]):
        others[f'{column}={value}'] = int(count)
    return utterances[np.flatnonzero(np.isin(value_N, values[is_selected]))], others


def _list_values(values: np.ndarray) -> str:
    """Returns the first values of a column for a message."""
    listed = [str(value) or 'nothing' for value in values[:MAX_LISTED_VALUES]]
    if len(values) > MAX_LISTED_VALUES:
        listed.append('...')
    return ', '.join(listed)


def keep_labelled(
    utterances: Utterances,
    label_space: str,
    identity_corpora: tuple[str, ...] = (),
    own_classes: tuple[str, ...] | None = None,
    soft_labels: bool = False,
) -> tuple[Utterances, dict[str, int]]:
    """Returns the utterances with a class in the label space, and the counts of those left out.

    Their emotion is replaced by the class. Utterances of `identity_corpora` are all kept, without
    an emotion (''). With `soft_labels`, so are those without a class for which raters voted for
    one of the classes. UserError if no utterance has a class, or, with `soft_labels`, votes.
    `own_classes` are those of a label space that is a corpus of the user's own.
    """
    identity_N = identity_mask(utterances, identity_corpora)
    own_rows = np.flatnonzero(~identity_N)
    own_class, left_out = labels.map_labels(
        label_space,
        utterances.text['emotion'][own_rows],
        utterances.rating_NxA[own_rows],
        own_classes,
    )
    class_N = np.full(len(utterances), '', own_class.dtype)
    class_N[own_rows] = own_class
    if not (class_N != '').any():
        counts = ', '.join(f'{n} {reason}' for reason, n in left_out.items())
        raise UserError(
            f'No utterance has a class in the label space {label_space!r}: {counts}. '
            f'{_advise_on_labels(utterances.rating_NxA[own_rows])}'
        )
    keep_N = identity_N | (class_N != '')
    if soft_labels:
        has_votes_N = _has_votes(utterances, label_space, own_classes, class_N)
        is_undecided_N = has_votes_N & ~keep_N
        reasons, counts = np.unique(utterances.text['emotion'][is_undecided_N], return_counts=True)
        left_out = collections.Counter(left_out)
        left_out -= collections.Counter(dict(zip(reasons.tolist(), counts.tolist())))
        keep_N |= is_undecided_N
    labelled = utterances[np.flatnonzero(keep_N)]
    labelled.text['emotion'] = class_N[keep_N]
    return labelled, dict(left_out)


def _advise_on_labels(rating_NxA: np.ndarray) -> str:
    """Returns what to do if no utterance has a class: use the ratings, or another label space."""
    rated = _rated_together(rating_NxA)
    if not rated:
        return 'Choose another --config.data.labels.'
    return (
        f'The utterances have ratings. To train on these: --config.task=ratings '
        f'--config.data.ratings={",".join(rated)}. '
        'For classes, choose another --config.data.labels.'
    )


def _rated_together(rating_NxA: np.ndarray) -> list[str]:
    """Returns the ratings that utterances have, as many as some utterance has together.

    If no utterance has all that occur, it is the most frequent one.
    """
    is_rated_NxA = ~np.isnan(rating_NxA)
    count_A = is_rated_NxA.sum(axis=0)
    occurs_A = count_A > 0
    if not is_rated_NxA[:, occurs_A].all(axis=1).any():
        occurs_A = np.arange(len(count_A)) == np.argmax(count_A)
    if not occurs_A.any() or not count_A.any():
        return []
    return [name for name, occurs in zip(RATING_COLUMNS, occurs_A) if occurs]


def _has_votes(
    utterances: Utterances,
    label_space: str,
    own_classes: tuple[str, ...] | None,
    class_N: np.ndarray,
) -> np.ndarray:
    """Returns mask_N of the utterances with votes for one of the classes that occur in class_N.

    UserError if there is none.
    """
    classes = np.unique(class_N[class_N != '']).tolist()
    votes_N = utterances.text.get(VOTES_COLUMN, np.full(len(utterances), ''))
    count_NxC = labels.map_votes(label_space, votes_N, own_classes, classes)
    has_votes_N = count_NxC.any(axis=1)
    if not has_votes_N.any():
        raise UserError(
            f'config.train.soft_labels: none of {len(utterances)} utterances has votes of single '
            f'raters for a class of {label_space!r}. msp_podcast, iemocap and crema_d have votes, '
            'and so has a list of your own with columns of votes (--columns votes=angry+happy). If '
            'the corpus was prepared by an earlier version, or without its file of votes, prepare '
            'it again. Or leave config.train.soft_labels out.'
        )
    return has_votes_N


def keep_rated(
    utterances: Utterances, ratings: tuple[str, ...], identity_corpora: tuple[str, ...] = ()
) -> tuple[Utterances, dict[str, int]]:
    """Returns the utterances with all of the `ratings`, and the count of those left out.

    Utterances of `identity_corpora` are all kept. UserError if no other utterance is kept.
    """
    identity_N = identity_mask(utterances, identity_corpora)
    rating_NxA = utterances.rating_NxA[:, [RATING_COLUMNS.index(name) for name in ratings]]
    is_rated_N = ~np.isnan(rating_NxA).any(1)
    count = int(np.sum(~is_rated_N & ~identity_N))
    if not (is_rated_N & ~identity_N).any():
        rated_A = np.sum(~np.isnan(rating_NxA[~identity_N]), axis=0)
        found = ', '.join(f'{n} for {name}' for name, n in zip(ratings, rated_A))
        raise UserError(
            f'None of {count} utterances is rated for {" and ".join(ratings)} (rated: {found}). '
            f'{_advise_on_other_ratings(utterances.rating_NxA[~identity_N])}'
        )
    left_out = {labels.UNRATED: count} if count else {}
    return utterances[np.flatnonzero(is_rated_N | identity_N)], left_out


def _advise_on_other_ratings(rating_NxA: np.ndarray) -> str:
    """Returns which ratings to choose in place of those that no utterance has."""
    rated = _rated_together(rating_NxA)
    if not rated:
        return (
            'Choose corpora with ratings, such as msp_podcast, iemocap, or a list of your own with '
            'columns arousal, valence and dominance. Or predict emotions: --config.task=emotion'
        )
    return f'To train on the ratings that they have: --config.data.ratings={",".join(rated)}'


def with_thirds(
    utterances: Utterances, rating: str, identity_corpora: tuple[str, ...] = ()
) -> Utterances:
    """Returns utterances whose emotion is replaced by the third of the scale of a rating.

    It groups utterances where others are grouped by their class: those that are withheld, in the
    audit, and in methods that compare within groups. Utterances of `identity_corpora` get ''.
    """
    third_N = labels.third_of_scale(utterances.rating_NxA[:, RATING_COLUMNS.index(rating)])
    third_N[identity_mask(utterances, identity_corpora)] = ''
    grouped = utterances[np.arange(len(utterances))]
    grouped.text['emotion'] = third_N
    return grouped


def check_shared_classes(utterances: Utterances) -> None:
    """Raises a UserError if a class beyond `labels.EMOTIONS` is in some of several corpora only.

    Such a class would reveal the corpus. Utterances without an emotion do not count.
    """
    words_by_corpus = {}
    emotion_N = utterances.text['emotion']
    corpus_N = np.where(emotion_N == '', '', utterances.text['corpus'])
    for corpus in np.unique(corpus_N[corpus_N != '']).tolist():
        words_by_corpus[corpus] = set(emotion_N[corpus_N == corpus].tolist())
    for corpus, words in words_by_corpus.items():
        for other, other_words in words_by_corpus.items():
            own = sorted(words - other_words - set(labels.EMOTIONS))
            if own:
                raise UserError(
                    f'{corpus} has classes that {other} does not have: '
                    f'{", ".join(own[:MAX_LISTED_VALUES])}. They would reveal the corpus. Choose a '
                    'label space without them, such as --config.data.labels=four. For a list of '
                    'your own, you can also prepare it again with a --labels that maps them to '
                    'shared words, or use its classes alone, such as '
                    f'--config.data.labels={corpus}.'
                )


class Split(NamedTuple):
    """The utterances and folds of a configuration."""

    utterances: Utterances  # those with a label, and those that fill identity batches
    folds: list[Fold]
    sha256: str
    # Counts of what is not among `utterances`: by value of a column where config.data.only leaves
    # it out ('style=scripted'), by emotion or reason where it has no class ('fear') or no rating.
    left_out: dict[str, int]
    unused: int  # `utterances` that are in no part of any fold
    dropped: DroppedCopies = NO_COPIES  # by config.protocol.drop_copies
    unused_unknown: int = 0  # those of `unused` whose speaker is unknown
    undecided: int = 0  # `utterances` without a class that train by their votes

    def describe_left_out(self, label_space: str) -> list[str]:
        """Returns a sentence for each reason why utterances are left out; none if all are used.

        Those that only train come first.
        """
        by_selection = []
        by_label = []
        unrated = 0
        for value, count in sorted(self.left_out.items()):
            if value == labels.UNRATED and label_space not in labels.RATING_SPACES:
                unrated = count
                continue
            group = by_selection if '=' in value else by_label
            group.append(f'{count} {value}')
        sentences = []
        if self.undecided:
            sentences.append(
                f'Used in training only, by the votes of raters: {self.undecided} without one '
                f'class in {label_space!r}. Tested: {len(rows_of_parts(self.folds, ("test",)))} '
                'with one class.'
            )
        if by_selection:
            sentences.append(f'Left out, by config.data.only: {", ".join(by_selection)}.')
        if by_label:
            sentences.append(f'Left out, no class in {label_space!r}: {", ".join(by_label)}.')
        if unrated:
            sentences.append(f'Left out, without a rating that is predicted: {unrated}.')
        if self.dropped.rows:
            sentences.append(f'Left out, copies of other recordings: {len(self.dropped.rows)}.')
        if self.unused:
            unknown = f', {self.unused_unknown} of them of unknown speakers'
            sentences.append(
                f'Left out, in no part of this protocol: {self.unused}'
                f'{unknown if self.unused_unknown else ""}.'
            )
        return sentences


def select_utterances(config, data: PreparedData) -> tuple[Utterances, dict[str, int]]:
    """Returns the prepared utterances that a resolved configuration uses, as `select_from` does."""
    own_classes = None
    if not labels.is_known_space(config.data.labels):
        own_classes = read_own_classes(config.data, config.data.labels)
    return select_from(config, read_utterances(data), own_classes)


def select_from(
    config, utterances: Utterances, own_classes: tuple[str, ...] | None = None
) -> tuple[Utterances, dict[str, int]]:
    """Returns those of the utterances that a configuration uses, and the counts of the others.

    `own_classes` are those of a label space that is a corpus of the user's own.
    """
    selected, others = filter_utterances(utterances, config.data.only)
    identity = config.protocol.identity
    left_out = collections.Counter(others)
    if labels.has_classes(config.task):
        selected, unlabelled = keep_labelled(
            selected, config.data.labels, identity, own_classes, config.train.soft_labels
        )
        left_out.update(unlabelled)
        if config.data.labels in labels.OPEN_SPACES:
            check_shared_classes(selected)
    if labels.has_ratings(config.task):
        selected, unrated = keep_rated(selected, config.data.ratings, identity)
        left_out.update(unrated)
        if not labels.has_classes(config.task):
            selected = with_thirds(selected, config.data.ratings[0], identity)
    return selected, dict(left_out)


def count_votes(config, utterances: Utterances, classes: np.ndarray) -> np.ndarray | None:
    """Returns votes_NxC of utterances with labels, or None without config.train.soft_labels.

    They are the numbers of votes for the `classes`, zeros where there are none.
    """
    if not config.train.soft_labels:
        return None
    own_classes = None
    if not labels.is_known_space(config.data.labels):
        own_classes = read_own_classes(config.data, config.data.labels)
    votes_N = utterances.text[VOTES_COLUMN]
    return labels.map_votes(config.data.labels, votes_N, own_classes, classes.tolist())


def make_split(config, data: PreparedData) -> Split:
    """Returns the split of a resolved configuration: reads the data, maps labels, makes folds."""
    return divide(config, *select_utterances(config, data))


def divide(config, utterances: Utterances, left_out: dict[str, int]) -> Split:
    """Returns the split of utterances with labels; `left_out` counts those that have none."""
    protocol = Protocol(**config.protocol)
    ratings = config.data.ratings if labels.has_ratings(config.task) else ()
    dropped = NO_COPIES
    undecided = None
    if config.train.soft_labels:
        utterances, undecided = split_undecided(utterances, protocol.identity)
    if protocol.drop_copies:
        utterances, dropped = drop_copies(utterances, protocol)
    folds = []
    for fold in make_folds(utterances, protocol, ratings, labels.has_classes(config.task)):
        fold = reserve_attacker_test(utterances, fold, protocol.withhold, config.data.order_seed)
        fold = reserve_enrolment(utterances, fold, protocol, config.data.order_seed)
        folds.append(keep_copies_of_training(utterances, fold))
    if undecided is not None:
        utterances, folds = add_undecided(utterances, folds, undecided, protocol)
    is_unused_N = np.ones(len(utterances), bool)
    is_unused_N[rows_of_parts(folds, ALL_PARTS)] = False
    unused = np.flatnonzero(is_unused_N)
    return Split(
        utterances,
        folds,
        sha256=hash_folds(utterances, folds, ratings, with_votes=config.train.soft_labels),
        left_out=left_out,
        unused=len(unused),
        dropped=dropped,
        unused_unknown=int(np.sum(utterances.text['speaker'][unused] == '')),
        undecided=0 if undecided is None else count_used(utterances, folds, protocol.identity),
    )
