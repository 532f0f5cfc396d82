"""ESD, its ten English speakers, five classes, five folds by speaker."""

from data_pipelines.tasks import BenchmarkTask, _notes

TASK = BenchmarkTask(
    name='esd_english',
    title='ESD: English, five classes, by speaker',
    corpora=('esd',),
    changes={
        'data.labels': 'native',
        'protocol.name': 'speaker_folds',
        'protocol.folds': 5,
        'data.only': 'language=en',
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
    split_sha256='f7fc7426a1ffeb08e79c73e85f0cdd3c8a4e38668a0a3b02b8c844389ce7cfcd',
    notes=_notes.ESD,
)
