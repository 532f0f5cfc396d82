"""Logistic regression on one vector per utterance; its penalty is chosen by the UAR on dev."""

import warnings
from typing import NamedTuple

import numpy as np
from folds import Fold, Part, Split, Submission, uar
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # values of C; a small C is a strong penalty


class Fitted(NamedTuple):
    """The classifier of a fold, and the vectors that it reads."""

    model: Pipeline
    vectors: dict[str, np.ndarray]
    dev_uar: float


def gather(part: Part, vectors: dict[str, np.ndarray]) -> np.ndarray:
    """Returns x_NxD, the vectors of the utterances of a part."""
    return np.stack([vectors[utterance] for utterance in part.utterance_N])


def fit(x_NxD: np.ndarray, class_N: np.ndarray, C: float) -> Pipeline:
    """Returns a classifier that is fitted on standardised vectors, with balanced classes."""
    regression = LogisticRegression(C=C, class_weight='balanced', max_iter=2000)
    model = make_pipeline(StandardScaler(), regression)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ConvergenceWarning)
        return model.fit(x_NxD, class_N)


def fit_fold(fold: Fold, candidates: dict[str, dict[str, np.ndarray]]) -> Fitted:
    """Returns the classifier of a fold: vectors and penalty have the best UAR on dev."""
    best = None
    for name, vectors in candidates.items():
        train_NxD, dev_NxD = gather(fold.train, vectors), gather(fold.dev, vectors)
        for C in PENALTIES:
            model = fit(train_NxD, fold.train.class_N, C)
            dev_uar = uar(fold.dev.class_N, model.predict(dev_NxD))
            if best is None or dev_uar > best.dev_uar:
                best = Fitted(model, vectors, dev_uar)
                choice = f'{name}, C = {C:g}'
    print(f'fold {fold.number}: {choice}, dev UAR {best.dev_uar:.3f}', flush=True)
    return best


def run(split: Split, candidates: dict[str, dict[str, np.ndarray]], submission: Submission) -> int:
    """Trains on every fold and adds its predictions of test; returns the number of parameters.

    Args:
      split: The folds.
      candidates: The vector of each utterance, by the name of the kind of vectors.
      submission: What the predictions are added to, and the vectors as representations.
    """
    for fold in split.folds:
        model, vectors, _ = fit_fold(fold, candidates)
        posterior_NxK = model.predict_proba(gather(fold.test, vectors))
        posterior_NxC = np.zeros((len(posterior_NxK), len(split.classes)))
        posterior_NxC[:, model[-1].classes_] = posterior_NxK
        submission.add(fold.number, 0, fold.test, posterior_NxC)
        for part in (fold.train, fold.dev, fold.test):
            submission.add_representations(fold.number, part.utterance_N, gather(part, vectors))
    return model[-1].coef_.size + model[-1].intercept_.size
