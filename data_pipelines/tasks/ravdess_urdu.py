"""From RAVDESS to URDU; four shared classes."""

from data_pipelines.tasks import ALLOWED_FROM_SOURCE, BenchmarkTask, _notes

TASK = BenchmarkTask(
    name='ravdess_urdu',
    title='RAVDESS to URDU: four classes',
    corpora=('ravdess', 'urdu'),
    changes={
        'data.labels': 'four',
        'protocol.name': 'source_target',
        'protocol.source': ('ravdess',),
        'protocol.target': ('urdu',),
    },
    unseen='corpus',
    counts={
        'ravdess': {
            'angry': 192,
            'happy': 192,
            'neutral': 96,
            'sad': 192,
        },
        'urdu': {
            'angry': 100,
            'happy': 100,
            'neutral': 100,
            'sad': 100,
        },
    },
    split_sha256='ae75c30d5bf6b2cf662c33c7e061dcd2e217268c7b9901991a8dd06fb61da341',
    allowed_in_training=ALLOWED_FROM_SOURCE,
    notes=_notes.URDU,
)
