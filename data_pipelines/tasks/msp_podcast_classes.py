"""MSP-Podcast, eight classes, official parts (challenge of Interspeech 2025)."""

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
        'speakers are in training only. Releases differ in size: name yours with results.'
    ),
)
