"""The leakage of a setting: means over its runs, intervals over speakers, the strongest attacker.

An attacker is a new classifier of the frozen representation. A question is what it is asked, such
as the speaker; the probe has an answer to each question (jaxser/probing). The headline of a
question is the recall of the strongest attacker: the largest of the attackers' means over the runs.
One attacker alone finds too little: a representation that hides the speaker from a linear
classifier may still show it to another.

An average, the result of `average_probe` for a question, has these keys where the runs have them:

  linear, mlp, rbf, knn   mean recall of each attacker
  strongest, attacker     the largest of these means, and the name of its attacker
  chance, classes, n      means over the runs; chance is the recall of guessing
  strangers, withheld     whether this holds in every run
  centred                 True if normalisation makes the leakage too low (`is_centred`)
  bits                    information on the speaker that an attacker proves, in bits; may be
                          negative
  ci95, bits_ci95         95 % intervals that resample speakers; None for too few speakers
  probed_speakers         number of these speakers
  below_chance            whether an attacker's recall is significantly below chance
  input, scores           the same means of attackers that have the input alone, or the emotion
                          scores alone
  eer, lda_eer, speakers  of the question `verification`
  sampled_from            if the question was sampled: {'classes', 'n'}, their means before it

Results of earlier versions have the attackers `linear` and `mlp` only.
"""

import numpy as np

from jaxser.analysis import bootstrap
from jaxser.analysis.bootstrap import RecallTerm

# The attackers, and their names in tables.
ATTACKERS = {'linear': 'linear', 'mlp': 'MLP', 'rbf': 'RBF', 'knn': 'kNN'}

# The questions whose leakage is in headlines and tables: training speakers and unseen speakers.
HEADLINE_QUESTIONS = ('speaker', 'unseen_speaker')

# What a table calls a question.
QUESTION_TITLES = {
    'speaker': 'training speakers',
    'unseen_speaker': 'unseen speakers',
    'speaker_other_sentence': 'training speakers, other sentences',
    'unseen_speaker_other_sentence': 'unseen speakers, other sentences',
}

# Figures of an answer of which the mean over the runs is taken.
MEAN_KEYS = (*ATTACKERS, 'chance', 'classes', 'n', 'eer', 'lda_eer', 'speakers', 'bits')

# An attacker is below chance if the one-sided p-value, corrected for the attackers, is below it.
BELOW_CHANCE_LEVEL = 0.01

Recalls = dict[str, float]  # by speaker


def strongest_attacker(answer: dict) -> tuple[str, float] | None:
    """Returns (attacker, recall) of the strongest attacker; None in an answer without attackers.

    Of equal ones it is the first of ATTACKERS.
    """
    attackers = [attacker for attacker in ATTACKERS if answer.get(attacker) is not None]
    if not attackers:
        return None
    strongest = max(attackers, key=lambda attacker: answer[attacker])
    return strongest, answer[strongest]


def strongest_recall(answer: dict) -> float | None:
    """Returns the recall of the strongest attacker; None in an answer without attackers."""
    strongest = strongest_attacker(answer)
    return strongest[1] if strongest else None


def relative_leakage(answer: dict) -> float:
    """Returns the strongest attacker's recall on a scale from 0 (chance) to 1 (always right)."""
    return (strongest_recall(answer) - answer['chance']) / (1 - answer['chance'])


def is_biased_low(answer: dict) -> bool:
    """Whether attackers were tested on utterances that the encoder was trained on."""
    return not answer.get('withheld') and not answer.get('strangers')


def is_centred(answer: dict, config: dict) -> bool:
    """Whether the tested utterances are normalised by statistics of a speaker that include them.

    The utterances of a speaker then have the mean 0 together. So a tested one is moved away from
    those on which an attacker was fitted: even from pure noise, recall is far below chance.
    `config` is the configuration as in config.json.
    """
    normalisation = config.get('data', {}).get('normalise')
    is_withheld, is_unseen = bool(answer.get('withheld')), bool(answer.get('strangers'))
    if normalisation == 'speaker_transductive':  # without the withheld utterances
        return is_unseen or not is_withheld
    if normalisation == 'speaker':  # of training speakers only
        return not is_unseen and not is_withheld
    return False


def mark_centred(averages: dict[str, dict], config: dict) -> None:
    """Adds the key `centred` to the averages about speakers to which it applies."""
    for question in QUESTION_TITLES:
        if question in averages and is_centred(averages[question], config):
            averages[question]['centred'] = True


def question_title(question: str) -> str:
    """Returns what tables call a question, e.g. 'training speakers' for `speaker`."""
    return QUESTION_TITLES.get(question, question)


def unseen_question(domain: str) -> str:
    """Returns the question about values of a domain that training has not seen."""
    return f'unseen_{domain}'


def average_probe(probes: list[dict]) -> tuple[dict[str, dict], dict[str, Recalls]]:
    """Returns, by question, the average of several runs, and each speaker's recall.

    The recalls are those of the strongest attacker, averaged over the runs that probed the speaker.
    """
    answers_by_question: dict[str, list[dict]] = {}
    for probe in probes:
        for question, answer in probe.items():
            answers_by_question.setdefault(question, []).append(answer)
    averages, recalls = {}, {}
    for question, answers in answers_by_question.items():
        average = _average_answer(answers)
        if 'recall' in answers[0]:
            speaker_figures, recalls[question] = _speaker_figures(average, answers)
            average |= speaker_figures
        averages[question] = average
    return averages, recalls


