"""The first card: did the representation forget the domain, such as the speaker?

Each rule is a function of the facts that returns an answer or None. The first answer counts.
"""

import numpy as np

from data_pipelines.wording import pluralize
from jaxser.analysis.adversary import COLLAPSED_HINT
from jaxser.analysis.leakage import is_biased_low, strongest_recall, unseen_question
from jaxser.reporting.card_facts import (
    AMBER,
    GREEN,
    RED,
    Answer,
    Facts,
    Scale,
    few_speakers_sentence,
    first_answer,
    no_figures,
    verdict_count,
)
from jaxser.reporting.formats import format_interval, format_leakage, format_percent

PLURALS = {'speaker': 'speakers', 'language': 'languages', 'corpus': 'corpora'}

SEEN_SENTENCE = (
    'The tested utterances were used to train the encoder: such leakage is biased low. With '
    'config.protocol.withhold = 0.2, attackers are tested on withheld utterances.'
)
CENTRED_SENTENCE = (
    'Features are normalised by statistics of a speaker that include the tested utterances, which '
    'makes leakage too low.'
)
BELOW_CHANCE_SENTENCE = (
    'An attacker is wrong more often than by guessing. That is a leak too: who is always wrong '
    'knows the {domain}.'
)
LAM_SENTENCE = 'lam is the weight of forgetting in training.'
LOWER_LAM_SENTENCE = (
    ' A lower one may forget more: at a high one, the head that should find the speaker can fail, '
    'and then teaches the encoder nothing.'
)
LIMITS_SENTENCE = 'Information that these attackers do not find may still be there.'


def forgetting_answer(facts: Facts) -> Answer:
    """Returns whether the setting has forgotten its domain."""
    rules = (
        no_figures,
        _not_measured,
        _forgets_nothing,
        _has_no_reference,
        _has_collapsed,
        _is_measured_too_low,
        _is_below_chance,
        _forgot_in_runs,
        _forgot_by_intervals,
    )
    answer = first_answer(rules, facts)
    if facts.rough:
        answer = answer._replace(sentences=[*answer.sentences, facts.rough])
    return answer


def _not_measured(facts: Facts) -> Answer | None:
    if _leakage(facts.best, facts.domain):
        return None
    command = f'python -m jaxser.probe --workdir {facts.path}'
    return Answer(AMBER, 'Not measured', [f'Leakage was not measured. {command} measures it.'])


def _forgets_nothing(facts: Facts) -> Answer | None:
    if not facts.is_all_plain:
        return None
    tried = 'This is plain training, which forgets nothing.'
    return Answer(AMBER, 'Not tried', [tried, *_recognition_sentences(facts)])


def _has_no_reference(facts: Facts) -> Answer | None:
    if facts.plain and _leakage(facts.plain, facts.domain):
        return None
    missing = 'The sweep has no plain training (erm, or lam = 0) to compare with.'
    return Answer(AMBER, 'Nothing to compare with', [missing, *_recognition_sentences(facts)])


def _has_collapsed(facts: Facts) -> Answer | None:
    collapsed, runs = verdict_count(facts.best, 'collapsed')
    if not collapsed:
        return None
    found = f'{collapsed} of {pluralize(runs, "run")} collapsed'
    sentences = [
        f'{found}: {facts.target.lost}, or the run diverged.',
        f'Next: {COLLAPSED_HINT}.',
    ]
    if 2 * collapsed >= runs:
        return Answer(RED, 'Collapsed', sentences)
    return Answer(AMBER, 'Unstable', sentences + _recognition_sentences(facts))


def _is_measured_too_low(facts: Facts) -> Answer | None:
    """Whether attackers had utterances that make leakage too low."""
    reasons = []
    for answer in _headline_answers(facts).values():
        if is_biased_low(answer):
            reasons.append(SEEN_SENTENCE)
        if answer.get('centred'):
            reasons.append(CENTRED_SENTENCE)
    if not reasons:
        return None
    sentences = list(dict.fromkeys(reasons))
    return Answer(AMBER, 'Undecided', _recognition_sentences(facts) + sentences)


def _is_below_chance(facts: Facts) -> Answer | None:
    if not any(answer.get('below_chance') for answer in _headline_answers(facts).values()):
        return None
    sentence = BELOW_CHANCE_SENTENCE.format(domain=facts.domain)
    return Answer(AMBER, 'No', [sentence, *_recognition_sentences(facts)])


