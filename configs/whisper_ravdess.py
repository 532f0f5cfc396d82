"""RAVDESS, eight classes, over a frozen Whisper."""

from configs import dann_ravdess


def get_config():
    config = dann_ravdess.get_config()
    config.data.upstream = 'whisper'
    config.model.name = 'layer_sum'
    config.sweep.time_mask = config.sweep.band_mask = (0.0,)
    return config
