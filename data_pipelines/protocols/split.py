"""TODO: data_pipelines.protocols.split."""

from typing import NamedTuple

import numpy as np

from data_pipelines import labels
from data_pipelines.errors import UserError
from data_pipelines.protocols.folds import Fold, Protocol, hash_folds, identity_mask, make_folds
from data_pipelines.storage.dataset import read_utterances
from data_pipelines.storage.schema import TEXT_COLUMNS, Utterances

MAX_LISTED_VALUES = 20  # values of a column that a refusal lists


def filter_utterances(utterances: Utterances, selection: str) -> tuple[Utterances, dict[str, int]]:
    """The utterances that `selection` names, as 'column=value,value' ('' names all), and the counts of the others by their value."""
    if not selection:
        return utterances, {}
    column, _, values = selection.partition('=')
    if column not in TEXT_COLUMNS:
        raise UserError(
            f'config.data.only is {selection!r}; expected a column and its value, as style=improvised, of {", ".join(TEXT_COLUMNS)}.'
        )
    value_N, chosen = utterances.text[column], values.split(',')
    there, count = np.unique(value_N, return_counts=True)
    if strange := [v for v in chosen if v not in there]:
        known = ', '.join(str(v) or 'nothing' for v in there[:MAX_LISTED_VALUES]) + (
            ', ...' if len(there) > MAX_LISTED_VALUES else ''
        )
        raise UserError(f'config.data.only: nobody has {column}={strange[0]}; found: {known}.')
    others = {f'{column}={v}': int(n) for v, n in zip(there, count) if v not in chosen}
    return utterances[np.flatnonzero(np.isin(value_N, chosen))], others


def keep_labelled(
    utterances: Utterances, label_space: str, identity_corpora: tuple[str, ...] = ()
) -> tuple[Utterances, dict[str, int]]:
    """The utterances that have a class in the label space, their emotion replaced by it, and the counts of those left out.

    Those of the corpora `identity_corpora` all stay, and lose their emotion ('').
    """
    apart_N = identity_mask(utterances, identity_corpora)
    own = np.flatnonzero(~apart_N)
    class_O, left_out = labels.map_labels(
        label_space, utterances.text['emotion'][own], utterances.rating_NxA[own]
    )
    class_N = np.full(len(utterances), '', class_O.dtype)
    class_N[own] = class_O
    keep_N = apart_N | (class_N != '')
    if not (class_N != '').any():
        what = ', '.join(f'{n} {reason}' for reason, n in left_out.items())
        raise UserError(
            f'No utterance has a class in the label space {label_space!r}: {what}. Choose another --config.data.labels.'
        )
    kept = utterances[np.flatnonzero(keep_N)]
    kept.text['emotion'] = class_N[keep_N]
    return kept, left_out


class Split(NamedTuple):
    """What a configuration trains, chooses and tests on."""

    utterances: Utterances  # that have a class, or fill identity batches
    folds: list[Fold]
    sha256: str
    left_out: dict[
        str, int
    ]  # not wanted, as 'style=scripted', or without a class, by what they have instead
    unused: int  # of the others, in no part of any fold

    def describe_left_out(self, label_space: str) -> list[str]:
        """What is not used, in words, for people; nothing if everything is."""
        said = []
        for why, marked in (
            ('by config.data.only', True),
            (f'having no class in {label_space!r}', False),
        ):
            if what := ', '.join(
                f'{n} {e}' for e, n in sorted(self.left_out.items()) if ('=' in e) == marked
            ):
                said.append(f'Left out, {why}: {what}.')
        return said + (
            [f'Left out, in no part of this protocol: {self.unused}.'] if self.unused else []
        )


def make_split(config) -> Split:
    """Reads the columns of a resolved configuration's data sets, maps their labels and cuts them into folds."""
    protocol = Protocol(**config.protocol)
    utterances, others = filter_utterances(read_utterances(config.data), config.data.only)
    utterances, left_out = keep_labelled(utterances, config.data.labels, protocol.identity)
    made = make_folds(utterances, protocol)
    used = np.unique(
        np.concatenate(
            [part for f in made for part in (f.train, f.dev, f.test, f.adapt, f.identity)]
        )
    )
    return Split(
        utterances,
        made,
        hash_folds(utterances, made),
        others | left_out,
        len(utterances) - len(used),
    )
