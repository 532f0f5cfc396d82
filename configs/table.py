"""Tasks of docs/results/log_mel.md: every method on the same speech, at most two coefficients.

    python -m jaxser.main --config=configs/table.py:emodb

Unseen speakers, five folds each: emodb (four classes), ravdess (eight); emodb_transductive, where
training uses the tested speakers' audio without its emotions. Unseen languages: emodb_ravdess,
ravdess_emodb, emodb+ravdess_urdu (four classes), and with --config.data.labels= arousal or valence
--config.train.epochs=N (half of the epochs below) --workdir=...; one half of the target's speakers
is tested while training adapts to the other half without its emotions.

    python -m jaxser.compare runs/table_* --out docs/results/log_mel.md

chooses each method's coefficient on dev, fold by fold, and writes the table.

Cost: the budget, fixed before any run, is four hours on two CPU cores for all tasks. To fit it, the
epochs are fewer than elsewhere (168 to 261 steps a run, half of that for arousal and valence),
there are three seeds, and a method has two coefficients: one named in its paper or its public code,
or our default, and one other. dann and cdann have what was our default when this was measured (lam
0.3, head_rate 1).

Result: docs/results/log_mel.md.
"""

from configs import base

# The epochs of each task.
TASKS = {
    'emodb': 25,
    'emodb_transductive': 12,
    'ravdess': 9,
    'emodb_ravdess': 12,
    'ravdess_emodb': 6,
    'emodb+ravdess_urdu': 4,
}

# The coefficients of each method.
DANN_LAM = (0.3, 1.0)
CDANN_LAM = (0.3, 1.0)
ADVERSARY_HEAD_RATE = 1.0  # of dann and cdann
CONFUSION_LAM = (0.3, 1.0)
TAP_LAM = (0.01, 0.1)
SNP_LAM = (0.1, 1.0)
PERTURBATION_EPS = (1.0, 2.5)
CORAL_LAM = (1.0, 10.0)
MMD_LAM = (0.3, 1.0)
DIDAN_LAM = (0.1, 1.0)


def method_runs(method: str, lams: tuple[float, ...], **others) -> list[dict]:
    """Returns a run of the method with each coefficient."""
    return [{'method': method, 'lam': lam, **others} for lam in lams]


def perturbation_runs() -> list[dict]:
    """Returns the runs of crossgrad and its control."""
    runs = []
    for method in ('crossgrad', 'labelgrad'):
        for eps in PERTURBATION_EPS:
            runs.append({'method': method, 'eps': eps})
    return runs


def speaker_norm_runs() -> list[dict]:
    """Returns the runs of TAP and SNP."""
    tap = method_runs('speaker_norm', TAP_LAM, speaker_norm='tap')
    snp = method_runs('speaker_norm', SNP_LAM, speaker_norm='snp')
    return tap + snp


def alignment_runs() -> list[dict]:
    """Returns the runs of the methods that align source and target."""
    coral = method_runs('coral', CORAL_LAM)
    mmd = method_runs('mmd', MMD_LAM)
    return coral + mmd + method_runs('didan', DIDAN_LAM)


def get_config(task: str = 'emodb'):
    """Returns the configuration of a task of `TASKS`."""
    if task not in TASKS:
        raise ValueError(f'configs/table.py has no task {task!r}; it has {", ".join(TASKS)}')
    config = base.get_config()
    source, _, target = task.removesuffix('_transductive').partition('_')
    config.data.corpora = tuple(source.split('+'))
    config.data.labels = 'native' if task == 'ravdess' else 'four'
    config.train.epochs = TASKS[task]
    dann = method_runs('dann', DANN_LAM, head_rate=ADVERSARY_HEAD_RATE)
    cdann = method_runs('cdann', CDANN_LAM, head_rate=ADVERSARY_HEAD_RATE)
    confusion = method_runs('confusion', CONFUSION_LAM)
    without_adversary = [{'method': 'erm'}, {'method': 'leace'}, *perturbation_runs()]
    if target:
        config.domain = 'language'
        config.protocol.name = 'source_target'
        config.protocol.source = tuple(source.split('+'))
        config.protocol.target = (target,)
        config.protocol.adapt = 'others'
        config.protocol.folds = 2
        # Without cdann: it has a head for each emotion, and the target's emotions are not used.
        runs = [*without_adversary, *dann, *confusion, *speaker_norm_runs(), *alignment_runs()]
    elif task.endswith('_transductive'):
        config.protocol.adapt = 'transductive'
        runs = [{'method': 'erm'}, *dann, *alignment_runs()]
    else:
        runs = [*without_adversary, *dann, *cdann, *confusion, *speaker_norm_runs()]
    config.sweep.runs = tuple(runs)
    config.sweep.seed = (0, 1, 2)
    return config
