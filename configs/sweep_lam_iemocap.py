"""IEMOCAP, four classes: 11 coefficients of the speaker adversary, leave one speaker out.

    python -m data_pipelines.prepare iemocap --source PATH/TO/IEMOCAP_full_release
    python -m jaxser.main --config=configs/sweep_lam_iemocap.py

Cost: 330 runs (11 coefficients x 3 seeds x 10 folds) as one program, for an accelerator.

Result: not measured, as IEMOCAP's audio was not available.
"""

from configs import dann_iemocap


def get_config():
    config = dann_iemocap.get_config()
    config.protocol.name = 'leave_one_speaker_out'
    config.train.epochs = 50
    config.sweep.lam = (0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 10.0)
    config.sweep.seed = (0, 1, 2)
    return config
