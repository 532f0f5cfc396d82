"""What the runs of a sweep come to: a row per combination of what was swept but the seed, and each beside plain training."""

from collections import Counter

import numpy as np

from jaxser.analysis import bootstrap, metrics
from jaxser.analysis.predictions import PredictionsByRun
from jaxser.runs import SHARED_KEYS, method_name, run_label, varying_keys

# Plain training: erm, and by other names the same (the tests say so); without any of these, that of a network with SNP's layer.
PLAIN_AT_ZERO_LAM = (
    'dann',
    'speaker_norm tap',
    'cdann',
    'confusion',
    'coral',
    'mmd',
    'speaker_norm snp',
)

PLAIN_METHODS = ('erm', *(f'{m}, lam = 0' for m in PLAIN_AT_ZERO_LAM))

RESULT_KEYS = (  # of a row, beside what was swept
    'seeds',
    'tested_speakers',
    'dev_uar',
    'uar',
    'uar_sd_seeds',
    'uar_ci95',
    'uar_folds',
    'wa',
    'f1',
    'delta_uar',
    'delta_ci95',
    'p',
    'p_holm',
    'confusion',
    'probe',
    'adversary',
)

AVERAGED_PROBE_KEYS = (
    'linear',
    'mlp',
    'chance',
    'classes',
    'eer',
    'speakers',
)  # of what a probe says of a run


def run_confusions(
    predicted: PredictionsByRun, runs: list[dict], label_keys: list[str], classes: int
) -> np.ndarray:
    """count_ZxSxCxC of runs, one for every seed and fold; `label_keys` is how they are named."""
    by_seed: dict[int, list] = {}
    for run in runs:
        h = run['hyper']
        by_seed.setdefault(h['seed'], []).append(predicted[run_label(h, label_keys), h['fold']])
    pooled = [
        [np.concatenate(column) for column in zip(*some)] for _, some in sorted(by_seed.items())
    ]
    return np.stack([bootstrap.speaker_confusions(*columns, classes) for columns in pooled])


def complete_seeds(runs: list[dict]) -> list[dict]:
    """Those of the seeds of which no run diverged."""
    lost = {r['hyper']['seed'] for r in runs if r['status'] != 'ok'}
    return [r for r in runs if r['hyper']['seed'] not in lost]


def summary_rows(
    runs: list[dict], predicted: PredictionsByRun, config: dict, classes: int
) -> list[dict]:
    """The summary of results.json; `config` is the configuration as config.json has it.

    `uar` pools the test parts of a seed's folds and is averaged over the seeds of which no fold diverged; `uar_folds` is the mean
    over folds. The difference is to plain training of the same network, subset and rates; `p_holm` is corrected for all
    differences of the sweep.
    """
    varied = varying_keys([r['hyper'] for r in runs])
    swept = [k for k in varied if k != 'seed']
    made, counts, tested, recalls = {}, {}, {}, {}
    for run in runs:
        made.setdefault(tuple(run['hyper'].get(k) for k in swept), []).append(run)
    for key, of in made.items():
        some = complete_seeds(of)
        row = (
            dict(zip(swept, key))
            | dict.fromkeys(RESULT_KEYS)
            | {'seeds': len({r['hyper']['seed'] for r in some})}
        )
        row['adversary'] = (
            dict(Counter(r['adversary']['verdict'] for r in of if r.get('adversary'))) or None
        )
        made[key] = row
        if not some:
            continue
        tested[key] = {r['hyper']['fold'] for r in some}
        counts[key] = count_ZxSxCxC = run_confusions(predicted, some, varied, classes)
        measured = [
            metrics.classification_metrics(count_SxCxC.sum(0)) for count_SxCxC in count_ZxSxCxC
        ]
        found = bootstrap.uar_estimate(count_ZxSxCxC)
        row |= {
            'tested_speakers': count_ZxSxCxC.shape[1],
            'dev_uar': float(np.mean([r['dev']['uar'] for r in some])),
            'uar': found.value,
            'uar_sd_seeds': float(np.std([m['uar'] for m in measured], ddof=1))
            if len(measured) > 1
            else None,
            'uar_ci95': found.ci95,
            'uar_folds': float(np.mean([r['test']['uar'] for r in some])),
            'wa': float(np.mean([m['wa'] for m in measured])),
            'f1': float(np.mean([m['f1'] for m in measured])),
            'confusion': count_ZxSxCxC.sum((0, 1)).tolist(),
        }
        if all(r.get('probe') for r in some):
            row['probe'], recalls[key] = _average_probe([r['probe'] for r in some])
    keys = [*made]
    for key, row in made.items():
        at = find_plain_reference(
            dict(zip(swept, key)), [dict(zip(swept, k)) for k in keys], config
        )
        plain = None if at is None else keys[at]
        if plain in counts and key in counts and tested[plain] == tested[key]:
            found = bootstrap.difference_estimate(counts[key], counts[plain])
            row |= {'delta_uar': found.value, 'delta_ci95': found.ci95, 'p': found.p}
            if (heard := recalls.get(key)) and heard.keys() == recalls.get(plain, {}).keys():
                row['probe']['speaker'] |= _leakage_difference(recalls[key], recalls[plain])
    compared = [row for row in made.values() if row['p'] is not None]
    for row, p in zip(compared, bootstrap.holm_correction([row['p'] for row in compared])):
        row['p_holm'] = p
    return list(made.values())


