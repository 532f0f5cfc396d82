"""The questions of a probe: classification tasks with labels and rows for fitting and testing."""

from typing import NamedTuple

import numpy as np

from data_pipelines.batching.table import ExampleTable, index_values
from data_pipelines.protocols.folds import Fold

# Probed where the training data have two values or more.
ATTRIBUTES = ('sex', 'language', 'corpus')

# Shares of each class's utterances that are held out for the test, and for choosing the
# regularisation.
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.2
MIN_CLASS_SIZE = 3  # utterances: one to fit, one to choose, one to test


class Question(NamedTuple):
    """A classification task on a representation; rows are indices of utterances."""

    name: str
    label_N: np.ndarray  # index of each utterance's class, -1 if unknown
    fit_rows: np.ndarray
    validation_rows: np.ndarray
    test_rows: np.ndarray
    unseen_speakers: bool  # neither the encoder nor the classifier has seen a test row in training


class RowSplit(NamedTuple):
    """Rows of utterances for fitting, for choosing the regularisation and for testing."""

    fit: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split_by_class(
    rows: np.ndarray, label_N: np.ndarray, random, test_share: float = TEST_SHARE
) -> RowSplit:
    """Splits the rows at random, each class by the same shares.

    Rows without a label are left out, and so is a class of fewer than MIN_CLASS_SIZE utterances.
    """
    no_rows = np.zeros(0, int)
    fit, validation, test = [no_rows], [no_rows], [no_rows]
    for label in np.unique(label_N[rows][label_N[rows] >= 0]):
        class_rows = random.permutation(rows[label_N[rows] == label])
        if len(class_rows) < MIN_CLASS_SIZE:
            continue
        test_count = _share_count(test_share, len(class_rows))
        fit_start = test_count + _share_count(VALIDATION_SHARE, len(class_rows))
        test.append(class_rows[:test_count])
        validation.append(class_rows[test_count:fit_start])
        fit.append(class_rows[fit_start:])
    return RowSplit(np.concatenate(fit), np.concatenate(validation), np.concatenate(test))


def _share_count(share: float, size: int) -> int:
    """Returns the number of utterances in a share: at least one, unless the share is 0."""
    return max(1, round(share * size)) if share else 0


def make_questions(table: ExampleTable, fold: Fold, seed: int) -> list[Question]:
    """Returns the questions that a fold allows; they depend only on `seed` and the fold.

    - speaker: of the speakers seen in training. Test utterances are held out from the classifier,
      but the encoder has seen them.
    - sex, language, corpus: tested on dev and test speakers, if training has seen none of their
      utterances and they have two classes or more; otherwise on held-out training utterances.
    - emotion: the classifier is fitted on the training part and tested on the test part.

    A question is left out if fewer than two classes can be fitted, or if nothing can be tested.
    """
    random = np.random.default_rng((seed, fold.number))
    text = table.utterances.text
    seen_rows = np.unique(fold.train_and_adapt)
    unseen_rows = np.setdiff1d(np.concatenate([fold.dev, fold.test]), seen_rows)

    # The order of the questions decides which random numbers each of them gets.
    speaker_N = table.domain_N['speaker']
    questions = [_make_question('speaker', speaker_N, seen_rows, None, seen_rows, random)]
    for name in ATTRIBUTES:
        _, label_N = index_values(text[name])
        test_rows = unseen_rows[label_N[unseen_rows] >= 0]
        if len(np.unique(label_N[test_rows])) < 2:
            test_rows = None
        questions.append(_make_question(name, label_N, seen_rows, test_rows, seen_rows, random))
    questions.append(
        _make_question('emotion', table.emotion_N, fold.train, fold.test, seen_rows, random)
    )
    return list(filter(None, questions))


def _make_question(
    name: str,
    label_N: np.ndarray,
    rows: np.ndarray,
    test_rows: np.ndarray | None,
    seen_rows: np.ndarray,
    random,
) -> Question | None:
    """Returns a question on `rows`, or None if it cannot be fitted or tested.

    Without `test_rows` it is tested on a held-out part of `rows`.
    """
    if test_rows is None:
        fit, validation, test = split_by_class(rows, label_N, random)
    else:
        fit, validation, _ = split_by_class(rows, label_N, random, test_share=0.0)
        test = test_rows[np.isin(label_N[test_rows], label_N[fit])]
    if len(np.unique(label_N[fit])) < 2 or not len(test):
        return None
    unseen_speakers = not len(np.intersect1d(test, seen_rows))
    return Question(name, label_N, fit, validation, test, unseen_speakers)
