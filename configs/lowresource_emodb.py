"""EMO-DB, four classes, with 10, 20 and 40 training utterances per class: two adversaries.

    python -m data_pipelines.prepare emodb --source PATH/TO/emodb
    python -m jaxser.main --config=configs/lowresource_emodb.py

Cost: 5 speaker-disjoint folds x 3 sizes x 3 seeds x (erm, dann at lam 0.3 with head_rate 1, TAP at
0.01): 135 runs, three programs, 48 minutes on one busy CPU core.

Result, measured on real speech (docs/results/log_mel.md has intervals): UAR with 10, 20 and
40 utterances per class: erm 0.753, 0.753, 0.802; dann 0.754, 0.743, 0.798; TAP 0.747, 0.762, 0.795.
No difference to plain training is significant.

The smaller training parts are subsets of the larger ones; dev and test are not reduced. EMO-DB has
62 to 127 utterances of each of these classes, and three fifths of the speakers train. Where a fold
has fewer than 40 of a class, all are used, and the command says how many.
"""

from configs import dann_emodb


def get_config():
    config = dann_emodb.get_config()
    config.sweep.runs = (
        {'method': 'erm'},
        {'method': 'dann', 'lam': 0.3, 'head_rate': 1.0},
        {'method': 'speaker_norm', 'lam': 0.01},
    )
    config.sweep.per_class = (10, 20, 40)
    config.sweep.lam = ()
    return config
