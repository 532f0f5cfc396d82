"""A configuration for tests that trains in seconds."""

from configs import base


def get_config():
    """Returns two coefficients on three folds, a small network and four epochs."""
    config = base.get_config()
    config.data.corpora = ('folder',)
    config.probe = False
    config.data.frames = 40
    config.data.batch = 8
    config.protocol.folds = 3
    config.model.width = 8
    config.model.hidden = 8
    config.model.dim = 8
    config.model.tdnn = ((3, 1, 2),)
    config.train.epochs = 4
    config.train.checkpoint_seconds = 0.0
    config.sweep.lam = (0.0, 0.5)
    config.sweep.lr = (1e-2,)
    return config
