"""Judges how well every run has forgotten its domain, by the leakage of its representation.

Leakage is the recall of the strongest attacker, on a scale from 0 (chance) to 1. It is compared
with that of plain training with the same seed and fold. For speakers, there is the leakage of
training speakers and that of speakers that training has not seen. The verdicts:

inert      leaks nearly as much as plain training does, or more: nothing was forgotten
balanced   leaks less than plain training, and more than chance
winning    hardly leaks, neither training speakers nor unseen ones, and no attacker is below chance
collapsed  the emotion (or the ratings) was forgotten too, or the run diverged
undecided  plain training does not leak, so that there is nothing to compare with
"""

from jaxser.analysis.leakage import (
    ATTACKERS,
    is_centred,
    question_title,
    relative_leakage,
    strongest_attacker,
    unseen_question,
)
from jaxser.analysis.measure import UAR, Measure, main_measure
from jaxser.analysis.summary import collect, find_plain_reference_index

INERT_FRACTION = 0.9  # of the leakage of plain training; from here on a run is inert
WINNING_FRACTION = 0.1  # of the leakage of plain training; up to here a run is winning
HIGH_LAM = 0.3  # from above it, an inert run suggests a lower coefficient
# Of plain training's dev UAR (or CCC) above chance; below it a run has collapsed.
COLLAPSED_FRACTION = 0.5

# Methods that forget a domain without a head that is trained against the encoder.
METHODS_WITHOUT_HEAD = ('similarity', 'projection', 'leace')

# What to try after a collapsed run: with little training, a coefficient has much effect early.
COLLAPSED_HINT = 'train for more epochs, or lower lam'

# What to try after an inert run, by method.
SIMILARITY_HINT = 'config.method = similarity, which has no head'
INERT_HINTS = {
    'similarity': 'try a larger lam',
    'projection': f'it removes mean directions of the input only; try {SIMILARITY_HINT}',
    'leace': f'it removes what a linear classifier finds, and no more; try {SIMILARITY_HINT}',
}


def adversary_verdict(
    run: dict, plain_run: dict | None, domain: str, chance: float, measure: Measure = UAR
) -> dict | None:
    """Returns {'verdict', 'why'} of a run, or None where the probe does not allow one.

    `plain_run` is plain training with the same seed and fold, `domain` is the domain to forget, and
    `chance` is the value of `measure`, the main one, that guessing reaches.
    """
    if run['status'] != 'ok':
        return {'verdict': 'collapsed', 'why': f'diverged at step {run["step"]}'}
    if plain_run is None or plain_run['status'] != 'ok':
        return None
    answer, plain_answer = _answer(run, domain), _answer(plain_run, domain)
    if answer is None or plain_answer is None:
        return None
    unseen = unseen_question(domain)
    unseen_answer, unseen_plain_answer = _answer(run, unseen), _answer(plain_run, unseen)
    scale = '0: chance, 1: always right; '
    reasons = [_comparison(domain, answer, plain_answer, scale), _test_data_note(answer)]
    if unseen_answer and unseen_plain_answer:
        reasons.append(_comparison(unseen, unseen_answer, unseen_plain_answer))
    reasons += _below_chance_notes({domain: answer, unseen: unseen_answer})
    value = run['dev'][measure.key]
    plain_value = plain_run['dev'][measure.key]
    if value - chance < COLLAPSED_FRACTION * (plain_value - chance):
        figures = f'{value:.3f}, of plain training {plain_value:.3f}'
        reasons.insert(0, f'dev {measure.title} {figures}')
        return {'verdict': 'collapsed', 'why': '; '.join(reasons)}
    if relative_leakage(plain_answer) <= 0:
        return {
            'verdict': 'undecided',
            'why': f'plain training does not leak here: {"; ".join(reasons)}',
        }
    verdict = _leakage_verdict(answer, plain_answer)
    if verdict == 'winning':
        obstacle = _winning_obstacle(domain, answer, unseen_answer, unseen_plain_answer)
        if obstacle:
            verdict = 'balanced'
            reasons.append(obstacle)
    reasons += _head_notes(run, domain)
    return {'verdict': verdict, 'why': '; '.join(reasons)}


def _answer(run: dict, question: str) -> dict | None:
    """Returns the probe's answer to a question; None if it was not asked."""
    return (run.get('probe') or {}).get(question)


def _title(question: str) -> str:
    return question_title(question).replace('_', ' ')


def _comparison(question: str, answer: dict, plain_answer: dict, scale: str = '') -> str:
    """Returns the leakage of a run and of plain training, each with its strongest attacker."""
    attacker, recall = strongest_attacker(answer)
    plain_attacker, _ = strongest_attacker(plain_answer)
    return (
        f'normalised leakage of {_title(question)} {relative_leakage(answer):.2f} '
        f'({scale}{ATTACKERS[attacker]} attacker, recall {recall:.2f}), '
        f'of plain training {relative_leakage(plain_answer):.2f} ({ATTACKERS[plain_attacker]})'
    )


def _test_data_note(answer: dict) -> str:
    """Returns what the attackers of training speakers were tested on."""
    if answer.get('withheld'):
        return 'on withheld utterances'
    if answer.get('strangers'):
        return 'on utterances of unseen speakers'
    return 'on utterances seen in training: biased low'


