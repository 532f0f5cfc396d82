"""RAVDESS, eight classes, on a frozen Whisper: a speaker adversary compared with plain training.

    python -m data_pipelines.prepare ravdess --source PATH/TO/ravdess --features upstream:FOLDER
    python -m jaxser.main --config=configs/whisper_ravdess.py

FOLDER is a Hugging Face folder of a Whisper.

Cost: 45 runs (lam 0, 0.03 and 0.3, 5 folds, 3 seeds) as one program, 98 s on 2 CPU cores, and 25 s
for the probe (tests/benchmarks/probe.py whisper_ravdess).

Result, measured with this command on the encoder of Whisper tiny.en: mean of fold UARs 0.745, 0.742
and 0.743 at lam 0, 0.03 and 0.3. The recall of the strongest attacker is 0.96, 0.94 and 0.96 on
withheld utterances of training speakers (chance: 0.07), and 0.94, 0.94 and 0.93 on unseen speakers
(chance: 0.10): the adversary is inert. Sizes were chosen on EMO-DB (whisper_emodb.py).

Of earlier versions, measured with --config.protocol.withhold=0 --config.sweep.head_rate=1
--config.sweep.lam=0,0.3: mean of fold UARs 0.751 at lam 0, 0.751 to 0.753 at lam 0.3.
"""

from configs import dann_ravdess, whisper_emodb


def get_config():
    config = whisper_emodb.with_whisper_states(dann_ravdess.get_config())
    return whisper_emodb.for_forgetting(config)
