r"""Cai et al. 2020 (arXiv 2012.11174): valence across languages, five normalisations of the batch.

Each normalisation is trained with and without the language adversary.

    python -m jaxser.main --config=configs/cai_crosslingual_valence.py \
        --config.protocol.source=emodb --config.protocol.target=ravdess \
        --config.train.epochs=12 --workdir=runs/cai_valence_emodb_ravdess

Cost: 60 runs as five programs, 22 minutes on one busy CPU core.

Result, measured by that command on real speech (docs/results/log_mel.md): UAR of two classes at
lam 0 and 0.3, with head_rate 1: joint 0.516, 0.555; separate 0.503, 0.502; domain 0.493, 0.490;
source 0.501, 0.541; none 0.500, 0.518. Valence hardly transfers. It transfers a little with the
adversary and `joint` or `source`.

cai_crosslingual_arousal.py says what is from the paper and what is this project's choice.
"""

from configs import cai_crosslingual_arousal


def get_config():
    config = cai_crosslingual_arousal.get_config()
    config.data.labels = 'valence'
    return config
