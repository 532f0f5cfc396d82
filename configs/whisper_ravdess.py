"""RAVDESS, eight classes, on a frozen Whisper: a speaker adversary compared with plain training.

    python -m data_pipelines.prepare ravdess --source PATH/TO/ravdess --features upstream:FOLDER
    python -m jaxser.main --config=configs/whisper_ravdess.py

FOLDER is a Hugging Face folder of a Whisper.

Cost: 30 runs (lam 0 and 0.3, 5 folds, 3 seeds) as one program, 1 to 6 minutes on 2 CPU cores, the
probe not included.

Result, measured with this command on the encoder of Whisper tiny.en: mean of fold UARs 0.751 at lam
0, 0.751 to 0.753 at lam 0.3. The adversary was inert: a new classifier has a speaker-recognition
recall of 0.93 without it and 0.95 with it. Sizes were chosen on EMO-DB (whisper_emodb.py).
"""

from configs import dann_ravdess, whisper_emodb


def get_config():
    return whisper_emodb.with_whisper_states(dann_ravdess.get_config())
