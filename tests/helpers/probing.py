"""A table of utterances whose domains can be probed, and jobs with planted information."""

import dataclasses

import numpy as np
from helpers import synthetic_utterances

from data_pipelines.batching.table import ExampleTable
from data_pipelines.protocols.folds import Fold
from jaxser.probing.attackers.job import Examples, JobData

UTTERANCES = 24  # of each speaker


def make_table(sentences: int = 0, withhold: bool = True) -> ExampleTable:
    """Returns a table of eight speakers, with two sexes and two languages, and one fold.

    Speakers 0 to 3 are trained on, 4 and 5 are dev, 6 and 7 are tested. Every fifth utterance of a
    training speaker tests attackers; with `withhold` it is not trained on. Every speaker says
    `sentences` sentences in turn; 0: they are unknown.
    """
    utterances = synthetic_utterances.make_utterances(
        speakers=8, per_class=UTTERANCES // 3, classes=('A', 'B', 'C')
    )
    speaker_N = np.repeat(np.arange(8), UTTERANCES)
    utterances.text['language'] = np.where(speaker_N % 2, 'de', 'en')
    number_N = np.arange(len(speaker_N)) % UTTERANCES
    if sentences:
        utterances.text['sentence'] = np.char.add('text', (number_N % sentences).astype(str))
    train = np.flatnonzero(speaker_N < 4)
    attacker_test = train[number_N[train] % 5 == 0]
    if withhold:
        train = np.setdiff1d(train, attacker_test)
    dev = np.flatnonzero((speaker_N == 4) | (speaker_N == 5))
    test = np.flatnonzero(speaker_N > 5)
    fold = dataclasses.replace(Fold(0, 'one', train, dev, test), attacker_test=attacker_test)
    return ExampleTable(utterances, [fold], 'global', True)


def make_job(
    x_MxD: np.ndarray, y_M: np.ndarray, test_share: float = 0.5
) -> tuple[JobData, np.ndarray]:
    """Returns a job with these examples, of which the last share is tested, and their labels.

    A quarter of the others are the validation part.
    """
    known = round(len(x_MxD) * (1 - test_share))
    is_validation_N = np.arange(known) % 4 == 0

    def make_examples(chosen_N: np.ndarray) -> Examples:
        x_NxD = x_MxD[:known][chosen_N].astype(np.float32)
        y_N = y_M[:known][chosen_N].astype(np.int32)
        return Examples(x_NxD, y_N, np.ones(len(y_N), np.float32))

    fit, validation = make_examples(~is_validation_N), make_examples(is_validation_N)
    test_TxD = x_MxD[known:].astype(np.float32)
    return JobData(fit, validation, test_TxD), y_M[known:]
