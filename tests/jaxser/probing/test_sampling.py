"""Samples of large questions: balanced, the same in every run, and named in the answer."""

import numpy as np
import pytest
from helpers import probing

from jaxser.probing import sampling
from jaxser.probing.questions import Question, make_questions


@pytest.fixture
def low_limits(monkeypatch):
    """Limits that the table of the tests exceeds."""
    monkeypatch.setattr(sampling, 'MAX_CLASSES', 3)
    monkeypatch.setattr(sampling, 'MAX_FITTED', 30)
    monkeypatch.setattr(sampling, 'MAX_TESTED', 6)


def questions_by_name(seed: int = 0) -> dict[str, Question]:
    table = probing.make_table()
    return {question.name: question for question in make_questions(table, table.folds[0], seed)}


def class_counts(question: Question, rows: np.ndarray) -> list[int]:
    return np.bincount(question.label_N[rows], minlength=len(question.classes)).tolist()


def test_small_questions_are_asked_as_they_are():
    for question in questions_by_name().values():
        assert question.population is None


def test_a_large_question_is_sampled_with_balanced_classes(low_limits):
    """Of four training speakers three; each half of what is tested has its own limit."""
    speaker = questions_by_name()['speaker']
    assert len(speaker.classes) == 3
    assert class_counts(speaker, speaker.fit_rows) == [10] * 3
    assert class_counts(speaker, speaker.validation_rows) == [2] * 3
    assert class_counts(speaker, speaker.test_rows) == [2] * 3
    assert speaker.population.classes == 4
    assert speaker.population.tested == 20


def test_a_sample_has_rows_and_labels_of_the_question(low_limits, monkeypatch):
    sampled = questions_by_name()
    monkeypatch.undo()
    for name, question in questions_by_name().items():
        sample = sampled[name]
        for part in ('fit_rows', 'validation_rows', 'test_rows'):
            rows = getattr(sample, part)
            assert np.isin(rows, getattr(question, part)).all()
            names = sample.classes[sample.label_N[rows]]
            np.testing.assert_array_equal(names, question.classes[question.label_N[rows]])
        assert (sample.unseen_speakers, sample.is_withheld) == (
            question.unseen_speakers,
            question.is_withheld,
        )


def test_the_sample_depends_on_the_seed_alone(low_limits):
    first, again, other = (questions_by_name(seed) for seed in (0, 0, 1))
    hashes = [questions['speaker'].population.sample_sha256 for questions in (first, again, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    for part in ('fit_rows', 'validation_rows', 'test_rows'):
        np.testing.assert_array_equal(
            getattr(first['speaker'], part), getattr(again['speaker'], part)
        )


def test_the_hash_is_that_of_the_utterances_of_each_part():
    """Whatever the order of the rows, and different if an utterance moves to another part."""
    names = np.array(['a', 'b', 'c', 'd'])
    parts = np.array([0, 1]), np.array([2, 3])
    expected = sampling.sample_sha256(names, *parts)
    assert expected == sampling.sample_sha256(names, parts[0][::-1], parts[1])
    assert expected != sampling.sample_sha256(names, np.array([0]), np.array([1, 2, 3]))


def test_tested_classes_are_in_the_sample(monkeypatch):
    """Otherwise there might be nothing to test."""
    monkeypatch.setattr(sampling, 'MAX_CLASSES', 3)
    tested_classes = np.array([2, 7])
    for seed in range(5):
        random = np.random.default_rng(seed)
        chosen = sampling.sample_classes(np.arange(100), tested_classes, random)
        assert len(chosen) == 3
        assert np.isin(tested_classes, chosen).all()


@pytest.mark.parametrize(
    ('counts', 'limit', 'expected'),
    [([5, 5, 5], 9, 3), ([1, 2, 100], 10, 7), ([1, 2, 100], 1000, 100), ([4, 4], 7, 3)],
)
def test_classes_have_the_largest_allowance(counts, limit, expected):
    allowance = sampling.class_allowance(np.array(counts), limit)
    assert min(allowance, max(counts)) == expected


def test_sampled_rows_keep_their_order_and_small_classes_are_complete():
    random = np.random.default_rng(0)
    label_N = np.repeat([0, 1, 2], [100, 3, 50])
    rows = random.permutation(len(label_N))
    chosen = sampling.sample_rows(rows, label_N, 43, random)
    assert np.bincount(label_N[chosen]).tolist() == [20, 3, 20]
    positions = np.argsort(rows)[chosen]
    assert (np.diff(positions) > 0).all()
