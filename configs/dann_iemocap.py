"""IEMOCAP, four classes (5,531 utterances): a speaker adversary compared with plain training.

    python -m data_pipelines.prepare iemocap --source PATH/TO/IEMOCAP_full_release
    python -m jaxser.main --config=configs/dann_iemocap.py

Cost: 10 runs (5 folds, leave one session out) as one program.

Result: not measured, as IEMOCAP's audio was not available.

A re-implementation of Lian et al. 2019 (arXiv 1910.13807), audio only, with the network of Tu et
al. 2019 (arXiv 1903.09606). From the papers: four classes, a speaker head behind a gradient
reversal on a shared representation, TDNN + LSTM + statistics pooling. This project's choice: all
sizes, the schedule, the augmentation, the coefficient (0.3) and its ramp. The adversary's speakers
are the six of the three training sessions (K = 6). Dev is the next session, and chooses the epoch.
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.corpora = ('iemocap',)
    config.data.labels = 'four'
    config.protocol.name = 'leave_one_session_out'
    config.sweep.lam = (0.0, 0.3)
    return config
