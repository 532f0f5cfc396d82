"""TODO: jaxser.analysis.comparison."""

from typing import NamedTuple

import numpy as np

from jaxser.analysis import bootstrap, summary
from jaxser.analysis.finished import FinishedSweep
from jaxser.runs import format_value, method_name, varying_keys

SETTING_KEYS = (
    'domain',
    'per_class',
    'speakers',
    'confounded',
)  # and every key of the model; all else but the seed is chosen on dev


class ComparisonRow(NamedTuple):
    """A method under a setting."""

    setting: dict
    method: str
    coefficients: list[str]  # a coefficient per fold, in words
    dev_uar: float | None = None  # nothing where every coefficient diverged in a fold
    uar: bootstrap.Estimate | None = None
    sd: float | None = None
    gain: bootstrap.Estimate | None = None  # over plain training
    gain_over_joint: bootstrap.Estimate | None = (
        None  # over plain training with BatchNorm `joint`, where its arms are swept
    )
    leakage: dict | None = None  # by what is forgotten, (mean recall by the linear probe, chance)
    seconds: float | None = None


def comparison_rows(
    finished_sweep: FinishedSweep, every_coefficient: bool = False
) -> list[ComparisonRow]:
    """The table of a sweep; `every_coefficient` gives every coefficient a row of its own, and chooses none."""
    hypers = [r['hyper'] for r in finished_sweep.results['runs']]
    varied = varying_keys(hypers)
    settings = [k for k in varied if k in SETTING_KEYS or k.startswith('model.')]
    knobs = [k for k in varied if k not in (*settings, 'method', 'speaker_norm', 'seed')]
    groups: dict[tuple, dict] = {}
    for run, seconds in zip(finished_sweep.results['runs'], finished_sweep.run_seconds):
        h = run['hyper']
        method = method_name(finished_sweep.metadata['config'] | h)
        coefficient = tuple((k, h[k]) for k in knobs if h.get(k) is not None)
        candidates = groups.setdefault(
            (tuple(h.get(k) for k in settings), method, coefficient if every_coefficient else ()),
            {},
        )
        candidates.setdefault((h['fold'], coefficient), []).append(run | {'seconds': seconds})

    counts, made = {}, []
    for (setting, method, _), candidates in groups.items():
        chosen = _best_coefficients(candidates)
        if not all(chosen.values()):
            made.append((setting, method, chosen, [], None))
            continue
        runs = [run for _, some in chosen.values() for run in some]
        count = summary.run_confusions(
            finished_sweep.predictions, runs, varied, len(finished_sweep.results['classes'])
        )
        counts.setdefault((setting, method), count)
        made.append((setting, method, chosen, runs, count))

    out = []
    for setting, method, chosen, runs, count in made:
        if not runs:
            lost = [str(fold) for fold, some in chosen.items() if not some]
            out.append(
                ComparisonRow(
                    dict(zip(settings, setting)), method, [f'diverged in fold {", ".join(lost)}']
                )
            )
            continue
        seeds = bootstrap.uar_from_counts(count.sum(1))
        setting_of = dict(zip(settings, setting))
        joint = tuple('joint' if k == 'model.batch_norm' else v for k, v in zip(settings, setting))
        out.append(
            ComparisonRow(
                dict(zip(settings, setting)),
                method,
                [
                    ' '.join(f'{k} {format_value(v)}' for k, v in coefficient)
                    for coefficient, _ in chosen.values()
                ],
                float(np.mean([r['dev']['uar'] for r in runs])),
                bootstrap.uar_estimate(count),
                float(np.std(seeds, ddof=1)) if len(seeds) > 1 else None,
                _gain_over_plain(count, counts, setting),
                _gain_over_plain(count, counts, joint) if 'model.batch_norm' in settings else None,
                _mean_leakage(
                    runs,
                    (
                        setting_of.get('domain')
                        or finished_sweep.metadata['config'].get('domain', '')
                    ).split('+'),
                ),
                float(np.mean([r['seconds'] for r in runs])),
            )
        )
    order = list(dict.fromkeys(setting for setting, *_ in made))
    return sorted(
        out, key=lambda row: order.index(tuple(row.setting.values()))
    )  # the methods of a setting stand together


