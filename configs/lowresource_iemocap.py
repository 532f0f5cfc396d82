"""IEMOCAP, four classes, with 50 to 1000 training utterances per class: two adversaries.

    python -m data_pipelines.prepare iemocap --source PATH/TO/IEMOCAP_full_release
    python -m jaxser.main --config=configs/lowresource_iemocap.py

Cost: 5 folds x 5 sizes x 3 seeds x (erm, dann at lam 0.3, TAP at 0.01): 225 runs, three programs.

Result: not measured, as IEMOCAP's audio was not available.

The low-resource setting of Gat et al. 2022 (arXiv 2202.01252), whose sizes go from 50 to 1000. This
project's choice: the sizes between, the network (theirs is HuBERT), and dann in addition to TAP.
Leave one session out. Where a fold has fewer than 1000 of a class, all are used, and the command
says how many.
"""

from configs import dann_iemocap


def get_config():
    config = dann_iemocap.get_config()
    config.sweep.runs = (
        {'method': 'erm'},
        {'method': 'dann', 'lam': 0.3},
        {'method': 'speaker_norm', 'lam': 0.01},
    )
    config.sweep.per_class = (50, 100, 200, 500, 1000)
    config.sweep.lam = ()
    config.sweep.seed = (0, 1, 2)
    return config
