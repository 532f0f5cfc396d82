"""Speaker verification by a representation: the equal error rate over pairs of test utterances."""

import numpy as np

from data_pipelines.protocols.folds import Fold
from jaxser.analysis.metrics import equal_error_rate

MAX_VERIFIED_UTTERANCES = 2000  # of a fold's test part; verification compares all pairs of them


def verification_error(
    x_NxD: np.ndarray, rows: np.ndarray, fold: Fold, speaker_N: np.ndarray, seed: int
) -> dict | None:
    """Returns {'eer', 'speakers'} of the fold's test utterances.

    The mean of the training data is subtracted first. Returns None if there are fewer than two
    speakers, or no two utterances of one speaker.

    Args:
      x_NxD: the representations of the utterances `rows`.
      rows: indices of utterances, ascending; all that the fold uses.
      fold: with its test rows, and the rows seen in training.
      speaker_N: the speaker of every utterance of the task, -1 if unknown.
      seed: with the fold's number, the seed of the random sample if there are too many utterances.
    """
    candidates = fold.test[speaker_N[fold.test] >= 0]
    random = np.random.default_rng((seed, fold.number))
    test_rows = random.permutation(candidates)[:MAX_VERIFIED_UTTERANCES]
    speakers = np.unique(speaker_N[test_rows])
    if len(speakers) < 2 or len(test_rows) == len(speakers):
        return None
    mean_D = x_NxD[np.isin(rows, fold.train_and_adapt)].mean(0)
    centred_NxD = x_NxD[np.searchsorted(rows, test_rows)] - mean_D
    return {
        'eer': equal_error_rate(centred_NxD, speaker_N[test_rows]),
        'speakers': len(speakers),
    }
