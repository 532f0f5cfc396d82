"""Finds what predicts the emotion without speech: sentence, length, level, silence, rate, codec.

Where one of these features alone predicts the emotion of unseen speakers, a model may have learnt
how the corpus was recorded and cut, and a good UAR proves nothing. Level and length are also part
of speech: anger is loud and sadness is slow, so they predict the emotion a little in any corpus.

The classifier uses one feature and counts how often its values occur with each class. Numbers are
also sorted into at most 32 bins of equally many utterances. The score of a class is its share among
the training utterances with the same value, all classes weighted equally. For a rare value it is
mostly the share in the bin. The classifier is fitted on `train` and tested on `test` of each fold.
"""

import math
from typing import NamedTuple

import numpy as np

from data_pipelines.protocols.confounding import (
    chance_information,
    entropy,
    mutual_information,
)
from data_pipelines.protocols.folds import PARTS, Fold, rows_of_parts
from data_pipelines.storage.schema import AUDIO_FACTS, CODEC_COLUMN, Utterances

# The names of the features, in the order of the report.
FEATURES = ('sentence', 'length', 'level', 'leading silence', 'sampling rate', 'codec')

# Shares of the way from chance to UAR 1. From the first a feature is 'clear'; length and level are
# part of speech, so that they need the second. Below the last it is 'none', however certain.
CLEAR_SHARE = 0.2
CLEAR_SHARE_OF_SPEECH = 0.4
WEAK_SHARE = 0.05
SPEECH_FEATURES = ('length', 'level')

# On p by Holm's method. With permuted labels of EMO-DB, RAVDESS and URDU all features are 'none' in
# 97 % of trials or more. Where each speaker's emotions are renamed at random, in 97 % on EMO-DB and
# 91 % on URDU, most of whose speakers have one emotion only.
ERROR_RATE = 0.02
MIN_SPEAKERS = 5  # with fewer, the utterances and not the speakers are the independent units

MAX_BINS = 32
MIN_PER_BIN_AND_CLASS = 10  # utterances, on average
BIN_WEIGHT = 4.0  # utterances for which the bin counts in the score of a value
PRIOR_WEIGHT = 1.0  # utterances for which equal shares count in the score of a bin
TIE_ERRORS = 0.5  # standard errors within which the scores of two classes are equal
ROUNDING = 1e-9
MIN_REPEATS = 10  # utterances with one number that are a value of their own in the bits


class Codes(NamedTuple):
    """A feature as small integers, of the utterances that have it."""

    rows: np.ndarray  # of the utterances; the other fields have one entry for each
    value: np.ndarray  # equal for equal values
    bin: np.ndarray  # equal for values in one bin; 0 for texts


class Score(NamedTuple):
    """How well a classifier does on the test parts."""

    uar: float
    chance: float
    p: float  # probability of such a UAR or a higher one by chance; 1 at chance and below


def find_shortcuts(utterances: Utterances, folds: list[Fold]) -> dict:
    """Returns how well each feature alone predicts the emotion of the tested utterances.

    'shortcuts' has for each feature that is known:
      feature: one of FEATURES
      bits: mutual information of feature and emotion in bits, minus its expectation by chance
      of: entropy of the emotion in bits
      uar: of the classifier, over the test parts of all folds; their speakers are unseen, unless
        the protocol shares speakers
      chance: UAR of guessing
      p: probability of such a UAR by chance, where the utterances of a speaker are not independent
      status: 'none' if p, corrected for the number of features, is above 0.02, if there are no
        bits beyond chance, or if UAR is less than 5 % of the way from chance to 1. 'clear' from
        20 % of that way, and for length and level from 40 %: then results on this corpus may be
        those of the shortcut. Else 'weak', as level and length are in most corpora.
      utterances: how many have the feature
    'unmeasured' has the names of the features that are not known, and why.
    """
    rows = rows_of_parts(folds, PARTS)
    rows = rows[utterances.text['emotion'][rows] != '']
    left_out = [_rows_outside(rows, fold.train, len(utterances)) for fold in folds]
    shortcuts = []
    unmeasured = {}
    for feature in FEATURES:
        codes = encode_feature(utterances, feature, rows)
        measured = _measure(utterances, folds, left_out, codes) if len(codes.rows) else None
        if measured is None:
            unmeasured[feature] = _reason_unmeasured(feature)
        else:
            shortcuts.append({'feature': feature} | measured)
    _add_status(shortcuts)
    return {'shortcuts': shortcuts, 'unmeasured': unmeasured}


