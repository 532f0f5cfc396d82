"""MSP-Podcast, ratings as numbers, official parts."""

from data_pipelines.tasks import BenchmarkTask, _notes

TASK = BenchmarkTask(
    name='msp_podcast_ratings',
    title='MSP-Podcast: arousal, valence and dominance, official parts',
    corpora=('msp_podcast',),
    changes={
        'protocol.name': 'official',
    },
    unseen='speakers (official)',
    counts=None,
    split_sha256=None,
    task='ratings',
    ratings=('arousal', 'valence', 'dominance'),
    measure='ccc',
    notes=_notes.MSP_PODCAST,
)
