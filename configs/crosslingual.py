r"""Four classes across languages: a language adversary compared with plain training.

    python -m jaxser.main --config=configs/crosslingual.py \
        --config.protocol.source=emodb --config.protocol.target=urdu --workdir=runs/emodb_urdu

Cost: 18 runs as two programs, 6 to 15 minutes on 2 busy CPU cores.

Result, measured with this command: mean UAR of three seeds for erm, and dann at lam 0.3 and 1,
with head_rate 1 (chance: 0.25):
EMO-DB -> RAVDESS 0.357 0.391 0.392; RAVDESS -> EMO-DB 0.253 0.414 0.324;
EMO-DB -> URDU 0.346 0.323 0.352; RAVDESS -> URDU 0.432 0.502 0.426.
Seeds differ by up to 0.14; docs/guide/choosing.md says what to be careful about.

A re-implementation of the setting of Cai et al. 2020 (arXiv 2012.11174): source and target share
every batch, and the emotion loss is that of the source. From the paper: binary arousal and valence
(--config.data.labels=arousal). This project's choice: four classes, the network, the schedule. The
target's speakers are divided into two halves; while one is tested, training adapts to the other
without its emotions. Dev speakers are source speakers.

`erm` uses the target only in its BatchNorm statistics, and equals `dann` at lam = 0 exactly. With
--config.protocol.adapt=none --config.sweep.method=erm "--config.sweep.lam=()"
"--config.sweep.head_rate=()" it does not use the target at all.
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.labels = 'four'
    config.domain = 'language'
    config.protocol.name = 'source_target'
    config.protocol.source = ('emodb',)
    config.protocol.target = ('ravdess',)
    config.protocol.adapt = 'others'
    config.protocol.folds = 2
    config.sweep.method = ('erm', 'dann')
    config.sweep.lam = (0.3, 1.0)
    config.sweep.head_rate = (1.0,)
    config.sweep.seed = (0, 1, 2)
    return config
