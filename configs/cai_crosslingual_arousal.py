r"""Cai et al. 2020 (arXiv 2012.11174): arousal across languages, five normalisations of the batch.

Each normalisation is trained with and without the language adversary.

    python -m jaxser.main --config=configs/cai_crosslingual_arousal.py \
        --config.protocol.source=emodb --config.protocol.target=ravdess \
        --config.train.epochs=12 --workdir=runs/cai_arousal_emodb_ravdess

Cost: 60 runs as five programs, 16 minutes on one busy CPU core.

Result, measured by that command on real speech (docs/results/log_mel.md): UAR of two classes at
lam 0 and 0.3, with head_rate 1: joint 0.662, 0.693; separate 0.553, 0.571; domain 0.601, 0.632;
source 0.500, 0.546; none 0.500, 0.576. The adversary raises the UAR with every normalisation.
`joint` is best, with and without the adversary; AdaBN alone is worse than `joint`.

A re-implementation. From the paper: a language adversary, a target without labels, separate models
of arousal and valence, several ways in which BatchNorm treats source and target. This project's
choice: the classes are derived from the emotion (data_pipelines/labels.py has the map and its
source), the network, the schedule, and which five normalisations. `batch_norm=domain` at lam = 0 is
AdaBN: the target's statistics in testing, and no adversary. What the adversary adds to AdaBN is the
difference between the two values of `domain`.
"""

from configs import crosslingual


def get_config():
    config = crosslingual.get_config()
    config.data.labels = 'arousal'
    config.sweep.method = ()
    config.sweep.lam = (0.0, 0.3)
    config.sweep.model.batch_norm = ('joint', 'separate', 'domain', 'source', 'none')
    return config
