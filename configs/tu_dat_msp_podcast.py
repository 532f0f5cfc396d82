"""Tu et al. 2019 (arXiv 1903.09606), DAT, on many speakers: MSP-Podcast, four classes, the release's own split.

MSP-Podcast stands in for the paper's public set of 250 speakers, which its abstract does not name. Network and schedule are those
of tu_dat_iemocap; fewer epochs, as there is more speech.

    python -m data_pipelines.prepare msp_podcast --source PATH/TO/MSP-PODCAST
    python -m jaxser.main --config=configs/tu_dat_msp_podcast.py

12 runs as one program. Not measured: MSP-Podcast was not at hand.
"""

from configs import tu_dat_iemocap


def get_config():
    config = tu_dat_iemocap.get_config()
    config.data.corpora = ('msp_podcast',)
    config.protocol.name = 'official'
    config.train.epochs = 10
    return config
