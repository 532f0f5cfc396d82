"""RAVDESS, eight classes: six coefficients of the speaker adversary.

    python -m data_pipelines.prepare ravdess --source PATH/TO/ravdess
    python -m jaxser.main --config=configs/sweep_lam_ravdess.py

Cost: 90 runs (6 coefficients x 3 seeds x 5 folds) as one program.

Result, measured with --config.sweep.lam=0,0.1,0.3,1 --config.sweep.head_rate=1
--config.sweep.seed=0 (20 runs, 28 minutes on a busy CPU core with the probe): UAR 0.416, 0.423,
0.424, 0.398. All intervals of the differences to lam 0, over 24 speakers, include 0.
"""

from configs import dann_ravdess


def get_config():
    config = dann_ravdess.get_config()
    config.sweep.lam = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)
    return config
