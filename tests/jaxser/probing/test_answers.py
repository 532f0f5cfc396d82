"""Answers: the strongest attacker, recall below chance, and information in bits."""

import numpy as np
import pytest
from helpers import probing
from scipy import stats

from jaxser.analysis import metrics
from jaxser.probing import answers, attackers
from jaxser.probing.jobs import Job, ShapeTable, fit_jobs
from jaxser.probing.questions import Population, Question, make_questions, split_by_class

K = 4
NAMES = np.array(['s0', 's1', 's2', 's3'])
SPEAKER_N = np.arange(1200) % K


def make_question(name: str = 'speaker', unseen_speakers: bool = False) -> Question:
    """Returns a question about four speakers."""
    split = split_by_class(np.arange(len(SPEAKER_N)), SPEAKER_N, np.random.default_rng(0))
    return Question(name, NAMES, SPEAKER_N, *split[:3], True, unseen_speakers)


def probe(x_NxD: np.ndarray, question: Question | None = None) -> dict:
    """Returns the answer to a question about a representation of all utterances."""
    return probe_all([x_NxD], question or make_question())[0]


def probe_all(arrays: list[np.ndarray], question: Question) -> list[dict]:
    shapes = ShapeTable([question])
    shapes.add_width(arrays[0].shape[1])
    jobs = [Job(question, np.arange(len(x_NxD)), x_NxD) for x_NxD in arrays]
    found = dict(fit_jobs(jobs, shapes))
    return [answers.make_answer(question, [found[n]]) for n in range(len(jobs))]


def clouds(distance: float, seed: int = 0) -> np.ndarray:
    x_NxD = np.random.default_rng(seed).normal(size=(len(SPEAKER_N), K))
    return x_NxD + distance * np.eye(K)[SPEAKER_N]


def mutual_information(distance: float) -> float:
    """Returns the information of the clouds on the speaker, in bits, by the true posterior."""
    random = np.random.default_rng(9)
    x_MxK = random.normal(size=(100_000, K)) + distance * np.eye(K)[np.arange(100_000) % K]
    log_odds = distance * x_MxK
    log_p = log_odds - np.log(np.exp(log_odds).sum(1, keepdims=True))
    return np.log2(K) + log_p[np.arange(100_000), np.arange(100_000) % K].mean() / np.log(2)


def test_the_strongest_attacker_is_the_one_of_the_largest_recall():
    answer = probe(clouds(2.0))
    recalls = {name: answer[name] for name in attackers.ATTACKERS}
    assert answer['strongest'] == max(recalls.values())
    assert recalls[answer['attacker']] == answer['strongest']
    assert answer['chance'] == 0.25
    assert answer['n'] == len(make_question().test_rows)
    for name, recall_of_speaker in answer['recall'].items():
        assert np.mean(list(recall_of_speaker.values())) == pytest.approx(answer[name])
    assert set(answer['speaker_bits']) == set(NAMES.tolist())
    assert np.mean(list(answer['speaker_bits'].values())) == pytest.approx(answer['bits'])


@pytest.mark.parametrize('distance', [1.0, 2.0])
def test_bits_are_the_mutual_information(distance):
    """From below, within three standard errors of a mean over the tested utterances."""
    expected = mutual_information(distance)
    answer = probe(clouds(distance))
    standard_error = 0.9 / np.sqrt(answer['n'])  # the deviation of log2(p) is about 0.9 bits
    assert expected - 3 * standard_error - 0.1 < answer['bits'] < expected + 3 * standard_error


def test_nothing_known_is_about_zero_bits_and_never_significantly_more():
    """Over ten independent representations."""
    arrays = [clouds(0.0, seed) for seed in range(10)]
    bits = [answer['bits'] for answer in probe_all(arrays, make_question())]
    assert abs(np.mean(bits)) < 0.02
    assert stats.ttest_1samp(bits, 0, alternative='greater').pvalue > 0.01


def test_recall_below_chance_is_noticed():
    """Tested utterances avoid their own speaker's place, as after an eraser fitted on them."""
    question = make_question()
    x_NxD = clouds(1.5)
    x_NxD[question.test_rows] *= -1
    answer = probe(x_NxD)
    assert answer['strongest'] < 0.2
    assert answer['below_chance']
    assert answer['bits'] < 0


