"""EMO-DB, four classes, five folds by sentence: the speakers are shared."""

from data_pipelines.tasks import BenchmarkTask

TASK = BenchmarkTask(
    name='emodb_sentence',
    title='EMO-DB: four classes, by sentence',
    corpora=('emodb',),
    changes={
        'data.labels': 'four',
        'protocol.name': 'sentence_folds',
        'protocol.folds': 5,
    },
    unseen='sentences',
    counts={
        'emodb': {
            'angry': 127,
            'happy': 71,
            'neutral': 79,
            'sad': 62,
        },
    },
    split_sha256='4534ca259dcf624e726e8abb4f745c46cff8560bb04c79f6d88f840902683ae8',
    notes='Test speakers are training speakers: results say nothing about new speakers.',
)
