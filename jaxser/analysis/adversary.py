"""What became of an adversary: an alarm while it trains, and a verdict on every run when all is probed.

inert      the representation tells the domain nearly as well as plain training's does: nothing was forgotten
balanced   it tells less of it, and more than chance
winning    it hardly tells it
collapsed  the emotion went with it, or the run diverged
"""


import numpy as np

from jaxser.analysis.summary import find_plain_reference
from jaxser.runs import run_label

INERT_FRACTION, WINNING_FRACTION = 0.9, 0.1  # of what plain training's tells beyond chance: from here on inert, and up to here winning

COLLAPSED_FRACTION = 0.5  # of what plain training's dev UAR is above chance: with less, a run has collapsed

MIN_GRADIENT_RATIO = 0.01  # of the task's gradient: an adversary's that is smaller moves nothing

GUESSING_FRACTION = 0.98  # of the loss of guessing

def domain_entropies(table, fold, domains: tuple[str, ...]) -> dict[str, float]:
    """Of each domain among the utterances by which it is forgotten, in nats: the loss of a head that knows their shares alone."""
    found = {}
    for d in domains:
        index_N = table.domain_N[d][fold.domain_rows]
        share_K = np.bincount(index_N[index_N >= 0]) / max((index_N >= 0).sum(), 1)
        found[d] = float(-(share_K[share_K > 0] * np.log(share_K[share_K > 0])).sum())
    return found

class AdversaryAlarms:
    """Says once of every run what is wrong with its adversary, when the coefficient has risen."""

    def __init__(self, runs: list[dict], entropy: list[dict[str, float]], classes: int, epochs: int, label_keys: list[str]):
        self.runs, self.entropy, self.classes, self.epochs, self.label_keys = runs, entropy, classes, epochs, label_keys
        self.reported: set[tuple[int, str]] = set()

    def __call__(self, epoch: int, rows: list[dict]) -> list[str]:
        """A sentence for every kind of alarm that is new, of the metrics of an epoch, a row a run."""
        kinds: dict[str, list[int]] = {}
        for n, row in enumerate(rows):
            if 2 * epoch <= self.epochs or not row.get('lam_p') or row.get('reversed_over_task') is None:
                continue
            for kind in self._problems(row, self.entropy[n]):
                if (n, kind) not in self.reported:
                    self.reported.add((n, kind))
                    kinds.setdefault(kind, []).append(n)
        named = lambda n: f'{run_label(self.runs[n], self.label_keys)} fold {self.runs[n]["fold"]}'  # noqa: E731
        return [
            f'Epoch {epoch}, {", ".join(map(named, of[:3]))}{f" and {len(of) - 3} more" if len(of) > 3 else ""}: {kind}.'
            for kind, of in kinds.items()
        ]

    def _problems(self, row: dict, entropy: dict[str, float]):
        if (row['emotion_loss'] or 0) > GUESSING_FRACTION * np.log(self.classes):
            yield 'the emotion loss is that of guessing; the adversary may be too strong (lower lam)'
        if row['reversed_over_task'] < MIN_GRADIENT_RATIO:
            yield f"the adversary's gradient is below {MIN_GRADIENT_RATIO:g} of the task's; it moves nothing (raise lam)"
        for d, nats in entropy.items():
            if (row.get(f'{d}_loss') or 0) > GUESSING_FRACTION * nats:
                yield f'the {d} head only guesses; whether the {d} is forgotten, the probe at the end says'

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
    if plain_run is None or plain_run['status'] != 'ok' or there is None or not (before := domain_leakage(plain_run, domain)):
        return None
    uar, reference = run['dev']['uar'], plain_run['dev']['uar']
    tells = f'the representation tells {there:.2f} of the {domain} beyond chance, that of plain training {before:.2f}'
    if uar - chance < COLLAPSED_FRACTION * (reference - chance):
        return {'verdict': 'collapsed', 'why': f'dev UAR {uar:.3f} beside {reference:.3f} of plain training; {tells}'}
    if head := (run.get('refit') or {}).get(domain):
        tells += f'; its own head, trained on over it, goes from a loss of {head["before"]:.2f} to {head["after"]:.2f}'
        tells += f' (guessing: {run["entropy"][domain]:.2f})'
    word = 'inert' if there >= INERT_FRACTION * before else 'winning' if there <= WINNING_FRACTION * before else 'balanced'
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
        adversary = h.get('lam') and (run['status'] != 'ok' or any(f'{d}_loss' in run['selected'] for d in domains))
        at = find_plain_reference(h, [r['hyper'] for r in others], config) if adversary else None
        asked = [d for d in domains if d in (run.get('probe') or {})]
        chance = 1 / len(run['test']['confusion']) if run['status'] == 'ok' else 0.0
        given = adversary and adversary_verdict(run, None if at is None else others[at], asked[0] if asked else '', chance)
        found.append(given or None)
    return found
