"""What became of an adversary: an alarm while it trains, and a verdict on every run when all is probed.

inert      the representation tells the domain nearly as well as plain training's does: nothing was forgotten
balanced   it tells less of it, and more than chance
winning    it hardly tells it
collapsed  the emotion went with it, or the run diverged
"""

from jaxser.analysis.summary import find_plain_reference

INERT_FRACTION, WINNING_FRACTION = (
    0.9,
    0.1,
)  # of what plain training's tells beyond chance: from here on inert, and up to here winning

COLLAPSED_FRACTION = (
    0.5  # of what plain training's dev UAR is above chance: with less, a run has collapsed
)


def domain_leakage(run: dict, domain: str, classifier: str = 'linear') -> float | None:
    """How much of a domain a run's representation tells, from 0 (chance) to 1; None where nobody asked."""
    answer = (run.get('probe') or {}).get(domain)
    return answer and (answer[classifier] - answer['chance']) / (1 - answer['chance'])


def adversary_verdict(run: dict, plain_run: dict | None, domain: str, chance: float) -> dict | None:
    """{'verdict', 'why'} of a run, beside plain training of the same seed and fold; None where the probe does not tell.

    `domain` is what is forgotten, `chance` the UAR of guessing emotions.
    """
    if run['status'] != 'ok':
        return {'verdict': 'collapsed', 'why': f'diverged at step {run["step"]}'}
    there = domain_leakage(run, domain)
    if (
        plain_run is None
        or plain_run['status'] != 'ok'
        or there is None
        or not (before := domain_leakage(plain_run, domain))
    ):
        return None
    uar, reference = run['dev']['uar'], plain_run['dev']['uar']
    tells = f'the representation tells {there:.2f} of the {domain} beyond chance, that of plain training {before:.2f}'
    if uar - chance < COLLAPSED_FRACTION * (reference - chance):
        return {
            'verdict': 'collapsed',
            'why': f'dev UAR {uar:.3f} beside {reference:.3f} of plain training; {tells}',
        }
    if head := (run.get('refit') or {}).get(domain):
        tells += f'; its own head, trained on over it, goes from a loss of {head["before"]:.2f} to {head["after"]:.2f}'
        tells += f' (guessing: {run["entropy"][domain]:.2f})'
    word = (
        'inert'
        if there >= INERT_FRACTION * before
        else 'winning'
        if there <= WINNING_FRACTION * before
        else 'balanced'
    )
    return {'verdict': word, 'why': tells}


def adversary_verdicts(runs: list[dict], config: dict) -> list[dict | None]:
    """What became of the adversary of every run, beside plain training of the same seed and fold; None for other methods."""
    alike: dict[tuple, list[dict]] = {}
    for run in runs:
        alike.setdefault((run['hyper']['seed'], run['hyper']['fold']), []).append(run)
    found = []
    for run in runs:
        h, others = run['hyper'], alike[run['hyper']['seed'], run['hyper']['fold']]
        domains = h.get('domain', config.get('domain', '')).split('+')
        adversary = h.get('lam') and (
            run['status'] != 'ok' or any(f'{d}_loss' in run['selected'] for d in domains)
        )
        at = find_plain_reference(h, [r['hyper'] for r in others], config) if adversary else None
        asked = [d for d in domains if d in (run.get('probe') or {})]
        chance = 1 / len(run['test']['confusion']) if run['status'] == 'ok' else 0.0
        given = adversary and adversary_verdict(
            run, None if at is None else others[at], asked[0] if asked else '', chance
        )
        found.append(given or None)
    return found
