"""Cai et al. 2020 (arXiv 2012.11174): valence across languages, five ways to normalise the batch, with and without the adversary.

As cai_crosslingual_arousal, whose header says what is the paper's and what is ours.

    python -m jaxser.main --config=configs/cai_crosslingual_valence.py --config.protocol.source=emodb \\
        --config.protocol.target=ravdess --workdir=runs/cai_valence_emodb_ravdess

60 runs as five programs. Not yet measured.
"""

from configs import cai_crosslingual_arousal


def get_config():
    config = cai_crosslingual_arousal.get_config()
    config.data.labels = 'valence'
    return config
