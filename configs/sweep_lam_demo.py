"""The demo corpus (synthetic speech): six coefficients of the speaker adversary.

    python -m jaxser.main --config=configs/sweep_lam_demo.py

Cost: 48 runs (6 coefficients x 2 seeds x 4 folds) as one program.

Result: its figures say nothing about people; docs/results has what is measured on real speech.
"""

from configs import dann_demo


def get_config():
    config = dann_demo.get_config()
    config.sweep.method = ('dann',)
    config.sweep.lam = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)
    config.sweep.seed = (0, 1)
    return config
