"""The tasks of RESULTS.md: every method on the same speech, each with at most two coefficients, three seeds.

    python -m jaxser.main --config=configs/table.py:emodb

Speakers out: emodb (four classes), ravdess (eight), each in five folds; emodb_transductive, where the tested speakers are heard
without their emotions. Languages out: emodb_ravdess, ravdess_emodb, emodb+ravdess_urdu (four classes), and with
--config.data.labels= arousal or valence --config.train.epochs=N (half of the epochs below) --workdir=...; of the target's
speakers one half is tested while the other is heard without its emotions.

    python -m jaxser.compare runs/table_* --out RESULTS.md

chooses each method's coefficient on dev, fold by fold, and writes the table. The budget, fixed before any run of it: four hours
on two CPU cores for all of it. To fit, the epochs are fewer than elsewhere (168 to 261 steps a run, half of that for arousal
and valence), and a method has two coefficients: one that its paper or its public code names or that is our default, and one
further off.
"""

from configs import base

TASKS = {
    'emodb': 25,
    'emodb_transductive': 12,
    'ravdess': 9,
    'emodb_ravdess': 12,
    'ravdess_emodb': 6,
    'emodb+ravdess_urdu': 4,
}
LAM = {'dann': (0.3, 1.0), 'cdann': (0.3, 1.0), 'confusion': (0.3, 1.0)}
NORM = {'tap': (0.01, 0.1), 'snp': (0.1, 1.0)}  # of speaker_norm
ALIGN = {'coral': (1.0, 10.0), 'mmd': (0.3, 1.0), 'didan': (0.1, 1.0)}


def method_runs(lams_by_method: dict) -> tuple[dict, ...]:
    """A run of each method with each coefficient."""
    return tuple({'method': m, 'lam': lam} for m, lams in lams_by_method.items() for lam in lams)


def get_config(task: str = 'emodb'):
    if task not in TASKS:
        raise ValueError(f'configs/table.py has no task {task!r}; it has {", ".join(TASKS)}')
    config = base.get_config()
    source, _, target = task.removesuffix('_transductive').partition('_')
    config.data.corpora = tuple(source.split('+'))
    config.data.labels = 'native' if task == 'ravdess' else 'four'
    config.train.epochs = TASKS[task]
    perturbed = tuple(
        {'method': m, 'eps': eps} for m in ('crossgrad', 'labelgrad') for eps in (1.0, 2.5)
    )
    normed = tuple(
        r | {'speaker_norm': way}
        for way, lams in NORM.items()
        for r in method_runs({'speaker_norm': lams})
    )
    runs = ({'method': 'erm'}, {'method': 'leace'}, *perturbed, *method_runs(LAM), *normed)
    if target:
        config.domain = 'language'
        config.protocol.name = 'source_target'
        config.protocol.source, config.protocol.target = tuple(source.split('+')), (target,)
        config.protocol.adapt = 'others'
        config.protocol.folds = 2
        runs = (
            *(r for r in runs if r['method'] != 'cdann'),
            *method_runs(ALIGN),
        )  # the target has no emotion for cdann's heads
    elif task.endswith('_transductive'):
        config.protocol.adapt = 'transductive'
        runs = ({'method': 'erm'}, *method_runs({'dann': LAM['dann']}), *method_runs(ALIGN))
    config.sweep.runs = runs
    config.sweep.seed = (0, 1, 2)
    return config
