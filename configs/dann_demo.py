"""The demo corpus (synthetic speech): a speaker adversary compared with plain training.

    python -m jaxser.main --config=configs/dann_demo.py

Cost: two minutes on 2 CPU cores, from synthesis to the report.

Result, measured with this command on synthetic speech: UAR 0.784 at lam 0, 0.760 at lam 0.3.

eSpeak NG speaks with 16 voices in English and French.
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.corpora = ('demo',)
    config.data.frames = 150
    config.protocol.folds = 4
    config.sweep.lam = (0.0, 0.3)
    return config
