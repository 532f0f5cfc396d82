"""EMO-DB, four classes, over a frozen Whisper."""

from configs import dann_emodb


def get_config():
    config = dann_emodb.get_config()
    config.data.upstream = 'whisper'
    config.model.name = 'layer_sum'
    config.model.dim = 256
    config.train.select = 'last epoch'
    config.sweep.dropout = (0.5,)
    config.sweep.time_mask = config.sweep.band_mask = (0.0,)
    return config
