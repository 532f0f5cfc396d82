"""Judges the adversary of every run by the leakage of its representation.

Leakage is measured by the linear probe, from 0 (chance) to 1. It is compared with the leakage of
plain training with the same seed and fold. The verdicts:

inert      leaks nearly as much as plain training does, or more: nothing was forgotten
balanced   leaks less than plain training, and more than chance
winning    hardly leaks
collapsed  the emotion was forgotten too, or the run diverged
"""

from jaxser.analysis.summary import collect, find_plain_reference_index

INERT_FRACTION = 0.9  # of the leakage of plain training; from here on a run is inert
WINNING_FRACTION = 0.1  # of the leakage of plain training; up to here a run is winning
COLLAPSED_FRACTION = 0.5  # of plain training's dev UAR above chance; below it a run has collapsed


def domain_leakage(run: dict, domain: str, classifier: str = 'linear') -> float | None:
    """Returns leakage of a domain (1: always recognised, 0: chance), or None if not probed."""
    answer = (run.get('probe') or {}).get(domain)
    if not answer:
        return None
    return (answer[classifier] - answer['chance']) / (1 - answer['chance'])


def adversary_verdict(run: dict, plain_run: dict | None, domain: str, chance: float) -> dict | None:
    """Returns {'verdict', 'why'} of a run, or None where the probe does not allow one.

    `plain_run` is plain training with the same seed and fold, `domain` is the domain to forget, and
    `chance` is the UAR of guessing emotions.
    """
    if run['status'] != 'ok':
        return {'verdict': 'collapsed', 'why': f'diverged at step {run["step"]}'}
    if plain_run is None or plain_run['status'] != 'ok':
        return None
    leakage = domain_leakage(run, domain)
    plain_leakage = domain_leakage(plain_run, domain)
    if leakage is None or not plain_leakage:
        return None
    why = (
        f'leakage of the {domain} {leakage:.2f}, of plain training {plain_leakage:.2f} '
        '(0: chance, 1: always recognised)'
    )
    uar = run['dev']['uar']
    plain_uar = plain_run['dev']['uar']
    if uar - chance < COLLAPSED_FRACTION * (plain_uar - chance):
        why = f'dev UAR {uar:.3f}, of plain training {plain_uar:.3f}; {why}'
        return {'verdict': 'collapsed', 'why': why}
    return {
        'verdict': _leakage_verdict(leakage, plain_leakage),
        'why': why + _head_note(run, domain),
    }


def _leakage_verdict(leakage: float, plain_leakage: float) -> str:
    if leakage >= INERT_FRACTION * plain_leakage:
        return 'inert'
    if leakage <= WINNING_FRACTION * plain_leakage:
        return 'winning'
    return 'balanced'


def _head_note(run: dict, domain: str) -> str:
    """Returns the effect of more training on the adversary's own head; '' if not measured."""
    loss = (run.get('refit') or {}).get(domain)
    if not loss:
        return ''
    return (
        '; more training of its head on the frozen representation changes the loss from '
        f'{loss["before"]:.2f} to {loss["after"]:.2f} (guessing: {run["entropy"][domain]:.2f})'
    )


def adversary_verdicts(runs: list[dict], config: dict) -> list[dict | None]:
    """Returns the verdict on each run; None for methods that have no adversary."""
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
    domains = hyper.get('domain', config.get('domain', '')).split('+')
    if not _has_adversary(run, domains):
        return None
    reference = find_plain_reference_index(hyper, collect(others, 'hyper'), config)
    plain_run = None if reference is None else others[reference]
    chance = 1 / len(run['test']['confusion']) if run['status'] == 'ok' else 0.0
    return adversary_verdict(run, plain_run, _first_probed(run, domains), chance)


def _first_probed(run: dict, domains: list[str]) -> str:
    """Returns the first domain that was probed in a run; '' if there is none."""
    probe = run.get('probe') or {}
    for domain in domains:
        if domain in probe:
            return domain
    return ''


def _has_adversary(run: dict, domains: list[str]) -> bool:
    """Whether a run has a coefficient above 0 and, unless it diverged, the loss of an adversary."""
    if not run['hyper'].get('lam'):
        return False
    return run['status'] != 'ok' or any(f'{domain}_loss' in run['selected'] for domain in domains)
