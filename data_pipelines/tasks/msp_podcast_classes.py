"""MSP-Podcast, eight classes, official parts."""

from data_pipelines.tasks import BenchmarkTask

TASK = BenchmarkTask(
    name='msp_podcast_classes',
    title='MSP-Podcast: eight classes, official parts',
    corpora=('msp_podcast',),
    changes={
        'data.labels': 'native',
        'protocol.name': 'official',
    },
    unseen='speakers (official)',
    counts=None,
    split_sha256=None,
    measure='macro-F1',
    notes=(
        'Test1 of the release is tested, and Development is dev. Utterances of unknown '
        'speakers are in training only. Releases differ in size: name yours with results. The '
        'challenge of Interspeech 2025 had this task, with a test part whose labels are not '
        'public: its figures are of other utterances.'
    ),
)
