"""A corpus of your own on a frozen pretrained encoder: plain training and two methods.

    python -m data_pipelines.prepare folder --name NAME --source LIST.csv --features upstream:FOLDER
    python -m jaxser.main --config=configs/own_pretrained.py:NAME

For a list with ratings, add --config.task=ratings; if only some of arousal, valence and dominance
are rated, also --config.data.ratings=arousal,valence. For columns of votes:
--config.train.soft_labels=True.

FOLDER is the Hugging Face folder of an encoder, such as Whisper, or its name on the Hub, such as
openai/whisper-small. If several are prepared, say which: --config.data.upstream=whisper.
NAME+NAME2 trains on two corpora. The protocol is chosen by the number of known speakers, and
printed. A fifth of the utterances of each training speaker is withheld from training, and attackers
are tested on them.

Cost: for 10 speakers and 340 utterances 30 runs (3 methods, 10 folds, 1 seed) as 3 programs, 18
minutes on 2 CPU cores that others used as well. Epochs are for some hundred utterances: for
thousands, set --config.train.epochs=50 or less. For a result to publish:
--config.sweep.seed=0,1,2.

Result, measured on EMO-DB under another name (four classes, the encoder of Whisper tiny.en): UAR
0.899 by erm, 0.895 by dann (lam 0.03) and 0.893 by similarity (lam 3); neither difference to erm is
more than chance. The recall of the strongest attacker on withheld utterances of training speakers
is 0.36, 0.27 and 0.20 (chance: 0.13). Expect the same: with fewer than 20 speakers, the difference
between methods is seldom more than chance.
"""

from configs import own, whisper_emodb


def get_config(name: str = 'folder'):
    """Returns the configuration for a prepared corpus, or for several, joined by +."""
    config = whisper_emodb.with_whisper_states(own.get_config(name))
    config.data.upstream = 'any'
    config.model.dim = 32
    config.data.batch = 128  # so that it has many pairs of one speaker and one emotion
    config.train.epochs = 150
    return config
