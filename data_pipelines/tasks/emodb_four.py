"""EMO-DB, four classes, five folds by speaker."""

from data_pipelines.tasks import BenchmarkTask

TASK = BenchmarkTask(
    name='emodb_four',
    title='EMO-DB: four classes, by speaker',
    corpora=('emodb',),
    changes={
        'data.labels': 'four',
        'protocol.name': 'speaker_folds',
        'protocol.folds': 5,
    },
    unseen='speakers',
    counts={
        'emodb': {
            'angry': 127,
            'happy': 71,
            'neutral': 79,
            'sad': 62,
        },
    },
    split_sha256='346b460d01b353a75b3e09aeae68c7ea95ee9303db145517bdd4a13eb279458a',
)