def _below_chance_notes(answers: dict[str, dict | None]) -> list[str]:
    notes = []
    for question, answer in answers.items():
        if answer and answer.get('below_chance'):
            notes.append(
                f'an attacker of {_title(question)} is significantly below chance, which is a leak'
            )
    return notes


def _leakage_verdict(answer: dict, plain_answer: dict) -> str:
    leakage, plain_leakage = relative_leakage(answer), relative_leakage(plain_answer)
    if leakage >= INERT_FRACTION * plain_leakage:
        return 'inert'
    if leakage <= WINNING_FRACTION * plain_leakage:
        return 'winning'
    return 'balanced'


def _winning_obstacle(
    domain: str, answer: dict, unseen_answer: dict | None, unseen_plain_answer: dict | None
) -> str:
    """Returns why a run that hardly leaks training speakers is not winning; '' if it is."""
    if answer.get('below_chance') or (unseen_answer or {}).get('below_chance'):
        return 'not winning, because recall below chance is a leak'
    if domain != 'speaker':
        return ''
    if unseen_answer is None or unseen_plain_answer is None:
        return 'not winning, because leakage of unseen speakers was not measured'
    limit = WINNING_FRACTION * max(relative_leakage(unseen_plain_answer), 0)
    if relative_leakage(unseen_answer) > limit:
        return 'not winning, because unseen speakers leak'
    return ''


def _head_notes(run: dict, domain: str) -> list[str]:
    """Returns the effect of more training on the adversary's own head; [] if not measured."""
    loss = (run.get('refit') or {}).get(domain)
    if not loss:
        return []
    return [
        'more training of its head on the frozen representation changes the loss from '
        f'{loss["before"]:.2f} to {loss["after"]:.2f} (guessing: {run["entropy"][domain]:.2f})'
    ]


def inert_hint(hyper: dict, method: str) -> str:
    """Returns what to try after an inert run of a method with these hyper-parameters."""
    if method in INERT_HINTS:
        return INERT_HINTS[method]
    lam = 'a lower lam' if (hyper.get('lam') or 0) > HIGH_LAM else 'another lam'
    head_rate = ', a higher config.sweep.head_rate,' if 'head_rate' in hyper else ''
    return f'try {lam}{head_rate} or {SIMILARITY_HINT}'


def adversary_verdicts(runs: list[dict], config: dict) -> list[dict | None]:
    """Returns {'verdict', 'why'} of each run, with 'next' (what to try) where it is inert.

    None for methods that forget nothing, and for a coefficient of 0 or below, which keeps the
    domain.
    """
    same_seed_and_fold: dict[tuple, list[dict]] = {}
    for run in runs:
        key = (run['hyper']['seed'], run['hyper']['fold'])
        same_seed_and_fold.setdefault(key, []).append(run)
    verdicts = []
    for run in runs:
        others = same_seed_and_fold[run['hyper']['seed'], run['hyper']['fold']]
        verdicts.append(_verdict_among(run, others, config))
    return verdicts


def _verdict_among(run: dict, others: list[dict], config: dict) -> dict | None:
    """Returns the verdict on a run, which is compared with plain training among `others`."""
    hyper = run['hyper']
    method = hyper.get('method', config['method'])
    domains = hyper.get('domain', config.get('domain', '')).split('+')
    if not _forgets(run, method, domains):
        return None
    reference = find_plain_reference_index(hyper, collect(others, 'hyper'), config)
    plain_run = None if reference is None else others[reference]
    measure = main_measure(config)
    chance = measure.chance
    if chance is None:
        chance = 1 / len(run['test']['confusion']) if run['status'] == 'ok' else 0.0
    domain = _first_probed(run, domains)
    verdict = adversary_verdict(run, plain_run, domain, chance, measure)
    if verdict and verdict['verdict'] == 'winning' and _is_any_centred(run, domain, config):
        verdict['verdict'] = 'balanced'
        verdict['why'] += '; not winning, because normalisation by speaker makes leakage too low'
    if verdict and verdict['verdict'] == 'inert':
        verdict['next'] = inert_hint(hyper, method)
    return verdict


def _is_any_centred(run: dict, domain: str, config: dict) -> bool:
    """Whether leakage of training or of unseen speakers is too low by normalisation."""
    if domain != 'speaker':
        return False
    answers = [_answer(run, domain), _answer(run, unseen_question(domain))]
    return any(answer and is_centred(answer, config) for answer in answers)


def _first_probed(run: dict, domains: list[str]) -> str:
    """Returns the first domain that was probed in a run; '' if there is none."""
    probe = run.get('probe') or {}
    for domain in domains:
        if domain in probe:
            return domain
    return ''


def _forgets(run: dict, method: str, domains: list[str]) -> bool:
    """Whether a run forgets: by a coefficient above 0 and, unless it diverged, an adversary's loss.

    Methods without a head have no such loss, and some of them no coefficient.
    """
    lam = run['hyper'].get('lam')
    if method in METHODS_WITHOUT_HEAD:
        return lam is None or lam > 0
    if not lam or lam < 0:
        return False
    return run['status'] != 'ok' or any(f'{domain}_loss' in run['selected'] for domain in domains)
