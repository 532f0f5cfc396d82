"""Which utterances a probe fits and tests attackers on."""

import copy
import dataclasses

import numpy as np
import pytest
from helpers import probing

from data_pipelines.batching.table import ExampleTable
from data_pipelines.protocols.folds import Fold
from jaxser.probing.questions import (
    SPEAKER_QUESTIONS,
    Question,
    halve_by_class,
    make_questions,
    unseen_speaker_rows,
)

PARTS = ('fit_rows', 'validation_rows', 'test_rows')


@pytest.fixture(scope='module')
def table() -> ExampleTable:
    return probing.make_table()


def questions_by_name(table: ExampleTable, fold: Fold | None = None) -> dict[str, Question]:
    questions = make_questions(table, fold or table.folds[0], 0)
    return {question.name: question for question in questions}


def used_rows(question: Question) -> np.ndarray:
    """Returns the rows that the attacker sees with their labels."""
    return np.concatenate([question.fit_rows, question.validation_rows])


def test_utterances_set_aside_for_enrolment_are_in_no_question(table):
    """Not even among those of training speakers, which are trained on."""
    fold = table.folds[0]
    reserved = np.setdiff1d(fold.train, fold.attacker_test)[::3]
    enrolling = dataclasses.replace(fold, reserved=reserved)
    for question in questions_by_name(table, enrolling).values():
        assert not np.isin(reserved, used_rows(question)).any()
        assert not np.isin(reserved, question.tested_rows).any()


def test_training_speakers_are_tested_on_the_reserved_utterances(table):
    """In two halves, of which each chooses the settings for the other; the same in every run."""
    fold = table.folds[0]
    questions = questions_by_name(table)
    speaker = questions['speaker']
    speaker_N = table.domain_N['speaker']
    counts = [np.bincount(speaker_N[getattr(speaker, part)]).tolist() for part in PARTS]
    assert counts == [[19] * 4, [3, 2, 3, 2], [2, 3, 2, 3]]
    assert sorted(speaker.tested_rows) == sorted(fold.attacker_test)
    assert set(speaker.fit_rows) == set(fold.train)
    first, second = speaker.turns()
    assert first == speaker
    np.testing.assert_array_equal(second.validation_rows, first.test_rows)
    np.testing.assert_array_equal(second.test_rows, first.validation_rows)
    assert speaker.is_withheld
    assert not speaker.unseen_speakers
    assert speaker.classes.tolist() == ['s00', 's01', 's02', 's03']
    again = questions_by_name(table)
    for name, question in questions.items():
        for part in PARTS:
            np.testing.assert_array_equal(getattr(question, part), getattr(again[name], part))


@pytest.mark.parametrize('withhold', [True, False])
def test_no_attacker_uses_the_utterances_on_which_it_is_tested(withhold):
    """In any turn; where training has seen them, the question says so."""
    table = probing.make_table(sentences=4, withhold=withhold)
    fold = table.folds[0]
    questions = questions_by_name(table)
    assert set(SPEAKER_QUESTIONS) < set(questions)
    for name, question in questions.items():
        if withhold or name != 'emotion':
            assert not np.isin(question.fit_rows, fold.attacker_test).any()
        for turn in question.turns():
            assert not np.isin(used_rows(turn), turn.test_rows).any()
        seen = np.isin(question.test_rows, fold.train_and_adapt).any()
        assert question.is_withheld == (not seen)
    assert questions['speaker'].is_withheld == withhold


def test_unseen_speakers_are_those_of_dev_and_test(table):
    """Three fifths of each speaker's utterances are fitted, and a fifth is tested."""
    question = questions_by_name(table)['unseen_speaker']
    assert question.classes.tolist() == ['s04', 's05', 's06', 's07']
    assert question.unseen_speakers
    assert question.is_withheld
    speaker_N = table.domain_N['speaker'] - 4
    counts = [np.bincount(speaker_N[getattr(question, part)]).tolist() for part in PARTS]
    assert counts == [[14] * 4, [5] * 4, [5] * 4]
    np.testing.assert_array_equal(
        question.label_N[question.test_rows], speaker_N[question.test_rows]
    )


def test_a_speaker_with_one_utterance_in_training_is_not_unseen(table):
    """Even if all of the others are tested."""
    fold = table.folds[0]
    mixed = dataclasses.replace(fold, train=np.append(fold.train, fold.dev[0]), dev=fold.dev[1:])
    unseen = unseen_speaker_rows(table.utterances.text['speaker'], mixed)
    assert 4 not in table.domain_N['speaker'][unseen]
    assert questions_by_name(table, mixed)['unseen_speaker'].classes.tolist() == [
        's05',
        's06',
        's07',
    ]


@pytest.mark.parametrize('name', ['speaker_other_sentence', 'unseen_speaker_other_sentence'])
def test_tested_sentences_are_not_fitted(name):
    table = probing.make_table(sentences=4)
    sentence_N = table.utterances.text['sentence']
    question = questions_by_name(table)[name]
    tested = set(sentence_N[question.test_rows])
    used = set(sentence_N[used_rows(question)])
    assert len(tested) == len(used) == 2
    assert not tested & used
    plain = questions_by_name(table)[name.removesuffix('_other_sentence')]
    assert question.classes.tolist() == plain.classes.tolist()
    assert question.unseen_speakers == plain.unseen_speakers


