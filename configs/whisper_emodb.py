"""EMO-DB, four classes, on a frozen Whisper: a speaker adversary compared with plain training.

    python -m data_pipelines.prepare emodb --source PATH/TO/emodb --features upstream:FOLDER
    python -m jaxser.main --config=configs/whisper_emodb.py

FOLDER is a Hugging Face folder of a Whisper.

Cost: 45 runs (lam 0, 0.03 and 0.3, 5 folds, 3 seeds) as one program, 37 s on 2 CPU cores, and 11 s
for the probe (tests/benchmarks/probe.py whisper_emodb).

Result, measured with this command on the encoder of Whisper tiny.en (339 four-class utterances):
mean of fold UARs 0.881, 0.881 and 0.871 at lam 0, 0.03 and 0.3. The recall of the strongest
attacker is 0.78, 0.71 and 0.84 on withheld utterances of training speakers (chance: 0.17), and
0.78, 0.73 and 0.77 on unseen speakers (chance: 0.25): lam 0.03 removes a little, and 0.3 nothing.
Width, dropout and the last epoch were chosen at lam 0 on dev speakers, among ten candidates.

Of earlier versions, measured with --config.protocol.withhold=0 --config.sweep.head_rate=1
--config.sweep.lam=0,0.3: mean of fold UARs 0.890 at lam 0, 0.883 at lam 0.3.
"""

from configs import dann_emodb


def get_config():
    return for_forgetting(with_whisper_states(dann_emodb.get_config()))


def for_forgetting(config):
    """Returns the configuration with withheld utterances, on which attackers are tested."""
    config.protocol.withhold = 0.2
    config.sweep.lam = (0.0, 0.03, 0.3)
    return config


def with_whisper_states(config):
    """The configuration on the states of the Whisper that is prepared."""
    config.data.upstream = 'whisper'
    config.model.name = 'layer_sum'
    config.model.dim = 128
    config.train.select = 'last epoch'
    config.sweep.dropout = (0.5,)
    config.sweep.time_mask = config.sweep.band_mask = (0.0,)  # made for log-mel
    return config
