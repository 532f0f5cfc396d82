"""IEMOCAP, four classes (happy with excited), one session left out in each of five folds."""

from data_pipelines.tasks import BenchmarkTask

TASK = BenchmarkTask(
    name='iemocap_four',
    title='IEMOCAP: four classes, by session',
    corpora=('iemocap',),
    changes={
        'data.labels': 'four',
        'protocol.name': 'leave_one_session_out',
    },
    unseen='sessions',
    counts={
        'iemocap': {
            'angry': 1103,
            'happy': 1636,
            'neutral': 1708,
            'sad': 1084,
        },
    },
    split_sha256=None,
    notes=(
        'happy has the utterances of excited. The next session is dev. The hash depends on '
        'the order of the lines in EmoEvaluation.'
    ),
)
