"""The demo: synthetic speech (eSpeak NG, 16 speakers, English and French), a speaker adversary beside plain training."""

from configs import base


def get_config():
    config = base.get_config()
    config.data.corpora = ('demo',)
    config.data.frames = 150
    config.protocol.folds = 4
    config.model.width = config.model.hidden = config.model.dim = 64
    config.model.tdnn = ((5, 1, 3), (3, 1, 1), (3, 1, 1))
    config.sweep.lam = (0.0, 0.3)
    return config
