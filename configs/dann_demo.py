"""The demo: synthetic speech (eSpeak NG, 16 speakers, English and French), a speaker adversary beside plain training."""

from configs import base


def get_config():
    config = base.get_config()
    config.data.corpora = ('demo',)
    config.data.frames = 150
    config.protocol.folds = 4
    config.sweep.lam = (0.0, 0.3)
    return config
