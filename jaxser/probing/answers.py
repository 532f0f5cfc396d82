"""The answer to a question: what the attackers recognise, in the form of results.json.

Keys of an answer:

  linear, mlp, rbf, knn  mean recall of each attacker over the classes
  strongest, attacker    the largest of these, and the name of its attacker
  classes, chance, n     number of classes, recall of guessing, number of tested utterances
  strangers              whether training has seen no utterance of the tested speakers
  withheld               whether training has seen none of the tested utterances
  bits                   information on the class, in bits
  below_chance           whether an attacker's recall is significantly below chance
  recall, speaker_bits   of questions about speakers: {attacker: {speaker: recall}}, and {speaker:
                         bits}
  input, scores          the same figures of attackers that have the network's input, or its outputs
                         (log-posteriors of the emotions, ratings), instead of the representation
  sampled_from           only if the question was sampled (jaxser/probing/sampling.py): {'classes',
                         'n'} without sampling
  sample_sha256          only if the question was sampled: the hash of the names of its utterances

`bits` is the mean over the classes of log2(K) + log2(p), p being the posterior of the true class by
the attacker with the lowest cross-entropy on the validation part. Posteriors are mixed with the
uniform distribution, the more the fewer validation utterances there are. In expectation `bits` is a
lower bound on the mutual information of a class and the representation; it may be negative.
"""

import numpy as np

from jaxser.analysis import metrics
from jaxser.analysis.leakage import BELOW_CHANCE_LEVEL
from jaxser.probing.attackers import ATTACKERS, Outcome
from jaxser.probing.questions import ATTRIBUTES, SPEAKER_QUESTIONS, Question

PART_KEYS = (*ATTACKERS, 'strongest', 'attacker', 'bits', 'eer', 'lda_eer')


def make_answer(question: Question, outcomes: list[Outcome]) -> dict:
    """Returns the answer to a question, without 'input' and 'scores'.

    `outcomes` has the outcome of each of its turns.
    """
    true_T = question.label_N[question.tested_rows]
    K = len(question.classes)
    predicted_AxT = np.concatenate([outcome.predicted_AxT for outcome in outcomes], axis=1)
    answer, recalls, p_values = {}, {}, []
    for name, predicted_T in zip(ATTACKERS, predicted_AxT):
        confusion_KxK = metrics.confusion_matrix(true_T, predicted_T, K)
        answer[name] = metrics.classification_metrics(confusion_KxK)['uar']
        recalls[name] = _class_recalls(question.classes, confusion_KxK)
        p_values.append(metrics.below_chance_p_value(confusion_KxK))
    attacker = max(ATTACKERS, key=answer.get)  # the first of equal ones
    true_log_p = []
    for turn, outcome in zip(question.turns(), outcomes, strict=True):
        log_p_T = outcome.true_log_p_AxT[outcome.validation_loss_A.argmin()]
        true_log_p.append(_with_doubt(log_p_T, len(turn.validation_rows), K))
    class_bits = _class_bits(question.classes, np.concatenate(true_log_p), true_T)
    corrected_p = min(p_values) * len(ATTACKERS)  # Bonferroni
    answer |= {
        'strongest': answer[attacker],
        'attacker': attacker,
        'classes': K,
        'chance': 1 / K,
        'n': len(true_T),
        'strangers': question.unseen_speakers,
        'withheld': question.is_withheld,
        'bits': float(np.mean(list(class_bits.values()))),
        'below_chance': _has_independent_tests(question) and corrected_p < BELOW_CHANCE_LEVEL,
    }
    if question.name in SPEAKER_QUESTIONS:
        answer |= {'recall': recalls, 'speaker_bits': class_bits}
    population = question.population
    if population is not None:
        answer |= {
            'sampled_from': {'classes': population.classes, 'n': population.tested},
            'sample_sha256': population.sample_sha256,
        }
    return answer


def part_of_answer(answer: dict | None) -> dict:
    """Returns the figures of an answer that are listed under 'input' or 'scores'."""
    return {key: answer[key] for key in PART_KEYS if key in (answer or {})}


def _has_independent_tests(question: Question) -> bool:
    """Whether tested utterances are independent trials, which a binomial test assumes.

    The sex of a few unseen speakers is not: all utterances of a speaker are right or wrong
    together.
    """
    return question.name not in ATTRIBUTES or not question.unseen_speakers


def _class_recalls(classes: np.ndarray, confusion_KxK: np.ndarray) -> dict[str, float]:
    """Returns {class: recall} of every class with test examples."""
    count_K = confusion_KxK.sum(1)
    tested = np.flatnonzero(count_K)
    recall = np.diag(confusion_KxK)[tested] / count_K[tested]
    return dict(zip(classes[tested].tolist(), recall.tolist()))


def _with_doubt(log_p_T: np.ndarray, calibrated_on: int, classes: int) -> np.ndarray:
    """Returns log-posteriors mixed with the uniform distribution, whose share is 1 / (n + 1).

    n is the number of utterances on which they were calibrated: few do not justify certainty.
    """
    share = 1 / (calibrated_on + 1)
    return np.log((1 - share) * np.exp(log_p_T.astype(float)) + share / classes)


def _class_bits(classes: np.ndarray, log_p_T: np.ndarray, true_T: np.ndarray) -> dict[str, float]:
    """Returns {class: mean of log2(K) + log2(p)} of every class with test examples.

    log_p_T are the log-posteriors of the true classes.
    """
    bits_T = np.log2(len(classes)) + log_p_T / np.log(2)
    return {str(classes[k]): float(bits_T[true_T == k].mean()) for k in np.unique(true_T)}
