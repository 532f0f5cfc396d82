"""The questions of a probe: classification tasks with labels and rows for fitting and testing.

Questions about speakers:

  speaker                        training speakers, tested on the fold's `attacker_test`
  unseen_speaker                 dev and test speakers that training has not seen
  speaker_other_sentence         as speaker, but no tested sentence is used to fit the attacker, so
                                 that it cannot recognise a recording by what is said
  unseen_speaker_other_sentence  as unseen_speaker, likewise

Settings of an attacker that are best on utterances seen in training are not best on withheld ones:
they make a weak attacker. Where training speakers are tested, the tested utterances are therefore
divided into two halves, and there are two attackers. Each of them is tested on one half. The other
half chooses its settings, and then joins the utterances on which it is fitted.

Other questions: sex, language, corpus and, where classes are predicted, emotion.

A large question is asked about a sample of its utterances: jaxser/probing/sampling.py.
"""

from typing import NamedTuple

import numpy as np

from data_pipelines.batching.table import ExampleTable, index_values
from data_pipelines.protocols.folds import Fold
from jaxser.probing import sampling

SPEAKER_QUESTIONS = (
    'speaker',
    'unseen_speaker',
    'speaker_other_sentence',
    'unseen_speaker_other_sentence',
)
SCORED_QUESTIONS = ('speaker', 'unseen_speaker')  # also asked of the outputs alone

# Probed where the training data have two values or more.
ATTRIBUTES = ('sex', 'language', 'corpus')

# Shares of each class's utterances. Where the tested rows are given, the rest is divided in the
# same proportion.
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.2
VALIDATION_SHARE_OF_REST = VALIDATION_SHARE / (1 - TEST_SHARE)
MIN_CLASS_SIZE = 3  # utterances: one to fit, one to choose, one to test

MIN_KNOWN_SENTENCES = 0.9  # of a question's utterances; with fewer, sentences are not separated


class Population(NamedTuple):
    """The size of a question before sampling, and the hash of the chosen utterances."""

    classes: int
    tested: int  # utterances that could be tested
    sample_sha256: str


class Question(NamedTuple):
    """A classification task on a representation; rows are indices of utterances."""

    name: str
    classes: np.ndarray  # the names of the classes that can be fitted
    label_N: np.ndarray  # index of each utterance's class, -1 if unknown or not among the classes
    fit_rows: np.ndarray
    validation_rows: np.ndarray  # choose the attacker's settings
    test_rows: np.ndarray
    is_withheld: bool  # the encoder has not seen the test rows in training
    unseen_speakers: bool  # nor any other utterance of the tested speakers
    # Whether the validation rows are tested too, with the test rows in their place.
    is_crossed: bool = False
    population: Population | None = None  # if it is a sample

    def turns(self) -> list['Question']:
        """Returns the question, and if it is crossed also with validation and test exchanged."""
        if not self.is_crossed:
            return [self]
        exchanged = self._replace(validation_rows=self.test_rows, test_rows=self.validation_rows)
        return [self, exchanged]

    @property
    def tested_rows(self) -> np.ndarray:
        """Returns the test rows of all turns, one turn after the other."""
        return np.concatenate([turn.test_rows for turn in self.turns()])


class RowSplit(NamedTuple):
    """Rows of utterances for fitting, for choosing settings and for testing."""

    fit: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    is_crossed: bool = False  # validation and test are two halves of what is tested


def split_by_class(
    rows: np.ndarray,
    label_N: np.ndarray,
    random,
    test_share: float = TEST_SHARE,
    validation_share: float = VALIDATION_SHARE,
) -> RowSplit:
    """Splits the rows at random, each class by the same shares.

    Rows without a label are left out, and so is a class of fewer than MIN_CLASS_SIZE utterances
    (one fewer if none is tested).
    """
    no_rows = np.zeros(0, int)
    fit, validation, test = [no_rows], [no_rows], [no_rows]
    min_size = MIN_CLASS_SIZE if test_share else MIN_CLASS_SIZE - 1
    for rows_of_class in _rows_by_class(rows, label_N):
        class_rows = random.permutation(rows_of_class)
        if len(class_rows) < min_size:
            continue
        test_count = _share_count(test_share, len(class_rows))
        fit_start = test_count + _share_count(validation_share, len(class_rows))
        test.append(class_rows[:test_count])
        validation.append(class_rows[test_count:fit_start])
        fit.append(class_rows[fit_start:])
    return RowSplit(np.concatenate(fit), np.concatenate(validation), np.concatenate(test))


def _rows_by_class(rows: np.ndarray, label_N: np.ndarray) -> list[np.ndarray]:
    """Returns the labelled rows of each class, in their order; classes are ascending."""
    labelled_rows = rows[label_N[rows] >= 0]
    # Sorted once: a search for each class needs utterances times classes comparisons.
    labelled_rows = labelled_rows[np.argsort(label_N[labelled_rows], kind='stable')]
    starts = np.flatnonzero(np.diff(label_N[labelled_rows])) + 1
    return np.split(labelled_rows, starts)


def _share_count(share: float, size: int) -> int:
    """Returns the number of utterances in a share: at least one, unless the share is 0."""
    return max(1, round(share * size)) if share else 0