# Of domains that have no intervals, the answers by the verdict on most runs.
ANSWERS_BY_VERDICT = {
    'inert': 'No',
    'balanced': 'Perhaps in part',
    'winning': 'Perhaps',
    'undecided': 'Undecided',
}


def _forgot_in_runs(facts: Facts) -> Answer | None:
    """Judges by the verdicts on runs where leakage has no difference to plain training."""
    answers = _headline_answers(facts)
    if 'delta' in answers[facts.domain]:
        return None
    verdict = _most_frequent_verdict(facts.best)
    if verdict is None:
        return Answer(AMBER, 'Undecided', _recognition_sentences(facts))
    sentences = _recognition_sentences(facts)
    sentences.append(f'There is no interval for the {facts.domain}, so nothing is shown.')
    sentences += _next_step(facts, verdict)
    return Answer(AMBER, ANSWERS_BY_VERDICT[verdict], sentences)


def _forgot_by_intervals(facts: Facts) -> Answer:
    """Judges by the differences to plain training, of training speakers and of unseen ones."""
    answer = _headline_answers(facts)[facts.domain]
    domains = PLURALS.get(facts.domain, facts.domain)
    change = _change(answer)
    verdict = _most_frequent_verdict(facts.best)
    sentences = _recognition_sentences(facts)
    if change == 'few':
        sentences.append(few_speakers_sentence(answer.get('probed_speakers')))
        return Answer(AMBER, f'Too few {domains} to say', sentences)
    if change == 'more':
        sentences.append(f'The interval shows more leakage of training {domains}.')
        return Answer(AMBER, 'No, it leaks more', sentences + _next_step(facts, 'inert'))
    if change == 'unclear':
        sentences.append(_unclear_sentence(facts, domains))
    if verdict == 'inert':
        short = 'No' if change == 'unclear' else 'Hardly'
        return Answer(AMBER, short, sentences + _next_step(facts, verdict))
    if change == 'unclear':
        return Answer(AMBER, 'Not shown', sentences)
    return _forgot_training_speakers(facts, verdict, sentences)


def _unclear_sentence(facts: Facts, domains: str) -> str:
    """Returns for which of the headline questions no difference to plain training is shown."""
    answers = _headline_answers(facts)
    if len(answers) > 1 and set(map(_change, answers.values())) == {'unclear'}:
        return 'Neither is shown to differ from plain training (both 95 % intervals include 0).'
    return (
        f'Training {domains} are not shown to differ from plain training (the 95 % interval of the '
        'difference includes 0).'
    )


def _forgot_training_speakers(facts: Facts, verdict: str | None, sentences: list[str]) -> Answer:
    """Judges by unseen speakers where less leakage of training speakers is shown."""
    unseen = _change(_headline_answers(facts).get(unseen_question(facts.domain), {}))
    if verdict == 'winning' and unseen in ('less', 'unclear'):
        return Answer(GREEN, 'Yes, nearly all of it', [*sentences, LIMITS_SENTENCE])
    if unseen == 'less':
        sentences.append('Both are lower than after plain training, and not at chance.')
        return Answer(AMBER, 'In part', sentences)
    domains = PLURALS.get(facts.domain, facts.domain)
    sentences.append(UNSEEN_SENTENCES[unseen].format(domains=domains))
    return Answer(AMBER, f'Only for training {domains}', sentences)


UNSEEN_SENTENCES = {
    'more': 'Unseen {domains} leak more than after plain training.',
    'unclear': (
        'Unseen {domains} are not shown to differ from plain training (the interval includes 0).'
    ),
    'few': 'There are too few unseen {domains} for an interval.',
    'unmeasured': 'Leakage of unseen {domains} was not measured.',
}


def _change(answer: dict) -> str:
    """Returns how leakage differs from plain training: less, more, unclear, few or unmeasured.

    few: there are too few speakers for an interval.
    """
    if 'delta' not in answer:
        return 'unmeasured'
    if not answer.get('delta_ci95'):
        return 'few'
    low, high = answer['delta_ci95']
    if high < 0:
        return 'less'
    return 'more' if low > 0 else 'unclear'


