"""A table of utterances whose domains can be probed."""

import numpy as np
from helpers import synthetic_utterances

from data_pipelines.batching.table import ExampleTable
from data_pipelines.protocols.folds import Fold


def make_table() -> ExampleTable:
    """Returns a table of eight speakers, with two sexes and two languages, and one fold.

    Every speaker has twelve utterances. Speakers 0 to 3 are trained on, 4 and 5 are dev, 6 and 7
    are tested.
    """
    utterances = synthetic_utterances.make_utterances(speakers=8, classes=('A', 'B', 'C'))
    speaker_N = np.repeat(np.arange(8), 12)
    utterances.text['language'] = np.where(speaker_N % 2, 'de', 'en')
    train = np.flatnonzero(speaker_N < 4)
    dev = np.flatnonzero((speaker_N == 4) | (speaker_N == 5))
    test = np.flatnonzero(speaker_N > 5)
    return ExampleTable(utterances, [Fold(0, 'one', train, dev, test)], 'global', True)
