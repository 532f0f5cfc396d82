"""The demo corpus (synthetic speech), six coefficients of the speaker adversary x 2 seeds x 4 folds: 48 runs.
Its figures say nothing about people: see what is measured in README.md on real speech.

python -m jaxser.main --config=configs/sweep_lam_demo.py
"""

from configs import dann_demo


def get_config():
    config = dann_demo.get_config()
    config.sweep.lam = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)
    config.sweep.seed = (0, 1)
    return config
