"""RAVDESS, eight classes: six coefficients of the speaker adversary x 3 seeds x 5 folds: 90 runs.

python -m data_pipelines.prepare ravdess --source PATH/TO/ravdess
python -m jaxser.main --config=configs/sweep_lam_ravdess.py
"""

from configs import dann_ravdess


def get_config():
    config = dann_ravdess.get_config()
    config.sweep.lam = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)
    return config
