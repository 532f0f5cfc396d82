"""Tu et al. 2019 (arXiv 1903.09606), DAT: IEMOCAP, four classes, a speaker adversary.

    python -m data_pipelines.prepare iemocap --source PATH/TO/IEMOCAP_full_release
    python -m jaxser.main --config=configs/tu_dat_iemocap.py

Cost: 60 runs as one program; an epoch costs four times as much as one of dann_iemocap.py.

Result: not measured, as IEMOCAP's audio was not available. On real speech that was available, with
the network of the other configurations, configs/table.py:emodb (docs/results/log_mel.md), `dann`
differs from plain training by -0.002 [-0.036, +0.033] over 10 speakers.

A re-implementation. From the paper: the three parts of the network (TDNN + LSTM + statistics
pooling), both classifiers on the shared representation, five folds. This project's choice: all
else. Widths, dropout, rate and coefficients are those that DAT and CGT share here; features are
normalised by utterance, and no stride skips frames.
"""

from configs import dann_iemocap


def get_config():
    config = dann_iemocap.get_config()
    config.data.normalise = 'utterance'
    config.model.tdnn = ((5, 1, 1), (3, 2, 1), (3, 3, 1))
    config.model.width = config.model.hidden = config.model.dim = 128
    config.sweep.lam = (0.0, 0.1, 0.3, 1.0)
    config.sweep.dropout = (0.3,)
    config.sweep.lr = (1e-3,)
    config.sweep.seed = (0, 1, 2)
    return config
