"""From CASIA to EMO-DB; five shared classes."""

from data_pipelines.tasks import ALLOWED_FROM_SOURCE, BenchmarkTask, _notes

TASK = BenchmarkTask(
    name='casia_emodb',
    title='CASIA to EMO-DB: five classes',
    corpora=('casia', 'emodb'),
    changes={
        'data.labels': 'emodb_casia',
        'protocol.name': 'source_target',
        'protocol.source': ('casia',),
        'protocol.target': ('emodb',),
    },
    unseen='corpus',
    counts={
        'casia': {
            'angry': 200,
            'fear': 200,
            'happy': 200,
            'neutral': 200,
            'sad': 200,
        },
        'emodb': {
            'angry': 127,
            'fear': 69,
            'happy': 71,
            'neutral': 79,
            'sad': 62,
        },
    },
    split_sha256='94e7d5e7ca50a6c57cf9266c4dde9c0ce1875dad5bf16e67c2a0fb8c067e1b27',
    allowed_in_training=ALLOWED_FROM_SOURCE,
    notes=_notes.DIDAN,
)
