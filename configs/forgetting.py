r"""Which methods forget the speaker: every method that can, with plain training, and attackers.

    python -m data_pipelines.prepare NAME --source PATH --features upstream:FOLDER
    python -m jaxser.main --config=configs/forgetting.py:emodb_tiny

NAME is emodb or ravdess. FOLDER is the Hugging Face folder of Whisper tiny (384 wide) for the tasks
emodb_tiny and ravdess_tiny, and of Whisper base (512 wide) for emodb_base and ravdess_base. The
tasks emodb_tdnn and ravdess_tdnn need the log-mel features: prepare without --features.

A fifth of each training speaker's utterances is withheld from training, and attackers are tested on
them (config.protocol.withhold). The other attackers are about unseen speakers, those of dev and
test. There are three seeds and five speaker-disjoint folds.

The other tasks are about what lowers the leakage of unseen speakers. They train plainly and with
similarity, over Whisper tiny:

    emodb_speakers, ravdess_speakers      on fewer training speakers
    emodb_width, ravdess_width            with representations of several widths
    emodb_identity, ravdess_identity      with the speakers of the other corpus in the penalty (both
                                          corpora must be prepared)
    emodb_speed, ravdess_speed            with copies of the training speakers at other speeds in
                                          the penalty, as new speakers (prepare NAME also with
                                          --speed 0.86,0.93,1.08,1.16)
    emodb_centred, ravdess_centred        with features normalised by all utterances of a speaker,
                                          also of test speakers: transductive
    emodb_centred_speed, ravdess_centred_speed
                                          with both

Cost: the budget, fixed before the runs, is two hours on 2 CPU cores for all tasks. To fit it,
Whisper base and the TDNN-LSTM have fewer methods, and eight tasks have one seed. The four tasks
with copies at other speeds were added later, beyond the budget.

Result: measured in docs/results/forgetting.md.
"""

from configs import base, whisper_emodb

# The beginning of the name of the states that each encoder is prepared as.
UPSTREAM = {'tiny': 'whisper-5x384', 'base': 'whisper-7x512'}

TASKS = (
    'emodb_tiny',
    'emodb_base',
    'emodb_tdnn',
    'ravdess_tiny',
    'ravdess_base',
    'ravdess_tdnn',
    'emodb_speakers',
    'ravdess_speakers',
    'emodb_width',
    'ravdess_width',
    'emodb_identity',
    'ravdess_identity',
    'emodb_centred',
    'ravdess_centred',
    'emodb_speed',
    'ravdess_speed',
    'emodb_centred_speed',
    'ravdess_centred_speed',
)

# For the sake of time.
ONE_SEED = (
    'ravdess_base',
    'ravdess_tdnn',
    'ravdess_speakers',
    'ravdess_identity',
    'emodb_width',
    'ravdess_width',
    'ravdess_speed',
    'ravdess_centred_speed',
)

PLAIN_AND_SIMILARITY = ({'method': 'erm'}, {'method': 'similarity', 'lam': 3.0})

FEW_METHODS = (
    {'method': 'erm'},
    {'method': 'dann', 'lam': 0.03},
    {'method': 'confusion', 'lam': 1.0},
    {'method': 'leace'},
    {'method': 'projection'},
    {'method': 'similarity', 'lam': 3.0},
)

ALL_METHODS = (
    {'method': 'erm'},
    {'method': 'dann', 'lam': 0.03},
    {'method': 'dann', 'lam': 0.3},
    {'method': 'cdann', 'lam': 0.03},
    {'method': 'confusion', 'lam': 1.0},
    {'method': 'speaker_norm', 'speaker_norm': 'tap', 'lam': 0.01},
    {'method': 'speaker_norm', 'speaker_norm': 'snp', 'lam': 0.1},
    {'method': 'leace'},
    {'method': 'projection'},
    {'method': 'similarity', 'similarity': 'conditional', 'lam': 3.0},
    {'method': 'similarity', 'similarity': 'conditional', 'lam': 10.0},
    {'method': 'similarity', 'similarity': 'unconditional', 'lam': 3.0},
)


def get_config(task: str = 'emodb_tiny'):
    """Returns the configuration of a task of `TASKS`."""
    if task not in TASKS:
        raise ValueError(f'configs/forgetting.py has no task {task!r}; it has {", ".join(TASKS)}')
    corpus, variant = task.split('_', 1)
    config = base.get_config()
    config.data.corpora = (corpus,)
    config.data.labels = 'four' if corpus == 'emodb' else 'native'
    config.protocol.withhold = 0.2
    config.sweep.seed = (0,) if task in ONE_SEED else (0, 1, 2)
    if variant == 'tdnn':
        set_tdnn_lstm(config, corpus)
    else:
        set_whisper(config, corpus, UPSTREAM.get(variant, UPSTREAM['tiny']))
    config.sweep.runs = methods_of(task)
    if variant == 'speakers':
        config.sweep.speakers = (2, 4, 6) if corpus == 'emodb' else (3, 6, 14)
    elif variant == 'width':
        config.sweep.model.dim = (16, 32, 64, 128)
    if variant == 'identity':
        set_identity(config, 'ravdess' if corpus == 'emodb' else 'emodb')
    elif variant.endswith('speed'):
        set_identity(config, f'{corpus}_speed')
    if variant.startswith('centred'):
        config.data.normalise = 'speaker_transductive'
    return config


def methods_of(task: str) -> tuple[dict, ...]:
    """Returns the methods of a task and their coefficients."""
    if task.endswith('_tiny'):
        return ALL_METHODS
    if task.endswith(('_base', '_tdnn')):
        return FEW_METHODS
    if task.endswith(('_identity', '_speed')):
        return ()
    return PLAIN_AND_SIMILARITY


def set_identity(config, corpus: str) -> None:
    """Lets the speakers of another corpus enter the penalty."""
    config.protocol.identity = (corpus,)
    config.method = 'similarity'
    config.sweep.lam = (0.0, 3.0)  # at 0 it is plain training


def set_tdnn_lstm(config, corpus: str) -> None:
    """Sets the training over log-mel features."""
    config.data.batch = 64
    config.train.epochs = 25 if corpus == 'emodb' else 9


def set_whisper(config, corpus: str, upstream: str) -> None:
    """Sets the training over a frozen Whisper.

    The batches are so large that they contain many pairs of one speaker and one emotion, and the
    epochs so many that the penalty ends near 0. The width of z was chosen on dev speakers.
    """
    whisper_emodb.with_whisper_states(config)
    config.data.upstream = upstream
    config.model.dim = 32
    if corpus == 'emodb':
        config.data.batch = 128
        config.train.epochs = 200
    else:
        config.data.batch = 256
        config.train.epochs = 120
        config.sweep.lr = (4e-3,)