def halve_by_class(rows: np.ndarray, label_N: np.ndarray, random) -> tuple[np.ndarray, np.ndarray]:
    """Returns two halves of the labelled rows, each class divided at random.

    A class with an odd number has one row more in the half that has fewer so far.
    """
    halves: tuple[list, list] = ([], [])
    for rows_of_class in _rows_by_class(rows, label_N):
        class_rows = random.permutation(rows_of_class)
        smaller = int(len(halves[1]) < len(halves[0]))
        halves[smaller].extend(class_rows[::2].tolist())
        halves[1 - smaller].extend(class_rows[1::2].tolist())
    return np.array(halves[0], int), np.array(halves[1], int)


def unseen_speaker_rows(speaker_N: np.ndarray, fold: Fold) -> np.ndarray:
    """Returns the dev and test rows of known speakers of whom training has seen no utterance."""
    training_rows = [fold.train_and_adapt, fold.identity, fold.attacker_test]
    seen_speakers = np.unique(speaker_N[np.concatenate(training_rows)])
    rows = np.union1d(fold.dev, fold.test)
    is_unseen = ~np.isin(speaker_N[rows], seen_speakers) & (speaker_N[rows] != '')
    return rows[is_unseen]


def make_questions(
    table: ExampleTable, fold: Fold, seed: int, has_classes: bool = True
) -> list[Question]:
    """Returns the questions that a fold allows; they depend only on `seed` and the fold.

    Without `has_classes` the emotion is not asked for: the models predict ratings alone, and the
    emotions of the table are thirds of a rating's scale.

    - speaker: fitted on `fold.fit_rows`, tested on the halves of `fold.attacker_test` in turn.
    - unseen_speaker: fitted, chosen and tested on utterances of unseen speakers.
    - the two about other sentences: where sentences are known and spoken several times.
    - sex, language, corpus: tested on unseen speakers if they have two classes or more; otherwise
      like `speaker`.
    - emotion: the attacker is fitted on the training part and tested on the test part.

    Rows that are set aside for enrolment are in no question.

    A question is left out if fewer than two classes can be fitted, or if nothing can be tested.
    """
    questions = _QuestionMaker(table, fold, seed).make_all()
    return [question for question in questions if has_classes or question.name != 'emotion']


