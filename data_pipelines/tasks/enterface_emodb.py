"""From eNTERFACE'05 to EMO-DB; five shared classes."""

from data_pipelines.tasks import ALLOWED_FROM_SOURCE, BenchmarkTask, _notes

TASK = BenchmarkTask(
    name='enterface_emodb',
    title="eNTERFACE'05 to EMO-DB: five classes",
    corpora=('enterface', 'emodb'),
    changes={
        'data.labels': 'emodb_enterface',
        'data.only': 'speaker!=enterface/6',
        'protocol.name': 'source_target',
        'protocol.source': ('enterface',),
        'protocol.target': ('emodb',),
    },
    unseen='corpus',
    counts={
        'enterface': {
            'angry': 210,
            'disgust': 210,
            'fear': 210,
            'happy': 207,
            'sad': 210,
        },
        'emodb': {
            'angry': 127,
            'disgust': 46,
            'fear': 69,
            'happy': 71,
            'sad': 62,
        },
    },
    split_sha256='5bba3a3782074d58ef8f5f9ef46ab8728640225c259564884c19f0d19cf1fa8b',
    allowed_in_training=ALLOWED_FROM_SOURCE,
    notes=f'{_notes.ENTERFACE} {_notes.DIDAN}',
)
