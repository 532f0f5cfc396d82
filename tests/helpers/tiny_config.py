"""A configuration for tests: seconds to train."""

from configs import base


def get_config():
    config = base.get_config()
    config.data.corpora = ('folder',)
    config.probe = False
    config.data.frames = 40
    config.data.batch = 8
    config.protocol.folds = 3
    config.model.width = config.model.hidden = config.model.dim = 8
    config.model.tdnn = ((3, 1, 2),)
    config.train.epochs = 4
    config.train.checkpoint_seconds = 0.0
    config.sweep.lam = (0.0, 0.5)
    config.sweep.lr = (1e-2,)
    return config
