"""Which utterances a probe fits and tests classifiers on."""

import numpy as np
import pytest
from helpers import probing

from data_pipelines.batching.table import ExampleTable
from data_pipelines.protocols.folds import Fold
from jaxser.probing.questions import Question, make_questions

PARTS = ('fit_rows', 'validation_rows', 'test_rows')


@pytest.fixture(scope='module')
def table() -> ExampleTable:
    return probing.make_table()


def questions_by_name(table: ExampleTable, fold: Fold) -> dict[str, Question]:
    return {question.name: question for question in make_questions(table, fold, 0)}


def test_a_fifth_of_each_speakers_utterances_is_held_out(table):
    """The three parts are disjoint and have the same speakers, those of training, in every run."""
    fold = table.folds[0]
    questions = questions_by_name(table, fold)
    speaker = questions['speaker']
    speaker_N = table.domain_N['speaker']
    counts = [np.bincount(speaker_N[getattr(speaker, part)]).tolist() for part in PARTS]
    assert counts == [[8] * 4, [2] * 4, [2] * 4]
    rows = np.concatenate([getattr(speaker, part) for part in PARTS])
    assert len(np.unique(rows)) == 48
    assert set(rows) == set(fold.train)
    assert not speaker.unseen_speakers
    again = questions_by_name(table, fold)
    for name, question in questions.items():
        for part in PARTS:
            np.testing.assert_array_equal(getattr(question, part), getattr(again[name], part))


def test_sex_and_language_are_tested_on_unseen_speakers(table):
    """Otherwise a classifier that knows voices would seem to know them; emotion: the test part."""
    fold = table.folds[0]
    questions = questions_by_name(table, fold)
    assert list(questions) == ['speaker', 'sex', 'language', 'emotion']
    for name in ('sex', 'language'):
        question = questions[name]
        assert question.unseen_speakers
        assert set(question.test_rows) == {*fold.dev, *fold.test}
        assert set(question.fit_rows) | set(question.validation_rows) == set(fold.train)
    assert set(questions['emotion'].test_rows) == set(fold.test)
    assert questions['emotion'].unseen_speakers


def test_test_speakers_that_training_adapts_to_do_not_count_as_unseen(table):
    """Transductive: sex is then tested on held-out utterances, and emotion is marked as seen."""
    fold = table.folds[0]
    transductive = Fold(0, 'one', fold.train, fold.dev[:12], fold.test, adapt=fold.test)
    questions = questions_by_name(table, transductive)
    assert not questions['sex'].unseen_speakers
    assert not questions['emotion'].unseen_speakers
    assert set(questions['sex'].test_rows) <= {*fold.train, *fold.test}


def test_a_domain_with_one_value_in_training_is_not_probed(table):
    """Nor is a class of two utterances, as none of them can be held out."""
    fold = table.folds[0]
    one_speaker = Fold(0, 'one', fold.train[:12], fold.dev, fold.test)
    assert list(questions_by_name(table, one_speaker)) == ['emotion']
    two_of_the_third = Fold(0, 'one', fold.train[:26], fold.dev, fold.test)
    speaker = questions_by_name(table, two_of_the_third)['speaker']
    assert 2 not in table.domain_N['speaker'][speaker.fit_rows]
