"""From EMO-DB to CASIA; five shared classes."""

from data_pipelines.tasks import ALLOWED_FROM_SOURCE, BenchmarkTask, _notes

TASK = BenchmarkTask(
    name='emodb_casia',
    title='EMO-DB to CASIA: five classes',
    corpora=('emodb', 'casia'),
    changes={
        'data.labels': 'emodb_casia',
        'protocol.name': 'source_target',
        'protocol.source': ('emodb',),
        'protocol.target': ('casia',),
    },
    unseen='corpus',
    counts={
        'emodb': {
            'angry': 127,
            'fear': 69,
            'happy': 71,
            'neutral': 79,
            'sad': 62,
        },
        'casia': {
            'angry': 200,
            'fear': 200,
            'happy': 200,
            'neutral': 200,
            'sad': 200,
        },
    },
    split_sha256='0d47dca9a6bde18dc819bd603a1c2404022476d47e9a1c55ec63739560b9b8c7',
    allowed_in_training=ALLOWED_FROM_SOURCE,
    notes=_notes.DIDAN,
)
