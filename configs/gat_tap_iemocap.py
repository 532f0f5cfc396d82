r"""IEMOCAP, four classes (5,531 utterances): TAP (lam 0.01) compared with plain training (lam 0).

    python -m data_pipelines.prepare iemocap --source PATH/TO/IEMOCAP_full_release
    python -m jaxser.main --config=configs/gat_tap_iemocap.py

Cost: 10 runs (5 folds, leave one session out) as one program.

Result: not measured, as IEMOCAP's audio was not available.

TAP of Gat et al. 2022 (arXiv 2202.01252): the encoder is trained by gradient ascent on the speaker
loss of identity batches. A re-implementation on the TDNN-LSTM, not on HuBERT. From the paper: four
classes, 5 folds, 2 test speakers, selection of the epoch on validation data, the four steps, lam as
the step size of the ascent, and weighted accuracy, which is WA here. This project's defaults: the
network, AdamW and its schedule, the next session as validation data, and lam; the paper's 1e-3 is
small compared with AdamW's steps. Identity batches contain the six speakers of the three training
sessions (K = 6). To fill them from another corpus, without its emotions:

    python -m jaxser.main --config=configs/gat_tap_iemocap.py \
        --config.protocol.identity=ravdess --workdir=runs/tap_ravdess

To share speakers between training and test:

    python -m jaxser.main --config=configs/gat_tap_iemocap.py \
        --config.protocol.name=speaker_dependent --workdir=runs/tap_shared
"""

from configs import base


def get_config():
    config = base.get_config()
    config.method = 'speaker_norm'
    config.speaker_norm = 'tap'
    config.data.corpora = ('iemocap',)
    config.data.labels = 'four'
    config.protocol.name = 'leave_one_session_out'
    config.sweep.lam = (0.0, 0.01)
    return config
