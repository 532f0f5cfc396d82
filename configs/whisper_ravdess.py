"""RAVDESS, eight classes, over a frozen Whisper."""

from configs import dann_ravdess


def get_config():
    config = dann_ravdess.get_config()
    config.data.upstream = 'whisper'
    config.model.name = 'layer_sum'
    config.model.dim = 256
    config.train.select = 'last epoch'
    config.sweep.dropout = (0.5,)
    config.sweep.time_mask = config.sweep.band_mask = (0.0,)
    return config
