"""RAVDESS, its speech, eight classes, six folds by speaker and sentence."""

from data_pipelines.tasks import BenchmarkTask

TASK = BenchmarkTask(
    name='ravdess_speaker_sentence',
    title='RAVDESS: eight classes, by speaker and sentence',
    corpora=('ravdess',),
    changes={
        'data.labels': 'native',
        'protocol.name': 'speaker_sentence_folds',
        'protocol.folds': 6,
    },
    unseen='speakers, sentences',
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
    split_sha256='3cd8f1979d8d08ed5d9d4ddb1bc90f62cb58fbb9d4f79c324e7cc85b36c0b2ff',
    notes=(
        'Each speaker is tested with one of the two sentences, so that 720 utterances are '
        'tested. Dev speakers say the training sentence.'
    ),
)
