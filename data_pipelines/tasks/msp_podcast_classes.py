"""MSP-Podcast, eight classes, official parts."""

from data_pipelines.tasks import BenchmarkTask, _notes

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
    notes=_notes.MSP_PODCAST,
)
