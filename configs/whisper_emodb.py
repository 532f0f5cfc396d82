"""EMO-DB, four classes, on a frozen Whisper: a speaker adversary compared with plain training.

    python -m data_pipelines.prepare emodb --source PATH/TO/emodb --features upstream:FOLDER
    python -m jaxser.main --config=configs/whisper_emodb.py

FOLDER is a Hugging Face folder of a Whisper.

Cost: 30 runs (lam 0 and 0.3, 5 folds, 3 seeds) as one program, 20 s to 2 minutes on 2 CPU cores.

Result, measured with this command on the encoder of Whisper tiny.en (339 four-class utterances):
mean of fold UARs 0.890 at lam 0, 0.883 at lam 0.3. The adversary was inert: a new classifier has a
speaker-recognition recall of 0.72 without it and 0.98 with it. Width, dropout and the last epoch
were chosen at lam 0 on dev speakers, among ten candidates.
"""

from configs import dann_emodb


def get_config():
    return with_whisper_states(dann_emodb.get_config())


def with_whisper_states(config):
    """The configuration on the states of the Whisper that is prepared."""
    config.data.upstream = 'whisper'
    config.model.name = 'layer_sum'
    config.model.dim = 128
    config.train.select = 'last epoch'
    config.sweep.dropout = (0.5,)
    config.sweep.time_mask = config.sweep.band_mask = (0.0,)  # made for log-mel
    return config