def _gain_over_plain(count: np.ndarray, counts: dict, setting: tuple) -> bootstrap.Estimate | None:
    """Over plain training of a setting; None where there is none, or this is it."""
    plain = next(
        (counts[setting, m] for m in summary.PLAIN_METHODS if (setting, m) in counts), None
    )
    return None if plain is None or plain is count else bootstrap.difference_estimate(count, plain)


def _mean_leakage(runs: list[dict], domains: list[str]) -> dict[str, tuple[float, float]] | None:
    """What the linear probe tells of each domain on average, and chance; None where not all were asked."""
    answers = [r.get('probe') or {} for r in runs]
    asked = [d for d in domains if all(d in a for a in answers)]
    mean = lambda d, k: float(np.mean([a[d][k] for a in answers]))  # noqa: E731
    return {d: (mean(d, 'linear'), mean(d, 'chance')) for d in asked} or None


def _best_coefficients(candidates: dict) -> dict[int, tuple]:
    """By fold, the coefficient with the best mean dev UAR and its runs, a seed each; () where every one diverged."""
    chosen: dict[int, tuple] = {}
    for (fold, coefficient), runs in candidates.items():
        value = min(r['dev']['uar'] if r['status'] == 'ok' else -1.0 for r in runs)
        value = value if value < 0 else np.mean([r['dev']['uar'] for r in runs])
        if fold not in chosen or value > chosen[fold][0]:
            chosen[fold] = value, coefficient, runs
    return {
        fold: tuple(rest) if value >= 0 else () for fold, (value, *rest) in sorted(chosen.items())
    }


def format_estimate_interval(estimate: bootstrap.Estimate | None, sign: str = '') -> str:
    return (
        f'[{estimate.ci95[0]:{sign}.3f}, {estimate.ci95[1]:{sign}.3f}]'
        if estimate and estimate.ci95
        else ''
    )


def comparison_verdict(rows_by_sweep: dict[str, list[ComparisonRow]]) -> str:
    """What the tables come to, in a few sentences, as it is."""
    gains = [(r.gain, r, name) for name, table in rows_by_sweep.items() for r in table if r.gain]
    if not gains:
        return 'No sweep has a row of plain training beside another: there is nothing to compare.'
    sure = [gain for gain, *_ in gains if gain.ci95]
    better, worse = [g for g in sure if g.ci95[0] > 0], [g for g in sure if g.ci95[1] < 0]
    corrected = sum(
        p < 1 - bootstrap.CONFIDENCE_LEVEL for p in bootstrap.holm_correction([g.p for g in sure])
    )
    said = (
        f'Of {len(gains)} comparisons with plain training, {len(better)} gain and {len(worse)} lose by an interval that excludes '
        f"0; by Holm's correction for the number of comparisons {corrected} of them stand; the others are undecided"
    )
    said += (
        f', {len(gains) - len(sure)} of them for want of speakers ({bootstrap.MIN_SPEAKERS} or more).'
        if len(sure) < len(gains)
        else '.'
    )

    def named(of: tuple, word: str) -> str:
        gain, row, name = of
        setting = ', '.join(
            f'{k} {format_value(v)}' for k, v in row.setting.items() if v is not None
        )
        method = f'{row.method} ({setting})' if setting else row.method
        return f'he largest {word} is that of {method} in {name}, {gain.value:+.3f} {format_estimate_interval(gain, "+")}'.rstrip()

    top, bottom = max(gains, key=lambda g: g[0].value), min(gains, key=lambda g: g[0].value)
    if ends := [named(top, 'gain')] * (top[0].value > 0) + [named(bottom, 'loss')] * (
        bottom[0].value < 0
    ):
        said += f' T{"; t".join(ends)}.'
    by_method: dict[str, list[float]] = {}
    for gain, row, _ in gains:
        by_method.setdefault(row.method, []).append(gain.value)
    means = {m: float(np.mean(v)) for m, v in by_method.items()}
    best, last = max(means, key=means.get), min(means, key=means.get)
    if best != last and any(len(v) > 1 for v in by_method.values()):
        said += f' Averaged over its rows {best} does best ({means[best]:+.3f}), {last} worst ({means[last]:+.3f}).'
    return said