class _QuestionMaker:
    """Makes the questions of a fold."""

    def __init__(self, table: ExampleTable, fold: Fold, seed: int):
        self.table = table
        self.fold = fold
        self.seed = seed
        self.text = table.utterances.text
        self.seen_rows = np.unique(np.concatenate([fold.train_and_adapt, fold.identity]))
        dev_and_test = np.concatenate([fold.dev, fold.test])
        self.untrained_rows = np.setdiff1d(dev_and_test, self.seen_rows)  # of any speaker
        training_rows = np.union1d(self.seen_rows, fold.attacker_test)
        self.seen_speakers = np.unique(self.text['speaker'][training_rows])

    def make_all(self) -> list[Question]:
        """Returns all questions that can be asked."""
        speakers, speaker_N = index_values(self.text['speaker'])
        unseen_rows = unseen_speaker_rows(self.text['speaker'], self.fold)
        fit_rows, attacker_test = self.fold.fit_rows, self.fold.attacker_test
        random = self._random('speaker')
        split = self._with_halves(fit_rows, speaker_N, attacker_test, random)
        questions = [self._make('speaker', speakers, speaker_N, split)]
        random = self._random('unseen_speaker')
        split = split_by_class(unseen_rows, speaker_N, random)
        questions.append(self._make('unseen_speaker', speakers, speaker_N, split))
        for name, rows, test_rows in (
            ('speaker_other_sentence', fit_rows, attacker_test),
            ('unseen_speaker_other_sentence', unseen_rows, unseen_rows),
        ):
            split = self._with_other_sentences(rows, speaker_N, test_rows, self._random(name))
            if split is not None:
                questions.append(self._make(name, speakers, speaker_N, split))
        for name in ATTRIBUTES:
            questions.append(self._make_attribute(name))
        random = self._random('emotion')
        emotion_N = self.table.emotion_N
        # Utterances that are set aside for enrolment have no representation.
        train = np.setdiff1d(self.fold.train, self.fold.reserved)
        split = self._with_test(train, emotion_N, self.fold.test, random)
        questions.append(self._make('emotion', self.table.classes, emotion_N, split))
        return [question for question in questions if question is not None]

    def _random(self, name: str) -> np.random.Generator:
        """Returns the random numbers of a question, whatever other questions there are."""
        return np.random.default_rng((self.seed, self.fold.number, *name.encode()))

    def _make_attribute(self, name: str) -> Question | None:
        """Returns the question about sex, language or corpus."""
        classes, label_N = index_values(self.text[name])
        test_rows = self.untrained_rows[label_N[self.untrained_rows] >= 0]
        fit_rows, random = self.fold.fit_rows, self._random(name)
        if len(np.unique(label_N[test_rows])) < 2:
            split = self._with_halves(fit_rows, label_N, self.fold.attacker_test, random)
        else:
            split = self._with_test(fit_rows, label_N, test_rows, random)
        return self._make(name, classes, label_N, split)

    def _with_test(self, rows, label_N, test_rows, random) -> RowSplit:
        """Returns a split of `rows` for fitting, with the given rows for the test."""
        split = split_by_class(np.unique(rows), label_N, random, 0.0, VALIDATION_SHARE_OF_REST)
        return split._replace(test=np.unique(test_rows))

    def _with_halves(self, rows, label_N, test_rows, random) -> RowSplit:
        """Returns a split that is fitted on `rows` and crossed over the halves of the test rows."""
        fit = np.unique(rows[label_N[rows] >= 0])
        is_fitted_N = np.isin(label_N[test_rows], label_N[fit])
        first, second = halve_by_class(np.unique(test_rows[is_fitted_N]), label_N, random)
        if not len(first) or not len(second):
            return self._with_test(rows, label_N, test_rows, random)
        return RowSplit(fit, first, second, is_crossed=True)

    def _with_other_sentences(self, rows, label_N, test_rows, random) -> RowSplit | None:
        """Returns a split in which half of the sentences are only tested.

        The attacker is fitted on the utterances of `rows` with one of the other sentences. Its
        settings are chosen on the utterances of `test_rows` with one of the other sentences, if
        they are not in `rows`; otherwise on a share of `rows`. Returns None unless nearly all
        sentences are known and most are spoken several times.
        """
        sentence_N = self.text['sentence']
        all_rows = np.union1d(rows, test_rows)
        known_rows = all_rows[sentence_N[all_rows] != '']
        sentences, counts = np.unique(sentence_N[known_rows], return_counts=True)
        is_known = len(known_rows) >= MIN_KNOWN_SENTENCES * max(len(all_rows), 1)
        if not is_known or len(sentences) < 2 or (counts > 1).mean() <= 0.5:
            return None
        tested = random.permutation(sentences)[: len(sentences) // 2]
        is_tested_N = np.isin(sentence_N, tested)
        is_used_N = ~is_tested_N & (sentence_N != '')
        fit_rows = rows[is_used_N[rows]]
        validation_rows = np.setdiff1d(test_rows[is_used_N[test_rows]], fit_rows)
        test_rows = test_rows[is_tested_N[test_rows]]
        labelled_rows = np.unique(fit_rows[label_N[fit_rows] >= 0])
        # A class that is not fitted cannot choose settings: utterances of unknown speakers, too.
        is_fitted_N = np.isin(label_N[validation_rows], label_N[labelled_rows])
        validation_rows = validation_rows[is_fitted_N]
        if not len(validation_rows):
            return self._with_test(fit_rows, label_N, test_rows, random)
        return RowSplit(labelled_rows, validation_rows, np.unique(test_rows))

    def _make(self, name: str, classes, label_N, split: RowSplit) -> Question | None:
        """Returns a question, or None if it cannot be fitted or tested."""
        fitted = np.unique(label_N[split.fit])
        test_rows = split.test[np.isin(label_N[split.test], fitted)]
        if len(fitted) < 2 or not len(test_rows):
            return None
        split, population = self._sample(name, label_N, split._replace(test=test_rows))
        fitted = np.unique(label_N[split.fit])
        compact_N = np.where(np.isin(label_N, fitted), np.searchsorted(fitted, label_N), -1)
        is_withheld = not np.isin(split.test, self.seen_rows).any()
        test_speakers = self.text['speaker'][split.test]
        unseen_speakers = (
            is_withheld
            and not np.isin(test_speakers[test_speakers != ''], self.seen_speakers).any()
        )
        return Question(
            name,
            np.asarray(classes)[fitted],
            compact_N,
            split.fit,
            split.validation,
            split.test,
            is_withheld,
            unseen_speakers,
            split.is_crossed,
            population,
        )

    def _sample(
        self, name: str, label_N: np.ndarray, split: RowSplit
    ) -> tuple[RowSplit, Population | None]:
        """Returns the split within the limits of sampling.py; its Population if it was sampled."""
        fitted = np.unique(label_N[split.fit])
        parts = split.fit, split.validation, split.test
        limits = sampling.MAX_FITTED, sampling.MAX_TESTED, sampling.MAX_TESTED
        is_small = all(len(rows) <= limit for rows, limit in zip(parts, limits))
        if is_small and len(fitted) <= sampling.MAX_CLASSES:
            return split, None
        tested_rows = split.test
        if split.is_crossed:
            tested_rows = np.concatenate([split.test, split.validation])
        random = sampling.sampling_random(self.seed, self.fold.number, name)
        chosen = sampling.sample_classes(fitted, np.unique(label_N[tested_rows]), random)
        sampled = []
        for rows, limit in zip(parts, limits):
            rows_of_chosen = rows[np.isin(label_N[rows], chosen)]
            sampled.append(sampling.sample_rows(rows_of_chosen, label_N, limit, random))
        digest = sampling.sample_sha256(self.text['utterance'], *sampled)
        population = Population(len(fitted), len(tested_rows), digest)
        return RowSplit(*sampled, split.is_crossed), population
