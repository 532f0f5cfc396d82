"""ESD, its ten Mandarin speakers, five classes, five folds by speaker."""

from data_pipelines.tasks import BenchmarkTask, _notes

TASK = BenchmarkTask(
    name='esd_mandarin',
    title='ESD: Mandarin, five classes, by speaker',
    corpora=('esd',),
    changes={
        'data.labels': 'native',
        'protocol.name': 'speaker_folds',
        'protocol.folds': 5,
        'data.only': 'language=zh',
    },
    unseen='speakers',
    counts={
        'esd': {
            'angry': 3500,
            'happy': 3500,
            'neutral': 3500,
            'sad': 3500,
            'surprise': 3500,
        },
    },
    split_sha256='93be8d72eb436633ff38bd131f9c3b6a50f79584b00282615b8736856b27f4fa',
    notes=_notes.ESD,
)