def _rows_outside(rows: np.ndarray, excluded: np.ndarray, count: int) -> np.ndarray:
    """Returns those of the rows, which are below `count`, that are not excluded."""
    is_excluded_N = np.zeros(count, bool)
    is_excluded_N[excluded] = True
    return rows[~is_excluded_N[rows]]


def _reason_unmeasured(feature: str) -> str:
    """Returns why a feature is not known."""
    if feature == 'sentence':
        return 'the corpus does not say it'
    return 'prepared or packed by an earlier version: prepare again'


def encode_feature(utterances: Utterances, feature: str, rows: np.ndarray) -> Codes:
    """Returns the codes of a feature, of those `rows` that have it."""
    if feature in ('sentence', 'codec'):
        column = 'sentence' if feature == 'sentence' else CODEC_COLUMN
        text_N = utterances.text.get(column, np.full(len(utterances), ''))[rows]
        is_known_N = text_N != ''
        return _encode_values(rows[is_known_N], text_N[is_known_N])
    number_N = _read_numbers(utterances, feature, rows)
    is_known_N = np.isfinite(number_N)
    rows = rows[is_known_N]
    number_N = number_N[is_known_N]
    if feature == 'sampling rate':
        return _encode_values(rows, number_N)
    classes = max(len(np.unique(utterances.text['emotion'][rows])), 1)
    bins = int(np.clip(len(rows) // (MIN_PER_BIN_AND_CLASS * classes), 2, MAX_BINS))
    _, value_N = np.unique(number_N, return_inverse=True)
    if not len(rows):
        return Codes(rows, value_N, value_N)
    inner_edges = np.quantile(number_N, np.linspace(0, 1, bins + 1)[1:-1])
    return Codes(rows, value_N, np.searchsorted(inner_edges, number_N, 'right'))


def _encode_values(rows: np.ndarray, value_N: np.ndarray) -> Codes:
    """Returns the codes of a feature whose values have no order."""
    _, code_N = np.unique(value_N, return_inverse=True)
    return Codes(rows, code_N, np.zeros(len(rows), int))


def _read_numbers(utterances: Utterances, feature: str, rows: np.ndarray) -> np.ndarray:
    """Returns a feature of the rows as numbers; NaN where it is not known."""
    names = {
        'length': 'seconds',
        'level': 'level_db',
        'leading silence': 'leading_silence',
        'sampling rate': 'source_rate',
    }
    number_N = utterances.audio_facts_NxF[rows, AUDIO_FACTS.index(names[feature])]
    if feature != 'length' or not np.isnan(number_N).any():
        return number_N
    # Of packed data of earlier versions the frames are known, unless states are pooled.
    frames_N = utterances.frames_N[rows].astype(float)
    return frames_N if frames_N.max(initial=1) > 1 else number_N


def _measure(
    utterances: Utterances, folds: list[Fold], left_out: list[np.ndarray], codes: Codes
) -> dict | None:
    """Returns the bits and the UAR of a feature.

    `left_out` are the rows that are not in training, of each fold. None if no tested utterance has
    the feature, or no utterance of its training part.
    """
    emotion_N = utterances.text['emotion'][codes.rows]
    _, class_N = np.unique(emotion_N, return_inverse=True)
    position_of_row = np.full(len(utterances), -1)
    position_of_row[codes.rows] = np.arange(len(codes.rows))
    credit_N = _credit_of_folds(folds, left_out, codes, class_N, position_of_row)
    tested = np.flatnonzero(np.isfinite(credit_N))
    if not len(tested):
        return None
    speaker_N = utterances.text['speaker'][codes.rows[tested]]
    score = score_credits(class_N[tested], credit_N[tested], speaker_N)
    return _measure_bits(codes, class_N) | {
        'uar': round(score.uar, 4),
        'chance': round(score.chance, 4),
        'p': score.p,
        'utterances': len(codes.rows),
    }


def _measure_bits(codes: Codes, class_N: np.ndarray) -> dict:
    """Returns the mutual information of feature and emotion beyond chance, and H(emotion)."""
    count_V = np.bincount(codes.value)
    bins = codes.bin.max(initial=0) + 1
    has_bins = bins > 1
    is_frequent_N = count_V[codes.value] >= MIN_REPEATS
    code_N = codes.value
    if has_bins:
        code_N = np.where(is_frequent_N, bins + codes.value, codes.bin)
    _, code_N = np.unique(code_N, return_inverse=True)
    bits = mutual_information(code_N, class_N) - chance_information(code_N, class_N)
    return {'bits': round(max(bits, 0.0), 4), 'of': round(entropy(class_N), 4)}


class _Counts:
    """How often each value, and each bin, occurs with each class."""

    def __init__(self, codes: Codes, class_N: np.ndarray):
        self.codes = codes
        self.classes = int(class_N.max()) + 1
        self.class_N = class_N
        self.value_cell_N = codes.value * self.classes + class_N
        self.bin_cell_N = codes.bin * self.classes + class_N
        self.value_cells = np.bincount(
            self.value_cell_N, minlength=(codes.value.max() + 1) * self.classes
        )
        self.bin_cells = np.bincount(
            self.bin_cell_N, minlength=(codes.bin.max() + 1) * self.classes
        )

    def without(self, left_out: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns value_NxC of the `test` positions and bin_BxC, not counting some positions.

        Its time grows with `left_out`, which is short if there is a fold for each speaker.
        """
        np.subtract.at(self.value_cells, self.value_cell_N[left_out], 1)
        value_NxC = self.value_cells.reshape(-1, self.classes)[self.codes.value[test]]
        np.add.at(self.value_cells, self.value_cell_N[left_out], 1)
        removed = np.bincount(self.bin_cell_N[left_out], minlength=len(self.bin_cells))
        return value_NxC, (self.bin_cells - removed).reshape(-1, self.classes)


def _credit_of_folds(
    folds: list[Fold],
    left_out: list[np.ndarray],
    codes: Codes,
    class_N: np.ndarray,
    position_of_row: np.ndarray,
) -> np.ndarray:
    """Returns credit_N of the classifiers of all folds where they test.

    NaN where no fold tests the utterance, or its training part lacks the feature. `position_of_row`
    is the position of each row in `codes.rows`, -1 for rows without codes.
    """
    credit_N = np.full(len(codes.rows), np.nan)
    counts = _Counts(codes, class_N)
    for fold, left_out_rows in zip(folds, left_out):
        left_out_positions = position_of_row[left_out_rows]
        left_out_positions = left_out_positions[left_out_positions >= 0]
        test = position_of_row[fold.test]
        test = test[test >= 0]
        if len(test) and len(left_out_positions) < len(codes.rows):
            value_NxC, bin_BxC = counts.without(left_out_positions, test)
            score_NxC, support_N = _score_classes(value_NxC, bin_BxC, codes.bin[test])
            credit_N[test] = _credit(score_NxC, support_N, class_N[test])
    return credit_N


def _score_classes(
    value_NxC: np.ndarray, bin_BxC: np.ndarray, bin_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the scores of the classes, which sum to 1, and how many utterances support them.

    Args:
      value_NxC: How often the value of each utterance occurs in training with each class.
      bin_BxC: How often each bin does.
      bin_N: The bin of each utterance.
    """
    count_C = bin_BxC.sum(axis=0)
    is_trained_C = count_C > 0
    weight_C = np.where(is_trained_C, count_C.sum() / np.maximum(count_C, 1), 0.0)
    weight_C /= is_trained_C.sum()
    bin_BxC = bin_BxC * weight_C
    value_NxC = value_NxC * weight_C
    share_BxC = bin_BxC + PRIOR_WEIGHT * is_trained_C / is_trained_C.sum()
    share_BxC /= share_BxC.sum(axis=1, keepdims=True)
    score_NxC = value_NxC + BIN_WEIGHT * share_BxC[bin_N]
    score_NxC /= score_NxC.sum(axis=1, keepdims=True)
    return score_NxC, value_NxC.sum(axis=1) + bin_BxC.sum(axis=1)[bin_N]


def _credit(score_NxC: np.ndarray, support_N: np.ndarray, class_N: np.ndarray) -> np.ndarray:
    """Returns the probability that the predicted class of each utterance is `class_N`.

    Of the classes whose scores are the best within half a standard error, each is predicted with
    the same probability. Otherwise a feature with the same value everywhere would predict the
    class that is by chance more frequent in training, which depends on who is tested.
    """
    best_N = score_NxC.max(axis=1)
    error_N = np.sqrt(best_N * (1 - best_N) / np.maximum(support_N, 1))
    least_N = best_N - TIE_ERRORS * error_N - ROUNDING
    is_best_NxC = score_NxC >= least_N[:, None]
    return is_best_NxC[np.arange(len(class_N)), class_N] / is_best_NxC.sum(axis=1)


def score_credits(class_N: np.ndarray, credit_N: np.ndarray, speaker_N: np.ndarray) -> Score:
    """Returns the UAR of predictions, and the probability of one as high by chance.

    The standard error of UAR is the largest of three: with speakers as the independent units (if
    there are five or more), with utterances as these units, and of guessing. Each utterance of an
    unknown speaker counts as a speaker.

    Args:
      class_N: The classes of the tested utterances.
      credit_N: The probability that each is predicted correctly.
      speaker_N: Their speakers; '' where unknown.
    """
    classes, class_N, count_C = np.unique(class_N, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        return Score(uar=1.0, chance=1.0, p=1.0)
    chance = 1 / len(classes)
    recall_C = np.bincount(class_N, credit_N) / count_C
    uar = float(recall_C.mean())
    # How much each utterance moves UAR (its influence function).
    influence_N = (credit_N - recall_C[class_N]) / count_C[class_N] * chance
    guess_variance = chance**2 * float((chance * (1 - chance) / count_C).sum())
    variance = max(guess_variance, float((influence_N**2).sum()))
    degrees = len(class_N) - 1
    unit_N = _independent_units(speaker_N)
    units = unit_N.max() + 1
    if units >= MIN_SPEAKERS:
        square_U = np.bincount(unit_N, influence_N) ** 2
        speaker_variance = float(square_U.sum()) * units / (units - 1)
        variance = max(variance, speaker_variance)
        degrees = units - 1
    if uar <= chance + ROUNDING:
        return Score(uar, chance, p=1.0)
    return Score(uar, chance, _upper_tail((uar - chance) / math.sqrt(variance), degrees))


def _independent_units(speaker_N: np.ndarray) -> np.ndarray:
    """Returns a number for each speaker, and one for each utterance of an unknown speaker."""
    _, unit_N = np.unique(speaker_N, return_inverse=True)
    own_N = unit_N.max(initial=0) + 1 + np.arange(len(speaker_N))
    _, unit_N = np.unique(np.where(speaker_N == '', own_N, unit_N), return_inverse=True)
    return unit_N


def _upper_tail(t: float, degrees: float) -> float:
    """Returns the probability of at least `t` under Student's distribution."""
    from scipy import special  # commands without an audit do not need it; scipy.stats takes longer

    return float(special.stdtr(degrees, -t))


def _add_status(shortcuts: list[dict]) -> None:
    """Adds the status to each entry; `find_shortcuts` says which."""
    ordered = sorted(shortcuts, key=_p_value)
    is_rejected = True  # Holm (1979): up to the first p that is too large
    for rank, shortcut in enumerate(ordered):
        is_rejected = is_rejected and shortcut['p'] * (len(ordered) - rank) <= ERROR_RATE
        distance = 1 - shortcut['chance']
        share = (shortcut['uar'] - shortcut['chance']) / distance if distance else 0.0
        is_speech = shortcut['feature'] in SPEECH_FEATURES
        status = 'weak'
        if not is_rejected or share < WEAK_SHARE or not shortcut['bits']:
            status = 'none'
        elif share >= (CLEAR_SHARE_OF_SPEECH if is_speech else CLEAR_SHARE):
            status = 'clear'
        shortcut['status'] = status
        shortcut['p'] = float(f'{shortcut["p"]:.2g}')


def _p_value(shortcut: dict) -> float:
    return shortcut['p']
