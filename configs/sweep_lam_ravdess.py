"""RAVDESS, eight classes: six coefficients of the speaker adversary x 3 seeds x 5 folds: 90 runs.

python -m data_pipelines.prepare ravdess --source PATH/TO/ravdess
python -m jaxser.main --config=configs/sweep_lam_ravdess.py

One program. Measured with --config.sweep.lam=0,0.1,0.3,1 --config.sweep.seed=0 (20 runs, 28 minutes on a busy CPU core
with the probe): UAR 0.416, 0.423, 0.424, 0.398; the intervals of the differences, over 24 speakers, hold 0 throughout.
"""

from configs import dann_ravdess


def get_config():
    config = dann_ravdess.get_config()
    config.sweep.lam = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)
    return config
