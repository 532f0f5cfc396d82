"""From RAVDESS to EMO-DB; four shared classes."""

from data_pipelines.tasks import ALLOWED_FROM_SOURCE, BenchmarkTask

TASK = BenchmarkTask(
    name='ravdess_emodb',
    title='RAVDESS to EMO-DB: four classes',
    corpora=('ravdess', 'emodb'),
    changes={
        'data.labels': 'four',
        'protocol.name': 'source_target',
        'protocol.source': ('ravdess',),
        'protocol.target': ('emodb',),
    },
    unseen='corpus',
    counts={
        'ravdess': {
            'angry': 192,
            'happy': 192,
            'neutral': 96,
            'sad': 192,
        },
        'emodb': {
            'angry': 127,
            'happy': 71,
            'neutral': 79,
            'sad': 62,
        },
    },
    split_sha256='1fff0fd3dccfa75a31f0d6f22cea8a3bbd628d73c8abb783d573269284c31c72',
    allowed_in_training=ALLOWED_FROM_SOURCE,
)