def _average_probe(answers: list[dict]) -> tuple[dict, dict[str, float]]:
    """What the probes of several runs say on average, and the mean recall of every speaker by the linear one."""
    mean = lambda of: float(np.mean(of)) if len(of) else None  # noqa: E731
    said = {}
    for name in dict.fromkeys(k for a in answers for k in a):
        some = [a[name] for a in answers if name in a]
        said[name] = {k: mean([x[k] for x in some]) for k in some[0] if k in AVERAGED_PROBE_KEYS}
        said[name]['input'] = {k: mean([x['input'][k] for x in some]) for k in some[0]['input']}
        said[name] |= (
            {'strangers': all(x['strangers'] for x in some)} if 'strangers' in some[0] else {}
        )
    heard: dict[str, list] = {}
    for speaker, recall in (
        (s, r)
        for a in answers
        if 'speaker' in a
        for s, r in a['speaker']['recall']['linear'].items()
    ):
        heard.setdefault(speaker, []).append(recall)
    recalls = {s: float(np.mean(r)) for s, r in sorted(heard.items())}
    if recalls:
        found = bootstrap.bootstrap_estimate(_recall_term(recalls))
        said['speaker'] |= {'ci95': found.ci95, 'heard': len(recalls)}
    return said, recalls


def _leakage_difference(recalls: dict[str, float], plain: dict[str, float]) -> dict:
    """Of the probe for speakers, by the same speakers."""
    found = bootstrap.bootstrap_estimate(_recall_term(recalls), (-1, *_recall_term(plain)[1:]))
    return {'delta': found.value, 'delta_ci95': found.ci95, 'p': found.p}


def _recall_term(recalls: dict[str, float]) -> tuple[int, np.ndarray, np.ndarray]:
    return 1, np.array([*recalls.values()])[:, None], np.ones((len(recalls), 1))


def find_plain_reference(setting: dict, others: list[dict], config: dict) -> int | None:
    """Which of `others` is the plain training that `setting` is to be compared with; None where none is, or `setting` are its own.

    Of one network, subset and rates; of its own lam = 0 and erm, that which is first in PLAIN, and the most alike.
    """
    if method_name(config | setting) in PLAIN_METHODS[:-1]:
        return None
    shared = [k for k in setting if k in SHARED_KEYS or k.startswith('model.')]
    some = []
    for n, other in enumerate(others):
        name = method_name(config | other)
        if name in PLAIN_METHODS and all(other.get(k) == setting[k] for k in shared):
            some.append(
                (PLAIN_METHODS.index(name), -sum(other.get(k) == setting[k] for k in setting), n)
            )
    found = min(some)[2] if some else None
    return None if found is None or others[found] == setting else found
