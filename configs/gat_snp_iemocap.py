"""IEMOCAP, four classes (5,531 utterances): SNP (lam 0.1) beside lam 0, leave one session out.

SNP of Gat et al. 2022 (arXiv 2202.01252): a layer behind the encoder climbs the speaker loss of identity batches. Re-instantiated
over the TDNN-LSTM, not over HuBERT. The paper's: four classes, 5 folds, 2 speakers to test, the epoch that validates best, the
four steps, lam as the step of the ascent, and weighted accuracy, which is WA here. This project's defaults: the network, AdamW
and its schedule, that the next session validates, and lam; the paper's 1e-3 hardly weighs beside the steps of AdamW.
SNP's layer is a plain one, relu(W z + b): our default too.

    python -m data_pipelines.prepare iemocap --source PATH/TO/IEMOCAP_full_release
    python -m jaxser.main --config=configs/gat_snp_iemocap.py

10 runs as one program. Not measured: IEMOCAP's audio was not at hand.
Identity batches hold the six speakers of the three training sessions (K = 6). To fill them from another corpus, whose emotions
are not used:

    python -m jaxser.main --config=configs/gat_snp_iemocap.py --config.protocol.identity=ravdess --workdir=runs/snp_ravdess

To let training and test share their speakers:

    python -m jaxser.main --config=configs/gat_snp_iemocap.py --config.protocol.name=speaker_dependent --workdir=runs/snp_shared
"""

from configs import base


def get_config():
    config = base.get_config()
    config.method = 'speaker_norm'
    config.speaker_norm = 'snp'
    config.data.corpora = ('iemocap',)
    config.data.labels = 'four'
    config.protocol.name = 'leave_one_session_out'
    config.sweep.lam = (0.0, 0.1)
    return config
