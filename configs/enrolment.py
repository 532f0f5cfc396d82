r"""What a few unlabelled utterances of a speaker gain, and how well the speaker is then forgotten.

    python -m data_pipelines.prepare NAME --source PATH --features upstream:FOLDER
    python -m jaxser.main --config=configs/enrolment.py:emodb_tiny

NAME is emodb or ravdess. FOLDER is the Hugging Face folder of Whisper tiny (384 wide) for the tasks
that end in _tiny, and of Whisper base (512 wide) for those that end in _base. Tasks that end in
_tdnn train a TDNN-LSTM on log-mel: prepare without --features. The tasks are

    emodb_tiny          ravdess_tiny            unseen speakers of the corpus, five folds
    emodb_ravdess_tiny  ravdess_emodb_tiny      speakers of the other corpus, in its language

and the same with _base and _tdnn. Each trains plainly, and with `similarity` at lam 3 and 10. Half
of every speaker's utterances are set aside for enrolment and are in no score. After training, the
sweep is scored with 0, 1, 2, 4, 8, 16 and all of them, of any emotion, of one emotion and of
neutral ones, in ten random draws.

With _plain at the end (emodb_tiny_plain) a task is the reference: features are normalised by
`global`, nothing is enrolled, and it only trains plainly. It is scored on the same utterances.

Cost: the budget, fixed before the runs, is an hour on 2 CPU cores for all tasks. To fit it, only
Whisper tiny has three seeds, the others have one.

Result: measured in docs/results/enrolment.md.
"""

from configs import base, forgetting

CORPORA = ('emodb', 'ravdess', 'emodb_ravdess', 'ravdess_emodb')
ENCODERS = ('tiny', 'base', 'tdnn')
REFERENCE = '_plain'
METHODS = (
    {'method': 'erm'},
    {'method': 'similarity', 'lam': 3.0},
    {'method': 'similarity', 'lam': 10.0},
)


def get_config(task: str = 'emodb_tiny'):
    name = task.removesuffix(REFERENCE)
    corpora, _, encoder = name.rpartition('_')
    if corpora not in CORPORA or encoder not in ENCODERS:
        raise ValueError(
            f'configs/enrolment.py has no task {task!r}; a task is one of {", ".join(CORPORA)}, '
            f'then one of _{", _".join(ENCODERS)}, and {REFERENCE} for the reference'
        )
    source, _, target = corpora.partition('_')
    config = base.get_config()
    set_protocol(config, source, target)
    config.sweep.seed = (0, 1, 2) if encoder == 'tiny' else (0,)
    if encoder == 'tdnn':
        forgetting.set_tdnn_lstm(config, source)
    else:
        forgetting.set_whisper(config, source, forgetting.UPSTREAM[encoder])
    config.sweep.runs = METHODS
    if task.endswith(REFERENCE):
        config.protocol.enrol = 0
        config.sweep.runs = ({'method': 'erm'},)
    else:
        config.data.normalise = 'speaker_enrolled'
        config.protocol.enrol = 'all'
    return config


def set_protocol(config, source: str, target: str) -> None:
    """Sets speaker-disjoint folds of one corpus, or a source and a target."""
    config.protocol.withhold = 0.2
    if target:
        config.data.labels = 'four'
        config.protocol.name = 'source_target'
        config.protocol.source = (source,)
        config.protocol.target = (target,)
    else:
        config.data.corpora = (source,)
        config.data.labels = 'four' if source == 'emodb' else 'native'
