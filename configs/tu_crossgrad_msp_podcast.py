"""Tu et al. 2019 (arXiv 1903.09606), CGT: MSP-Podcast, four classes, cross-gradient training.

    python -m data_pipelines.prepare msp_podcast --source PATH/TO/MSP-PODCAST
    python -m jaxser.main --config=configs/tu_crossgrad_msp_podcast.py

Cost: 27 runs on the release's own split as three programs.

Result: not measured, as MSP-Podcast was not available.

MSP-Podcast has many speakers. It replaces the paper's public set of 250 speakers, which its
abstract does not name. On that set the paper found no gain.
"""

from configs import tu_crossgrad_iemocap


def get_config():
    config = tu_crossgrad_iemocap.get_config()
    config.data.corpora = ('msp_podcast',)
    config.protocol.name = 'official'
    config.train.epochs = 10
    return config
