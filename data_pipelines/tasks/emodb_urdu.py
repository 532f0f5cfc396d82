"""From EMO-DB to URDU; four shared classes."""

from data_pipelines.tasks import ALLOWED_FROM_SOURCE, BenchmarkTask, _notes

TASK = BenchmarkTask(
    name='emodb_urdu',
    title='EMO-DB to URDU: four classes',
    corpora=('emodb', 'urdu'),
    changes={
        'data.labels': 'four',
        'protocol.name': 'source_target',
        'protocol.source': ('emodb',),
        'protocol.target': ('urdu',),
    },
    unseen='corpus',
    counts={
        'emodb': {
            'angry': 127,
            'happy': 71,
            'neutral': 79,
            'sad': 62,
        },
        'urdu': {
            'angry': 100,
            'happy': 100,
            'neutral': 100,
            'sad': 100,
        },
    },
    split_sha256='5941e7b44b468f5f0d8774f7de62f9d2d10d3438339e5f3e79a5255bdca49abe',
    allowed_in_training=ALLOWED_FROM_SOURCE,
    notes=_notes.URDU,
)
