"""EMO-DB, all seven classes, five folds by speaker."""

from data_pipelines.tasks import BenchmarkTask

TASK = BenchmarkTask(
    name='emodb_seven',
    title='EMO-DB: seven classes, by speaker',
    corpora=('emodb',),
    changes={
        'data.labels': 'native',
        'protocol.name': 'speaker_folds',
        'protocol.folds': 5,
    },
    unseen='speakers',
    counts={
        'emodb': {
            'angry': 127,
            'bored': 81,
            'disgust': 46,
            'fear': 69,
            'happy': 71,
            'neutral': 79,
            'sad': 62,
        },
    },
    split_sha256='6b71045c4449bfc6a9a6bca8dba9e32f6c9e15f01c89f2e6bcc1e4392c20939e',
)