def test_chance_is_not_below_chance():
    arrays = [clouds(0.0, seed) for seed in range(10)]
    assert not any(answer['below_chance'] for answer in probe_all(arrays, make_question()))
    assert not probe(clouds(2.0))['below_chance']


def test_the_sex_of_a_few_unseen_speakers_is_never_below_chance():
    """All utterances of a speaker are right or wrong together, so that no binomial test holds."""
    question = make_question('sex', unseen_speakers=True)
    x_NxD = clouds(1.5)
    x_NxD[question.test_rows] *= -1
    answer = probe(x_NxD, question)
    assert not answer['below_chance']
    assert 'recall' not in answer


def test_noise_that_is_centred_by_speaker_has_recall_below_chance():
    """Why analysis/leakage.py marks it: the tested utterances lie opposite to the fitted ones."""
    x_NxD = np.random.default_rng(0).normal(size=(len(SPEAKER_N), 32))
    for k in range(K):
        x_NxD[k::K] -= x_NxD[k::K].mean(0)  # every K-th utterance is of speaker k
    answer = probe(x_NxD)
    assert answer['linear'] < 0.2
    assert answer['below_chance']


@pytest.mark.parametrize('correct', [20, 33, 50])
def test_the_p_value_below_chance_is_that_of_the_binomial_distribution(correct):
    """For balanced classes and predictions the chance is one half."""
    wrong = 50 - correct
    count_KxK = np.array([[correct, wrong], [wrong, correct]])
    expected = stats.binom.cdf(2 * correct, 100, 0.5)
    assert metrics.below_chance_p_value(count_KxK) == pytest.approx(expected)


def test_a_prediction_that_is_always_the_same_is_not_below_chance():
    """Its recall is that of guessing, although few utterances are right if the class is rare."""
    assert metrics.below_chance_p_value(np.array([[5, 0], [95, 0]])) > 0.1


def test_the_parts_of_an_answer_have_no_recall_of_single_speakers():
    part = answers.part_of_answer(probe(clouds(1.0)))
    assert set(part) == {*attackers.ATTACKERS, 'strongest', 'attacker', 'bits'}
    assert answers.part_of_answer(None) == {}


def test_questions_of_a_fold_can_all_be_answered():
    """With the smallest classes that a question may have."""
    table = probing.make_table(sentences=4)
    questions = make_questions(table, table.folds[0], 0)
    rows = table.folds[0].used_rows
    x_NxD = np.random.default_rng(0).normal(size=(len(rows), 4))
    for question in questions:
        shapes = ShapeTable(question.turns())
        shapes.add_width(4)
        turns = [Job(turn, rows, x_NxD) for turn in question.turns()]
        attacks = dict(fit_jobs(turns, shapes))
        answer = answers.make_answer(question, [attacks[n] for n in range(len(turns))])
        assert answer['n'] == len(question.tested_rows)
        assert 0 <= answer['strongest'] <= 1
        assert np.isfinite(answer['bits'])


@pytest.mark.parametrize('utterances', [0, 4, 99])
def test_few_validation_utterances_do_not_justify_certainty(utterances):
    """A certain and wrong posterior costs at most log2(n + 1) bits."""
    log_p_T = np.log(np.array([1 - 1e-30, 1e-30]))
    doubtful_T = answers._with_doubt(log_p_T, utterances, 2)
    assert np.exp(doubtful_T).sum() == pytest.approx(1)
    bits = 1 + doubtful_T[1] / np.log(2)
    assert bits == pytest.approx(-np.log2(utterances + 1))


def test_an_answer_about_a_sample_says_so():
    """`classes`, `n` and `chance` are those of the sample; `sampled_from` has those before it."""
    population = Population(classes=90, tested=5000, sample_sha256='abc')
    answer = probe(clouds(1.0), make_question()._replace(population=population))
    whole = probe(clouds(1.0))
    assert 'sampled_from' not in whole
    assert answer.pop('sampled_from') == {'classes': 90, 'n': 5000}
    assert answer.pop('sample_sha256') == 'abc'
    assert answer == whole
