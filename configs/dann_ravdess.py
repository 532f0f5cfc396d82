"""RAVDESS, eight classes: a speaker adversary (lam 0.3) beside plain training (lam 0), 5 speaker-disjoint folds, 3 seeds."""

from configs import base


def get_config():
    config = base.get_config()
    config.data.corpora = ('ravdess',)
    config.sweep.lam = (0.0, 0.3)
    config.sweep.seed = (0, 1, 2)
    return config
