"""CREMA-D, six classes, five folds by speaker."""

from data_pipelines.tasks import BenchmarkTask

TASK = BenchmarkTask(
    name='crema_d_speaker',
    title='CREMA-D: six classes, by speaker',
    corpora=('crema_d',),
    changes={
        'data.labels': 'native',
        'protocol.name': 'speaker_folds',
        'protocol.folds': 5,
    },
    unseen='speakers',
    counts={
        'crema_d': {
            'angry': 1271,
            'disgust': 1271,
            'fear': 1271,
            'happy': 1271,
            'neutral': 1087,
            'sad': 1270,
        },
    },
    split_sha256='ef1df8caf565437e176f3f8713f5d3cbd506b395151924783096c7c36b144fb3',
    excluded=('1076_MTI_SAD_XX',),
    notes=(
        "The sexes, by which the folds are balanced, are read from the release's "
        'VideoDemographics.csv: put it into the folder that has AudioWAV.'
    ),
)
