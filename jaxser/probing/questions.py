"""TODO: jaxser.probing.questions."""

from typing import NamedTuple

import numpy as np

from data_pipelines.batching.table import ExampleTable, index_values
from data_pipelines.protocols.folds import Fold

ATTRIBUTES = ('sex', 'language', 'corpus')  # asked where training hears two of them or more

TEST_SHARE, VALIDATION_SHARE = (
    0.2,
    0.2,
)  # of each class, the shares of utterances that are held out, and that choose the regularisation


class Question(NamedTuple):
    """What is asked of the representation: rows of utterances, and label_N, the index of a class or -1."""

    name: str
    label_N: np.ndarray
    fit_rows: np.ndarray
    validation_rows: np.ndarray
    test_rows: np.ndarray
    unseen_speakers: (
        bool  # whether those who are tested were heard by neither the encoder nor the classifier
    )


def split_by_class(
    rows: np.ndarray, label_N: np.ndarray, random, test_share: float = TEST_SHARE
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(fit, choose, test): of every class its shares, at random; a class of fewer than three utterances is left out."""
    parts: tuple[list, list, list] = ([], [], [])
    for label in np.unique(label_N[rows][label_N[rows] >= 0]):
        some = random.permutation(rows[label_N[rows] == label])
        if len(some) < 3:
            continue
        held, chosen = (
            max(1, round(share * len(some))) if share else 0
            for share in (test_share, VALIDATION_SHARE)
        )
        for part, of in zip(
            parts, (some[held + chosen :], some[held : held + chosen], some[:held])
        ):
            part.append(of)
    return tuple(np.concatenate(p) if p else np.zeros(0, int) for p in parts)


def make_questions(table: ExampleTable, fold: Fold, seed: int) -> list[Question]:
    """What can be asked in a fold; drawn from `seed` and the fold's number alone, whatever the run.

    Of speakers: utterances of those whom training hears, held out from the classifier (the encoder heard them). Of sex, language
    and corpus: the dev and test speakers, if training heard nothing of them and there are two classes among them; else held-out
    utterances too. Of emotion: the classifier hears the training part, and is tested on the test part.
    """
    random = np.random.default_rng((seed, fold.number))
    text, heard = table.utterances.text, np.unique(fold.seen)
    made = []

    def ask(name: str, label_N: np.ndarray, rows: np.ndarray, test: np.ndarray | None) -> None:
        fit, choose, held = split_by_class(
            rows, label_N, random, TEST_SHARE if test is None else 0.0
        )
        test = held if test is None else test[np.isin(label_N[test], label_N[fit])]
        if len(np.unique(label_N[fit])) > 1 and len(test):
            made.append(
                Question(name, label_N, fit, choose, test, not len(np.intersect1d(test, heard)))
            )

    ask('speaker', table.domain_N['speaker'], heard, None)
    for name in ATTRIBUTES:
        label_N = index_values(text[name])[1]
        others = np.setdiff1d(np.concatenate([fold.dev, fold.test]), heard)
        others = others[label_N[others] >= 0]
        ask(name, label_N, heard, others if len(np.unique(label_N[others])) > 1 else None)
    ask('emotion', table.emotion_N, fold.train, fold.test)
    return made
