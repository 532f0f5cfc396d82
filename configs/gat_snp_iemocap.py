"""IEMOCAP, four classes (5,531 utterances): SNP, in which a layer between encoder and heads moves up the speaker loss,
beside lam = 0, which is plain training of that network; leave one session out.

A re-instantiation of SNP of Gat et al. 2022 (arXiv 2202.01252), over the TDNN-LSTM and not over HuBERT. The paper's: four classes,
5 folds of which 2 speakers are tested, the epoch chosen on validation, the four steps, lam as the step of the ascent. This
project's defaults: network, AdamW, schedule, lam, the shape of the layer, that dev is the next session; the paper's lam is 1e-3, which weighs
nothing beside AdamW's steps. The paper prints weighted accuracy: WA here.

    python -m data_pipelines.prepare iemocap --source PATH/TO/IEMOCAP_full_release
    python -m jaxser.main --config=configs/gat_snp_iemocap.py

10 runs as one program. Not measured yet.
Speakers of the identity batches: the six of the three training sessions (K = 6). With another corpus' instead, of which no
emotion is used (msp_podcast, once prepared, likewise):

    python -m jaxser.main --config=configs/gat_snp_iemocap.py --config.protocol.identity=ravdess --workdir=runs/gat_snp_iemocap_ravdess

Speakers shared between training and test (speaker-dependent): --config.protocol.name=speaker_dependent
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
