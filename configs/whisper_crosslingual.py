r"""Four classes across languages on a frozen Whisper: crosslingual.py on its states.

    python -m data_pipelines.prepare NAME --source PATH \
        --features upstream:FOLDER        (of source and target)
    python -m jaxser.main --config=configs/whisper_crosslingual.py \
        --config.protocol.source=emodb --config.protocol.target=urdu \
        --workdir=runs/whisper_emodb_urdu

Cost: 18 runs as two programs, half a minute on 2 CPU cores.

Result, measured with this command on the encoder of Whisper tiny.en: mean UAR of three seeds for
erm, and dann at lam 0.3 and 1, with head_rate 1 (chance: 0.25):
EMO-DB -> RAVDESS 0.539 0.549 0.515; RAVDESS -> EMO-DB 0.565 0.555 0.539;
EMO-DB -> URDU 0.632 0.635 0.623; RAVDESS -> URDU 0.388 0.411 0.384.
The language adversary does not raise the UAR; mmd does (table_frozen.py).
"""

from configs import crosslingual, whisper_emodb


def get_config():
    return whisper_emodb.with_whisper_states(crosslingual.get_config())
