"""From EMO-DB to RAVDESS; four shared classes."""

from data_pipelines.tasks import ALLOWED_FROM_SOURCE, BenchmarkTask

TASK = BenchmarkTask(
    name='emodb_ravdess',
    title='EMO-DB to RAVDESS: four classes',
    corpora=('emodb', 'ravdess'),
    changes={
        'data.labels': 'four',
        'protocol.name': 'source_target',
        'protocol.source': ('emodb',),
        'protocol.target': ('ravdess',),
    },
    unseen='corpus',
    counts={
        'emodb': {
            'angry': 127,
            'happy': 71,
            'neutral': 79,
            'sad': 62,
        },
        'ravdess': {
            'angry': 192,
            'happy': 192,
            'neutral': 96,
            'sad': 192,
        },
    },
    split_sha256='2803f7ab5d1b95e95a1c9339f121cff678f4ad353a2263f64f2df39d644853c7',
    allowed_in_training=ALLOWED_FROM_SOURCE,
)
