r"""The tasks of table.py on a frozen Whisper: every method with at most two coefficients.

    python -m data_pipelines.prepare NAME --source PATH \
        --features upstream:FOLDER        (of every corpus)
    python -m jaxser.main --config=configs/table_frozen.py:emodb

Unseen speakers, five folds each: emodb (four classes), ravdess (eight). Unseen languages:
emodb_ravdess, ravdess_emodb, emodb+ravdess_urdu (four classes); one half of the target's speakers
is tested while training adapts to the other half without its emotions.

Cost: the budget, fixed before any run, is an hour on two CPU cores for all tasks. There are three
seeds. Methods and coefficients are those of table.py, chosen on dev; sizes, dropout and the last
epoch are those of whisper_emodb.py.

For unseen speakers, a fifth of the training utterances is withheld, on which attackers are tested.

Result, measured with --config.protocol.withhold=0 (docs/results/whisper.md has the whole
tables): plain training reaches UAR 0.892, 0.751, 0.515, 0.539 and 0.582, in the order above; mmd
gains 0.109 and 0.102 between EMO-DB and RAVDESS; no speaker adversary raises the UAR.
"""

from configs import table, whisper_emodb

# The epochs of each task.
TASKS = {
    'emodb': 30,
    'ravdess': 30,
    'emodb_ravdess': 24,
    'ravdess_emodb': 12,
    'emodb+ravdess_urdu': 8,
}

SPEAKER_TASKS = ('emodb', 'ravdess')


def get_config(task: str = 'emodb'):
    if task not in TASKS:
        raise ValueError(f'configs/table_frozen.py has no task {task!r}; it has {", ".join(TASKS)}')
    config = whisper_emodb.with_whisper_states(table.get_config(task))
    config.train.epochs = TASKS[task]
    if task in SPEAKER_TASKS:
        config.protocol.withhold = 0.2
    return config
