"""EMO-DB, four classes: plain training, the baseline of dann_emodb; the encoder and emotion head equal its lam = 0 exactly."""

from configs import dann_emodb


def get_config():
    config = dann_emodb.get_config()
    config.method = 'erm'
    config.sweep.lam = ()
    return config
