"""MSP-Podcast, ratings as numbers, official parts."""

from data_pipelines.tasks import BenchmarkTask

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
    notes=(
        'Test1 of the release is tested, and Development is dev. Utterances of unknown '
        'speakers are in training only. Releases differ in size: name yours with results. The '
        'challenge of Interspeech 2025 had this task, with a test part whose labels are not '
        'public: its figures are of other utterances.'
    ),
)
