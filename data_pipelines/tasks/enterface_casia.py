"""From eNTERFACE'05 to CASIA; five shared classes."""

from data_pipelines.tasks import ALLOWED_FROM_SOURCE, BenchmarkTask, _notes

TASK = BenchmarkTask(
    name='enterface_casia',
    title="eNTERFACE'05 to CASIA: five classes",
    corpora=('enterface', 'casia'),
    changes={
        'data.labels': 'enterface_casia',
        'data.only': 'speaker!=enterface/6',
        'protocol.name': 'source_target',
        'protocol.source': ('enterface',),
        'protocol.target': ('casia',),
    },
    unseen='corpus',
    counts={
        'enterface': {
            'angry': 210,
            'fear': 210,
            'happy': 207,
            'sad': 210,
            'surprise': 210,
        },
        'casia': {
            'angry': 200,
            'fear': 200,
            'happy': 200,
            'sad': 200,
            'surprise': 200,
        },
    },
    split_sha256='c1ec974ce1adc2a50cd499c1305177c98d03e64f572165c523979543fe393246',
    allowed_in_training=ALLOWED_FROM_SOURCE,
    notes=f'{_notes.ENTERFACE} {_notes.DIDAN}',
)
