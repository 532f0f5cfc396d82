r"""EMO-DB, four classes: TAP (lam 0.01) compared with plain training (lam 0).

    python -m data_pipelines.prepare emodb --source PATH/TO/emodb
    python -m jaxser.main --config=configs/gat_tap_emodb.py

Cost: 30 runs (5 speaker-disjoint folds, 3 seeds) as one program, 23 minutes on one busy CPU core.

Result, measured on real speech (docs/results/log_mel.md): UAR 0.798 at lam 0 and 0.790 at 0.01,
a difference of -0.008 [-0.044, +0.027] over 10 speakers.

TAP of Gat et al. 2022 (arXiv 2202.01252): the encoder is trained by gradient ascent on the speaker
loss of identity batches. A re-implementation on the TDNN-LSTM, not on HuBERT. From the paper: the
four steps, and lam as the step size of the ascent. This project's defaults: the corpus, the
network, AdamW and its schedule, and lam; the paper's 1e-3 is small compared with AdamW's steps.
Identity batches contain the six training speakers (K = 6). To fill them from another corpus,
without its emotions:

    python -m jaxser.main --config=configs/gat_tap_emodb.py \
        --config.protocol.identity=ravdess --workdir=runs/tap_emodb_ravdess

To share speakers between training and test:

    python -m jaxser.main --config=configs/gat_tap_emodb.py \
        --config.protocol.name=speaker_dependent --workdir=runs/tap_shared
"""

from configs import base


def get_config():
    config = base.get_config()
    config.method = 'speaker_norm'
    config.speaker_norm = 'tap'
    config.data.corpora = ('emodb',)
    config.data.labels = 'four'
    config.sweep.lam = (0.0, 0.01)
    config.sweep.seed = (0, 1, 2)
    return config
