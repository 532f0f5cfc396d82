"""RAVDESS, its speech, eight classes, five folds by speaker."""

from data_pipelines.tasks import BenchmarkTask

TASK = BenchmarkTask(
    name='ravdess_speaker',
    title='RAVDESS: eight classes, by speaker',
    corpora=('ravdess',),
    changes={
        'data.labels': 'native',
        'protocol.name': 'speaker_folds',
        'protocol.folds': 5,
    },
    unseen='speakers',
    counts={
        'ravdess': {
            'angry': 192,
            'calm': 192,
            'disgust': 192,
            'fear': 192,
            'happy': 192,
            'neutral': 96,
            'sad': 192,
            'surprise': 192,
        },
    },
    split_sha256='84df37df7b0f7fb430ace2e0d9816b8e14f822a6eea9f64ebc0b89b0331e764c',
    notes=(
        'The release has one recording twice, 03-01-03-01-02-01-07 and 03-01-03-01-02-02-07. '
        'Both are of one speaker, so in one part, and both count.'
    ),
)
