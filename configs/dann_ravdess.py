"""RAVDESS, eight classes: a speaker adversary (lam 0.3) compared with plain training (lam 0).

    python -m data_pipelines.prepare ravdess --source PATH/TO/ravdess
    python -m jaxser.main --config=configs/dann_ravdess.py

Cost: 30 runs (5 speaker-disjoint folds, 3 seeds) as one program; 20 such runs took 7 minutes on 2
CPU cores (sweep_lam_ravdess).

Result, measured with --config.sweep.head_rate=1 (the default is now 10): mean of fold UARs 0.406 at
lam 0, 0.412 at lam 0.3.
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.corpora = ('ravdess',)
    config.sweep.lam = (0.0, 0.3)
    config.sweep.seed = (0, 1, 2)
    return config
