"""Divides utterances into groups that share no sentence."""

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.storage.schema import Utterances
from data_pipelines.wording import pluralize


def deal_sentences(utterances: Utterances, parts: int) -> list[np.ndarray]:
    """Returns the rows of parts that share no sentence; UserError if there are too few."""
    count = len(find_sentences(utterances, 'sentence_folds'))
    if count < 3:
        raise UserError(
            f'sentence_folds finds {pluralize(count, "sentence")}; sentence-disjoint train, dev '
            'and test parts need 3 or more. Choose --config.protocol.name=speaker_folds, or '
            'speaker_sentence_folds, which needs 2.'
        )
    if not 3 <= parts <= count:
        raise UserError(
            f'{parts} folds by sentence cannot be made of {count} sentences: each part needs a '
            'sentence, and there must be 3 or more parts (train, dev, test). '
            f'Choose --config.protocol.folds from 3 to {count}.'
        )
    return split_by_sentence(utterances, parts, 'sentence_folds')


def find_sentences(utterances: Utterances, protocol_name: str) -> list[str]:
    """Returns the sentences, sorted; UserError if an utterance has none."""
    sentence_N = utterances.text['sentence']
    unknown = sentence_N == ''
    if unknown.any():
        example = utterances.text['utterance'][np.flatnonzero(unknown)[0]]
        raise UserError(
            f'{int(unknown.sum())} of {len(utterances)} utterances have no sentence, e.g. '
            f'{example}. {protocol_name} needs the sentence of every utterance: an unknown one may '
            'be in training and in test. In a list of your own, fill the column sentence. '
            'Otherwise choose --config.protocol.name=speaker_folds, or select speech whose '
            'sentences are known, such as --config.data.only=style=scripted of IEMOCAP.'
        )
    return np.unique(sentence_N).tolist()


def split_by_sentence(utterances: Utterances, groups: int, protocol_name: str) -> list[np.ndarray]:
    """Returns the rows of each of several groups of sentences.

    Sentences are assigned to the groups in turn, in alphabetical order. UserError if an utterance
    has no sentence.
    """
    sentences = find_sentences(utterances, protocol_name)
    sentence_N = utterances.text['sentence']
    return [np.flatnonzero(np.isin(sentence_N, sentences[i::groups])) for i in range(groups)]
