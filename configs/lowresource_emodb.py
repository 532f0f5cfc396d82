"""EMO-DB, four classes, with 10, 20 and 40 training utterances of a class: two adversaries beside plain training.

    python -m data_pipelines.prepare emodb --source PATH/TO/emodb
    python -m jaxser.main --config=configs/lowresource_emodb.py

5 speaker-disjoint folds x 3 sizes x 3 seeds x (erm, dann at lam 0.3, TAP at 0.01): 135 runs, three programs. The smaller
training parts are within the larger; dev and test are whole. EMO-DB has 62 to 127 utterances of these classes, of which three
fifths of the speakers train: where a fold has fewer than 40 of a class it gives all, and says how many.
Measured on real speech (RESULTS.md has intervals), 48 minutes on one busy CPU core: UAR with 10, 20 and 40 of a class, erm 0.753,
0.753, 0.802; dann 0.754, 0.743, 0.798; TAP 0.747, 0.762, 0.795. No difference to plain training is more than chance.
"""

from configs import dann_emodb


def get_config():
    config = dann_emodb.get_config()
    config.sweep.runs = (
        {'method': 'erm'},
        {'method': 'dann', 'lam': 0.3},
        {'method': 'speaker_norm', 'lam': 0.01},
    )
    config.sweep.per_class = (10, 20, 40)
    config.sweep.lam = ()
    return config
