"""IEMOCAP, four classes (5,531 utterances): TAP (lam 0.01) beside plain training (lam 0), leave one session out.

TAP of Gat et al. 2022 (arXiv 2202.01252): the encoder climbs the speaker loss of identity batches. A re-instantiation
over the TDNN-LSTM, not over HuBERT. The paper's: four classes, 5 folds, 2 speakers to test, the epoch that validates best, the
four steps, lam as the step of the ascent, and weighted accuracy, which is WA here. This project's defaults: the network, AdamW
and its schedule, that the next session validates, and lam; the paper's 1e-3 hardly weighs beside the steps of AdamW.

    python -m data_pipelines.prepare iemocap --source PATH/TO/IEMOCAP_full_release
    python -m jaxser.main --config=configs/gat_tap_iemocap.py

10 runs as one program. Not measured: IEMOCAP's audio was not at hand.
Identity batches hold the six speakers of the three training sessions (K = 6). To fill them from another corpus, whose emotions
are not used:

    python -m jaxser.main --config=configs/gat_tap_iemocap.py --config.protocol.identity=ravdess --workdir=runs/tap_ravdess

To let training and test share their speakers:

    python -m jaxser.main --config=configs/gat_tap_iemocap.py --config.protocol.name=speaker_dependent --workdir=runs/tap_shared
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
