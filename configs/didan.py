"""Zhao et al. 2023 (arXiv 2302.08921), DIDAN: a CNN from one corpus to another, by regression.

    python -m jaxser.main --config=configs/didan.py:emodb_enterface

Tasks, as source_target: the paper's six, emodb_enterface, enterface_emodb, emodb_casia,
casia_emodb, enterface_casia and casia_enterface (five or four shared emotions); and emodb_ravdess,
ravdess_emodb, emodb_urdu and ravdess_urdu (four classes).

Cost: 42 runs as three programs. Measured on real speech (docs/results/log_mel.md has
intervals), 39 minutes each on one busy CPU core:

    python -m jaxser.main --config=configs/didan.py:emodb_ravdess --config.train.epochs=15
    python -m jaxser.main --config=configs/didan.py:ravdess_emodb --config.train.epochs=8

Result: UAR of four classes for the two tasks: erm 0.339, 0.263; regression alone 0.276, 0.326;
didan 0.279, 0.250; mmd 0.395, 0.396. This DIDAN does not transfer; MMD on the same network does.
eNTERFACE and CASIA were not available.

A re-implementation. From the paper: a CNN and regression to one-hot labels, implicit distribution
alignment in place of MMD, the six tasks, and transductive training, which uses all of the target's
audio without labels. This project's choice: log-mel features, the CNN's size, ISTA within the step,
the coefficients, dev (a fifth of the source's speakers, which chooses the epoch). lam = 0 is the
regression alone; erm and mmd are trained too. There are releases of eNTERFACE with 1,293, 1,287 and
1,263 clips. `prepare` accepts all three, and says which it found.
"""

from configs import base

# The tasks, source_target, and the label space of each.
TASKS = {
    'emodb_enterface': 'emodb_enterface',
    'enterface_emodb': 'emodb_enterface',
    'emodb_casia': 'emodb_casia',
    'casia_emodb': 'emodb_casia',
    'enterface_casia': 'enterface_casia',
    'casia_enterface': 'enterface_casia',
    'emodb_ravdess': 'four',
    'ravdess_emodb': 'four',
    'emodb_urdu': 'four',
    'ravdess_urdu': 'four',
}
LAM = (0.1, 1.0, 10.0)
TAU = (0.1, 0.3, 0.5)


def get_config(task: str = 'emodb_enterface'):
    if task not in TASKS:
        raise ValueError(f'configs/didan.py has no task {task!r}; it has {", ".join(TASKS)}')
    config = base.get_config()
    source, target = task.split('_')
    config.data.labels = TASKS[task]
    config.protocol.name = 'source_target'
    config.protocol.source = (source,)
    config.protocol.target = (target,)
    config.protocol.adapt = 'transductive'
    config.model.name = 'cnn'
    runs = [{'method': 'erm'}, {'method': 'didan', 'lam': 0.0}]
    for lam in LAM:
        runs.append({'method': 'mmd', 'lam': lam})
    for lam in LAM:
        for tau in TAU:
            runs.append({'method': 'didan', 'lam': lam, 'tau': tau})
    config.sweep.runs = tuple(runs)
    config.sweep.seed = (0, 1, 2)
    return config