@pytest.mark.parametrize('case', ['unknown', 'one', 'all different'])
def test_without_repeated_sentences_there_is_no_question_about_others(case):
    table = probing.make_table()
    text = table.utterances.text
    if case == 'unknown':
        text['sentence'] = np.where(np.arange(len(text['sentence'])) % 2, 'hello', '')
    if case == 'all different':
        text['sentence'] = np.arange(len(text['sentence'])).astype(str)
    assert set(questions_by_name(table)) == {
        'speaker',
        'unseen_speaker',
        'sex',
        'language',
        'emotion',
    }


def test_settings_for_other_sentences_are_chosen_on_reserved_utterances():
    """Of the sentences that are fitted; the attacker is not tested on them."""
    table = probing.make_table(sentences=4)
    fold = table.folds[0]
    question = questions_by_name(table)['speaker_other_sentence']
    assert set(question.fit_rows) <= set(fold.fit_rows)
    reserved = {*question.validation_rows, *question.test_rows}
    assert reserved == set(fold.attacker_test)


def test_utterances_of_unknown_speakers_choose_no_settings():
    """Of an attacker that is tested on other sentences; the other reserved utterances do."""
    table = probing.make_table(sentences=4)
    unknown = table.folds[0].attacker_test[:4]
    table.utterances.text['speaker'][unknown] = ''
    question = questions_by_name(table)['speaker_other_sentence']
    assert len(question.validation_rows)
    assert not set(question.validation_rows) & set(unknown)


@pytest.mark.parametrize('counts', [[4, 4], [3, 3, 3], [1, 1, 1, 1], [5]])
def test_halves_of_a_class_differ_by_at_most_one(counts):
    """And so do the halves of all classes together."""
    label_N = np.repeat(np.arange(len(counts)), counts)
    halves = halve_by_class(np.arange(len(label_N)), label_N, np.random.default_rng(0))
    assert sorted([*halves[0], *halves[1]]) == list(range(len(label_N)))
    sizes = [np.bincount(label_N[half], minlength=len(counts)) for half in halves]
    assert np.abs(sizes[0] - sizes[1]).max() <= 1
    assert abs(len(halves[0]) - len(halves[1])) <= 1


def test_sex_and_language_are_tested_on_unseen_speakers(table):
    """Otherwise an attacker that knows voices would seem to know them; emotion: the test part."""
    fold = table.folds[0]
    questions = questions_by_name(table)
    for name in ('sex', 'language'):
        question = questions[name]
        assert question.unseen_speakers
        assert set(question.test_rows) == {*fold.dev, *fold.test}
        assert set(used_rows(question)) == set(fold.fit_rows)
    assert set(questions['emotion'].test_rows) == set(fold.test)
    assert questions['emotion'].unseen_speakers


def test_test_speakers_that_training_adapts_to_do_not_count_as_unseen(table):
    """Transductive: sex is then tested on reserved utterances, and emotion is marked as seen."""
    fold = table.folds[0]
    transductive = dataclasses.replace(fold, dev=fold.dev[:24], adapt=fold.test)
    questions = questions_by_name(table, transductive)
    assert set(questions['sex'].tested_rows) == set(fold.attacker_test)
    assert not questions['sex'].unseen_speakers
    assert not questions['emotion'].unseen_speakers
    assert not questions['emotion'].is_withheld
    assert 'unseen_speaker' not in questions  # one dev speaker remains


def test_a_domain_with_one_value_in_training_is_not_probed(table):
    """Nor is a class of which no utterance is fitted."""
    fold = table.folds[0]
    one_speaker = dataclasses.replace(fold, train=fold.train[:19])
    assert not {'speaker', 'sex', 'language'} & set(questions_by_name(table, one_speaker))
    none_of_the_third = dataclasses.replace(fold, train=fold.train[:38])
    speaker = questions_by_name(table, none_of_the_third)['speaker']
    assert speaker.classes.tolist() == ['s00', 's01']
    assert (speaker.label_N[speaker.test_rows] >= 0).all()


def test_a_question_has_the_same_utterances_whatever_the_others_are():
    """Each has its own random numbers."""
    with_sentences = questions_by_name(probing.make_table(sentences=4))
    without = questions_by_name(probing.make_table())
    for name in without:
        for part in PARTS:
            np.testing.assert_array_equal(
                getattr(with_sentences[name], part), getattr(without[name], part)
            )


def test_utterances_that_train_by_their_votes_are_in_no_question_about_the_emotion(table):
    """They have no class. Questions about the speaker use them."""
    fold = table.folds[0]
    without_class = fold.train[::4]
    voted = copy.copy(table)
    voted.emotion_N = table.emotion_N.copy()
    voted.emotion_N[without_class] = -1
    questions = questions_by_name(voted)
    assert not np.isin(without_class, used_rows(questions['emotion'])).any()
    assert np.isin(without_class, used_rows(questions['speaker'])).any()
