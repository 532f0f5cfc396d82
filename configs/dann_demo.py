"""The demo: synthetic speech (eSpeak NG, 16 speakers, English and French), a speaker adversary beside plain training.

    python -m jaxser.main --config=configs/dann_demo.py

Two minutes on 2 CPU cores, from synthesis to page. Measured with it, on synthetic speech, UAR: 0.784 at lam 0, 0.760 at lam 0.3.
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.corpora = ('demo',)
    config.data.frames = 150
    config.protocol.folds = 4
    config.sweep.lam = (0.0, 0.3)
    return config
