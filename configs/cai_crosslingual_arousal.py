"""Cai et al. 2020 (arXiv 2012.11174): arousal across languages, five ways to normalise the batch, with and without the adversary.

A re-instantiation. The paper's: a language adversary, the target without labels, arousal and valence apart, several ways for
batch normalisation to hear source and target. Ours: the classes are derived from the emotion (data_pipelines/labels.py has the
map and its source), the network, the schedule, which five ways. `batch_norm=domain` at lam = 0 is AdaBN: the target's
statistics at test, no adversary; what a row gains over it is the adversary's doing.

    python -m jaxser.main --config=configs/cai_crosslingual_arousal.py --config.protocol.source=emodb \\
        --config.protocol.target=ravdess --config.train.epochs=12 --workdir=runs/cai_arousal_emodb_ravdess

60 runs as five programs. Measured by that command, on real speech (RESULTS.md has intervals): UAR of two classes, lam 0 and 0.3,
joint 0.662, 0.693; separate 0.553, 0.571; domain 0.601, 0.632; source 0.500, 0.546; none 0.500, 0.576. The adversary gains in
every arm, and `joint` is the best arm without and with it; AdaBN alone loses to `joint`. 16 minutes on one busy CPU core.
"""

from configs import crosslingual


def get_config():
    config = crosslingual.get_config()
    config.data.labels = 'arousal'
    config.sweep.method = ()
    config.sweep.lam = (0.0, 0.3)
    config.sweep.model.batch_norm = ('joint', 'separate', 'domain', 'source', 'none')
    return config
