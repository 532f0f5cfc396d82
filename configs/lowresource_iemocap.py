"""IEMOCAP, four classes, with 50 to 1000 training utterances of a class: two adversaries beside plain training.

The low-resource setting of Gat et al. 2022 (arXiv 2202.01252), whose sizes go from 50 to 1000; the steps between, the network
(theirs is HuBERT) and dann beside TAP are ours. Leave one session out.

    python -m data_pipelines.prepare iemocap --source PATH/TO/IEMOCAP_full_release
    python -m jaxser.main --config=configs/lowresource_iemocap.py

5 folds x 5 sizes x 3 seeds x (erm, dann at lam 0.3, TAP at 0.01): 225 runs, three programs. Where a fold has fewer than 1000 of
a class, it gives all, and says how many. Not measured: IEMOCAP's audio was not at hand.
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
