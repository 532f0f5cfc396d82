"""The tasks of table.py over a frozen Whisper: every method with at most two coefficients, three seeds.

    python -m data_pipelines.prepare NAME --source PATH --features upstream:FOLDER        (of every corpus)
    python -m jaxser.main --config=configs/table_frozen.py:emodb

emodb (four classes), ravdess (eight): speakers out, five folds. emodb_ravdess, ravdess_emodb, emodb+ravdess_urdu (four
classes): languages out; of the target's speakers one half is tested while the other is heard without its emotions.
Budget, fixed before any run of them: an hour on two CPU cores for all. Methods and coefficients are those of table.py, chosen on
dev; sizes, dropout and the last epoch those of whisper_emodb.py. Measured (RESULTS_WHISPER.md has the whole tables): plain
training reaches UAR 0.892, 0.751, 0.515, 0.539 and 0.582, in the order above; mmd gains 0.109 and 0.102 between EMO-DB and
RAVDESS; no speaker adversary gains.
"""

from configs import table, whisper_emodb

TASKS = {
    'emodb': 30,
    'ravdess': 30,
    'emodb_ravdess': 24,
    'ravdess_emodb': 12,
    'emodb+ravdess_urdu': 8,
}  # epochs


def get_config(task: str = 'emodb'):
    if task not in TASKS:
        raise ValueError(f'configs/table_frozen.py has no task {task!r}; it has {", ".join(TASKS)}')
    config = whisper_emodb.with_whisper_states(table.get_config(task))
    config.train.epochs = TASKS[task]
    return config
