"""EMO-DB, four classes: TAP, in which the whole encoder moves up the speaker loss, beside lam = 0, which is
plain training; 5 speaker-disjoint folds.

A re-instantiation of TAP of Gat et al. 2022 (arXiv 2202.01252), over the TDNN-LSTM and not over HuBERT. The paper's: its four
steps, lam as the step of the ascent. This project's defaults: corpus, network, AdamW, schedule, lam; the paper's lam is
1e-3, which weighs nothing beside AdamW's steps.

    python -m data_pipelines.prepare emodb --source PATH/TO/emodb
    python -m jaxser.main --config=configs/gat_tap_emodb.py

30 runs as one program. Not measured yet.
Speakers of the identity batches: the six who train (K = 6). With another corpus' instead, of which no emotion is used:

    python -m data_pipelines.prepare ravdess --source PATH/TO/ravdess
    python -m jaxser.main --config=configs/gat_tap_emodb.py --config.protocol.identity=ravdess --workdir=runs/gat_tap_emodb_ravdess

Speakers shared between training and test (speaker-dependent): --config.protocol.name=speaker_dependent
"""

from configs import base


def get_config():
    config = base.get_config()
    config.method = 'speaker_norm'
    config.speaker_norm = 'tap'
    config.data.corpora = ('emodb',)
    config.data.labels = 'four'
    config.sweep.lam = (0.0, 0.1)
    config.sweep.seed = (0, 1, 2)
    return config
