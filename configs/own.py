"""A corpus of your own: plain training compared with two methods that remove the speaker, log-mel.

    python -m data_pipelines.prepare folder --name NAME --source LIST.csv
    python -m jaxser.main --config=configs/own.py:NAME

For a list with ratings, add --config.task=ratings; if only some of arousal, valence and dominance
are rated, also --config.data.ratings=arousal,valence. For columns of votes:
--config.train.soft_labels=True.

NAME is lower-case letters, digits and _; NAME+NAME2 trains on two corpora. The protocol is chosen
by the number of known speakers, and printed. A fifth of the utterances of each training speaker is
withheld from training, and attackers are tested on them.

Cost: for 10 speakers and 340 utterances 30 runs (3 methods, 10 folds, 1 seed) as 3 programs, 14
minutes on 2 busy CPU cores. Epochs are for some hundred utterances: for thousands, set
--config.train.epochs=10 or less. For a result to publish: --config.sweep.seed=0,1,2.

The batch is 64, a compromise: with 128 similarity forgets more, but an epoch of a small corpus has
only a few steps. For thousands of utterances set --config.data.batch=128.

Result, measured on EMO-DB under another name (four classes): UAR 0.793 by erm, 0.789 by dann (lam
0.03) and 0.776 by similarity (lam 3); neither difference to erm is more than chance. The recall of
the strongest attacker on withheld utterances of training speakers is 0.60, 0.55 and 0.45 (chance:
0.13). Expect the same: with fewer than 20 speakers, the difference between methods is seldom more
than chance. On features of a pretrained encoder (configs/own_pretrained.py) the UAR is usually
higher.
"""

from configs import base


def get_config(name: str = 'folder'):
    """Returns the configuration for a prepared corpus, or for several, joined by +."""
    config = base.get_config()
    config.data.corpora = tuple(name.split('+'))
    config.protocol.name = 'auto'
    config.protocol.withhold = 0.2
    config.data.batch = 64  # a compromise for small corpora: the header says why
    config.train.epochs = 25
    config.sweep.method = ('erm', 'dann', 'similarity')
    return config
