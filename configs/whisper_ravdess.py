"""RAVDESS, eight classes, over a frozen Whisper: a speaker adversary (lam 0.3) beside plain training, 5 folds, 3 seeds.

    python -m data_pipelines.prepare ravdess --source PATH/TO/ravdess --features upstream:FOLDER
    python -m jaxser.main --config=configs/whisper_ravdess.py

FOLDER is a Hugging Face folder of a Whisper. MEASURED
"""

from configs import dann_ravdess, whisper_emodb


def get_config():
    return whisper_emodb.over_whisper(dann_ravdess.get_config())
