"""Cai et al. 2020 (arXiv 2012.11174): arousal across languages, five ways to normalise the batch, with and without the adversary.

A re-instantiation. The paper's: a language adversary, the target without labels, arousal and valence apart, several ways for
batch normalisation to hear source and target. Ours: the classes are derived from the emotion (data_pipelines/labels.py has the
map and its source), the network, the schedule, which five ways. `batch_norm=domain` at lam = 0 is AdaBN: the target's
statistics at test, no adversary; what a row gains over it is the adversary's doing.

    python -m jaxser.main --config=configs/cai_crosslingual_arousal.py --config.protocol.source=emodb \\
        --config.protocol.target=ravdess --workdir=runs/cai_arousal_emodb_ravdess

60 runs as five programs. Not yet measured.
"""

from configs import crosslingual


def get_config():
    config = crosslingual.get_config()
    config.data.labels = 'arousal'
    config.sweep.method = ()
    config.sweep.lam = (0.0, 0.3)
    config.sweep.model.batch_norm = ('joint', 'separate', 'domain', 'source', 'none')
    return config
