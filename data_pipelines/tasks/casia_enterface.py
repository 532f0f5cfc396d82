"""From CASIA to eNTERFACE'05; five shared classes."""

from data_pipelines.tasks import ALLOWED_FROM_SOURCE, BenchmarkTask, _notes

TASK = BenchmarkTask(
    name='casia_enterface',
    title="CASIA to eNTERFACE'05: five classes",
    corpora=('casia', 'enterface'),
    changes={
        'data.labels': 'enterface_casia',
        'data.only': 'speaker!=enterface/6',
        'protocol.name': 'source_target',
        'protocol.source': ('casia',),
        'protocol.target': ('enterface',),
    },
    unseen='corpus',
    counts={
        'casia': {
            'angry': 200,
            'fear': 200,
            'happy': 200,
            'sad': 200,
            'surprise': 200,
        },
        'enterface': {
            'angry': 210,
            'fear': 210,
            'happy': 207,
            'sad': 210,
            'surprise': 210,
        },
    },
    split_sha256='92566cefbf98605525d5c9099c12045b6c19634dcf07acf55b774961d08c0a72',
    allowed_in_training=ALLOWED_FROM_SOURCE,
    notes=f'{_notes.ENTERFACE} {_notes.DIDAN}',
)
