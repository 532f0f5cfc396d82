"""Tu et al. 2019 (arXiv 1903.09606), CGT, on many speakers: MSP-Podcast, four classes, the release's own split.

MSP-Podcast stands in for the paper's public set of 250 speakers, which its abstract does not name; there the paper found no gain.

    python -m data_pipelines.prepare msp_podcast --source PATH/TO/MSP-PODCAST
    python -m jaxser.main --config=configs/tu_crossgrad_msp_podcast.py

27 runs as three programs. Not measured: MSP-Podcast was not at hand.
"""

from configs import tu_crossgrad_iemocap


def get_config():
    config = tu_crossgrad_iemocap.get_config()
    config.data.corpora = ('msp_podcast',)
    config.protocol.name = 'official'
    config.train.epochs = 10
    return config
