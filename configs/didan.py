"""Zhao et al. 2023 (arXiv 2302.08921), DIDAN: from one corpus to another, five or four shared emotions, a CNN that regresses.

    python -m jaxser.main --config=configs/didan.py:emodb_enterface

and likewise enterface_emodb, emodb_casia, casia_emodb, enterface_casia, casia_enterface: the paper's six ordered tasks; and, of
corpora at hand, emodb_ravdess, ravdess_emodb, emodb_urdu, ravdess_urdu (four classes).

A re-instantiation. The paper's: a CNN and regression to one-hot labels, implicit distribution alignment in place of MMD, the six
tasks; its audio of the target is heard without labels, all of it, so that this is transductive, and called so. Ours: log-mel
features, the CNN's size, ISTA within the step, the coefficients, dev (a fifth of the source's speakers, which chooses the epoch).
lam = 0 is the regression alone; erm and mmd stand beside it. eNTERFACE: of 1,293, 1,287 and 1,263 clips `prepare` takes any and
says which.

42 runs as three programs. Measured on real speech (RESULTS.md has intervals), 39 minutes each on one busy CPU core:

    python -m jaxser.main --config=configs/didan.py:emodb_ravdess --config.train.epochs=15
    python -m jaxser.main --config=configs/didan.py:ravdess_emodb --config.train.epochs=8

UAR of four classes, there and back: erm 0.339, 0.263; the regression alone 0.276, 0.326; didan 0.279, 0.250; mmd 0.395,
0.396. As it stands here DIDAN does not transfer, and MMD on the same network does. eNTERFACE and CASIA were not at hand.
"""

from configs import base

PAPER = (
    'emodb_enterface',
    'emodb_casia',
    'enterface_casia',
)  # each both ways; the names of the emotions that the two share, too
BOTH = (*PAPER, *('_'.join(reversed(pair.split('_'))) for pair in PAPER))
TASKS = (*BOTH, 'emodb_ravdess', 'ravdess_emodb', 'emodb_urdu', 'ravdess_urdu')


def get_config(task: str = 'emodb_enterface'):
    if task not in TASKS:
        raise ValueError(f'configs/didan.py has no task {task!r}; it has {", ".join(TASKS)}')
    config = base.get_config()
    source, target = task.split('_')
    config.data.labels = next((p for p in PAPER if {source, target} == {*p.split('_')}), 'four')
    config.protocol.name = 'source_target'
    config.protocol.source, config.protocol.target = (source,), (target,)
    config.protocol.adapt = 'transductive'
    config.model.name = 'cnn'
    didan = tuple(
        {'method': 'didan', 'lam': lam, 'tau': tau}
        for lam in (0.1, 1.0, 10.0)
        for tau in (0.1, 0.3, 0.5)
    )
    mmd = tuple({'method': 'mmd', 'lam': lam} for lam in (0.1, 1.0, 10.0))
    config.sweep.runs = ({'method': 'erm'}, {'method': 'didan', 'lam': 0.0}, *mmd, *didan)
    config.sweep.seed = (0, 1, 2)
    return config