def _average_answer(answers: list[dict]) -> dict:
    """Returns the means of several answers to one question."""
    average = _mean_figures(answers)
    for key in ('input', 'scores'):
        parts = [answer[key] for answer in answers if answer.get(key)]
        if parts:
            average[key] = _mean_figures(parts)
    for key in ('strangers', 'withheld'):
        values = [answer[key] for answer in answers if key in answer]
        if values:
            average[key] = all(values)
    sampled = [answer['sampled_from'] for answer in answers if 'sampled_from' in answer]
    if sampled:
        average['sampled_from'] = {}
        for key in ('classes', 'n'):
            average['sampled_from'][key] = float(np.mean([sizes[key] for sizes in sampled]))
    return average


def _mean_figures(answers: list[dict]) -> dict:
    """Returns the mean of each figure over the answers that have it, and the strongest attacker."""
    figures = {}
    for key in MEAN_KEYS:
        values = [answer[key] for answer in answers if answer.get(key) is not None]
        if values:
            figures[key] = float(np.mean(values))
    strongest = strongest_attacker(figures)
    if strongest:
        figures['attacker'], figures['strongest'] = strongest
    return figures


def _speaker_figures(average: dict, answers: list[dict]) -> tuple[dict, Recalls]:
    """Returns the figures of an average that resample speakers, and the strongest's recalls."""
    recalls_by_attacker = {}
    for attacker in answers[0]['recall']:
        parts = [answer['recall'].get(attacker, {}) for answer in answers]
        recalls_by_attacker[attacker] = _mean_by_speaker(parts)
    recalls = recalls_by_attacker[average['attacker']]
    estimate = bootstrap.bootstrap_estimate(_speaker_term(recalls), with_p=False)
    figures = {
        'ci95': clip_interval(estimate.ci95),
        'probed_speakers': len(recalls),
        'below_chance': _is_below_chance(average['chance'], recalls_by_attacker, answers),
    }
    bits = _mean_by_speaker([answer.get('speaker_bits') or {} for answer in answers])
    if bits:
        bits_estimate = bootstrap.bootstrap_estimate(_speaker_term(bits), with_p=False)
        figures['bits_ci95'] = bits_estimate.ci95
    return figures, recalls


def _mean_by_speaker(parts: list[Recalls]) -> Recalls:
    """Returns each speaker's mean over the parts that have the speaker, in alphabetical order."""
    values: dict[str, list[float]] = {}
    for part in parts:
        for speaker, value in part.items():
            values.setdefault(speaker, []).append(value)
    means = {}
    for speaker, speaker_values in sorted(values.items()):
        means[speaker] = float(np.mean(speaker_values))
    return means


def clip_interval(ci95: tuple[float, float] | None) -> tuple[float, float] | None:
    """Returns the interval of a recall within [0, 1]."""
    if ci95 is None:
        return None
    low, high = ci95
    return max(low, 0.0), min(high, 1.0)


def _is_below_chance(
    chance: float, recalls_by_attacker: dict[str, Recalls], answers: list[dict]
) -> bool:
    """Whether the recall of an attacker is significantly below chance.

    Who always guesses wrong knows the speaker: such a recall is a leak. With enough speakers, the
    test resamples them, and a run must be significant by itself (where runs were tested): six
    speakers with a recall of 0 on a few utterances each are no proof. With fewer speakers, most
    runs must be significant.
    """
    flags = [answer['below_chance'] for answer in answers if 'below_chance' in answer]
    if min(map(len, recalls_by_attacker.values())) < bootstrap.MIN_SPEAKERS:
        return sum(flags) > len(flags) / 2
    if flags and not any(flags):
        return False
    for recalls in recalls_by_attacker.values():
        chances = dict.fromkeys(recalls, chance)
        estimate = bootstrap.bootstrap_estimate(
            _speaker_term(recalls), _speaker_term(chances, sign=-1)
        )
        corrected_p = estimate.p / 2 * len(recalls_by_attacker)
        if estimate.value < 0 and corrected_p < BELOW_CHANCE_LEVEL:
            return True
    return False


def leakage_difference(recalls: Recalls, plain_recalls: Recalls) -> dict:
    """Returns speaker leakage minus that of plain training, over the same speakers."""
    estimate = bootstrap.bootstrap_estimate(
        _speaker_term(recalls), _speaker_term(plain_recalls, sign=-1)
    )
    return {'delta': estimate.value, 'delta_ci95': estimate.ci95, 'p': estimate.p}


def _speaker_term(values: Recalls, sign: int = 1) -> RecallTerm:
    """Returns the mean over speakers as a term: each speaker counts as one utterance."""
    value_Sx1 = np.array(list(values.values()))[:, None]
    return RecallTerm(sign, value_Sx1, np.ones((len(values), 1)))
