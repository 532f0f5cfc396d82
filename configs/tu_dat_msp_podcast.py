"""Tu et al. 2019 (arXiv 1903.09606), DAT: MSP-Podcast, four classes, a speaker adversary.

    python -m data_pipelines.prepare msp_podcast --source PATH/TO/MSP-PODCAST
    python -m jaxser.main --config=configs/tu_dat_msp_podcast.py

Cost: 12 runs on the release's own split as one program.

Result: not measured, as MSP-Podcast was not available.

MSP-Podcast has many speakers. It replaces the paper's public set of 250 speakers, which its
abstract does not name. Network and schedule are those of tu_dat_iemocap.py, with fewer epochs, as
there is more speech.
"""

from configs import tu_dat_iemocap


def get_config():
    config = tu_dat_iemocap.get_config()
    config.data.corpora = ('msp_podcast',)
    config.protocol.name = 'official'
    config.train.epochs = 10
    return config
