r"""EMO-DB, four classes: SNP (lam 0.1) compared with lam 0.

    python -m data_pipelines.prepare emodb --source PATH/TO/emodb
    python -m jaxser.main --config=configs/gat_snp_emodb.py

Cost: 30 runs (5 speaker-disjoint folds, 3 seeds) as one program, 16 minutes on one busy CPU core.

Result, measured on real speech (docs/results/log_mel.md): UAR 0.795 at lam 0, 0.768 at 0.1,
a difference of -0.027 [-0.049, -0.004] over 10 speakers: SNP loses.

SNP of Gat et al. 2022 (arXiv 2202.01252): a layer behind the encoder is trained by gradient ascent
on the speaker loss of identity batches. Re-implemented on the TDNN-LSTM, not on HuBERT. From the
paper: the four steps, and lam as the step size of the ascent. This project's defaults: the corpus,
the network, AdamW and its schedule, a plain layer, relu(W z + b), and lam; the paper's 1e-3 is
small compared with AdamW's steps. Identity batches contain the six training speakers (K = 6). To
fill them from another corpus, without its emotions:

    python -m jaxser.main --config=configs/gat_snp_emodb.py \
        --config.protocol.identity=ravdess --workdir=runs/snp_emodb_ravdess

To share speakers between training and test:

    python -m jaxser.main --config=configs/gat_snp_emodb.py \
        --config.protocol.name=speaker_dependent --workdir=runs/snp_shared
"""

from configs import base


def get_config():
    config = base.get_config()
    config.method = 'speaker_norm'
    config.speaker_norm = 'snp'
    config.data.corpora = ('emodb',)
    config.data.labels = 'four'
    config.sweep.lam = (0.0, 0.1)
    config.sweep.seed = (0, 1, 2)
    return config
