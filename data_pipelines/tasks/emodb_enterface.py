"""From EMO-DB to eNTERFACE'05; five shared classes."""

from data_pipelines.tasks import ALLOWED_FROM_SOURCE, BenchmarkTask, _notes

TASK = BenchmarkTask(
    name='emodb_enterface',
    title="EMO-DB to eNTERFACE'05: five classes",
    corpora=('emodb', 'enterface'),
    changes={
        'data.labels': 'emodb_enterface',
        'data.only': 'speaker!=enterface/6',
        'protocol.name': 'source_target',
        'protocol.source': ('emodb',),
        'protocol.target': ('enterface',),
    },
    unseen='corpus',
    counts={
        'emodb': {
            'angry': 127,
            'disgust': 46,
            'fear': 69,
            'happy': 71,
            'sad': 62,
        },
        'enterface': {
            'angry': 210,
            'disgust': 210,
            'fear': 210,
            'happy': 207,
            'sad': 210,
        },
    },
    split_sha256='dd609e62e3c38854f75e042c9444e76c1d0a65ff66814a002daabd630cec569a',
    allowed_in_training=ALLOWED_FROM_SOURCE,
    notes=f'{_notes.ENTERFACE} {_notes.DIDAN}',
)