def _next_step(facts: Facts, verdict: str | None) -> list[str]:
    """Returns what to try after an inert setting."""
    if verdict != 'inert':
        return []
    count, runs = verdict_count(facts.best, 'inert')
    inert = ''
    if count:
        verb = 'is' if count == 1 else 'are'
        inert = f'{count} of {pluralize(runs, "run")} {verb} inert (nearly all leakage is left). '
    lam_sentences = _lam_sentences(facts.hint)
    if facts.short_training:
        next_step = f'{inert}Next: train for more epochs. After that: {facts.hint}.'
    else:
        next_step = f'{inert}Next: {facts.hint}.'
    return [*lam_sentences, next_step]


def _lam_sentences(hint: str) -> list[str]:
    """Returns what lam is, and why less of it may help, if the hint names it."""
    if 'a lower lam' in hint:
        return [LAM_SENTENCE + LOWER_LAM_SENTENCE]
    return [LAM_SENTENCE] if ' lam' in hint else []


def _most_frequent_verdict(row: dict) -> str | None:
    counts = row['adversary']
    return max(counts, key=counts.get) if counts else None


def _leakage(row: dict, question: str) -> dict | None:
    """Returns the average of the probe for a question, or None."""
    return (row['probe'] or {}).get(question)


def _headline_answers(facts: Facts) -> dict[str, dict]:
    """Returns the averages about values of the domain that training has seen, and about others."""
    answers = {}
    for question in (facts.domain, unseen_question(facts.domain)):
        answer = _leakage(facts.best, question)
        if answer:
            answers[question] = answer
    return answers


def _title(question: str) -> str:
    """Returns e.g. 'training speakers' or 'unseen speakers'."""
    domain = question.removeprefix('unseen_')
    values = PLURALS.get(domain, domain)
    return f'unseen {values}' if question != domain else f'training {values}'


def _recognition_sentences(facts: Facts) -> list[str]:
    """Returns how often the strongest attacker is right, beside plain training and chance."""
    sentences = []
    for question, answer in _headline_answers(facts).items():
        levels = [
            f'by guessing: {format_percent(answer["chance"])}{_chance_reason(facts, question)}'
        ]
        plain = _leakage(facts.plain, question) if facts.plain else None
        if plain:
            levels.insert(0, f'after plain training: {format_percent(strongest_recall(plain))}')
        recall = f'recall {format_percent(strongest_recall(answer))} ({"; ".join(levels)})'
        domains = PLURALS.get(facts.domain, facts.domain)
        if question == facts.domain:
            sentences.append(
                f'Training {domains}: an attacker who has only the representation names the right '
                f'{facts.domain} with {recall}.'
            )
        else:
            sentences.append(
                f'Unseen {domains}, on which the model was never trained (the attacker has other '
                f'recordings of them): {recall}.'
            )
    return sentences


def _chance_reason(facts: Facts, question: str) -> str:
    """Returns why chance of unseen speakers differs from that of training speakers; '' if not."""
    answers = _headline_answers(facts)
    chance = answers[question]['chance']
    trained = answers.get(facts.domain)
    if question == facts.domain or not trained or np.isclose(chance, trained['chance']):
        return ''
    domains = PLURALS.get(facts.domain, facts.domain)
    count = 1 / chance
    about = '' if np.isclose(count, round(count)) else 'about '
    return f', because each fold has {about}{round(count)} unseen {domains}'


def leakage_scales(facts: Facts) -> list[Scale]:
    """Returns the recall of the strongest attacker, beside plain training and chance."""
    scales = []
    if facts.best is None:
        return scales
    for question, answer in _headline_answers(facts).items():
        marks = [('chance', answer['chance'])]
        plain = _leakage(facts.plain, question) if facts.plain else None
        levels = [format_interval(answer.get('ci95'))]
        if plain:
            marks.append(('plain training', strongest_recall(plain)))
            levels.append(f'plain training: {format_leakage(plain)}')
        levels.append(f'chance: {answer["chance"]:.3f}')
        scales.append(
            Scale(
                label=f'leakage of {_title(question)}, strongest attacker',
                text=format_leakage(answer),
                note=', '.join(filter(None, levels)),
                low=0.0,
                high=1.0,
                value=strongest_recall(answer),
                ci95=answer.get('ci95'),
                marks=marks,
            )
        )
    return scales
