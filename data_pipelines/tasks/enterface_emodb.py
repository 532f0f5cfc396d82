"""From eNTERFACE'05 to EMO-DB; five shared classes."""

from data_pipelines.tasks import HEARD_OF_SOURCE, BenchmarkTask

TASK = BenchmarkTask(
    name='enterface_emodb',
    title="eNTERFACE'05 to EMO-DB: five classes",
    corpora=('enterface', 'emodb'),
    changes={
        'data.labels': 'emodb_enterface',
        'data.only': 'speaker!=enterface/6',
        'protocol.name': 'source_target',
        'protocol.source': ('enterface',),
        'protocol.target': ('emodb',),
    },
    unseen='corpus',
    counts={
        'enterface': {
            'angry': 210,
            'disgust': 210,
            'fear': 210,
            'happy': 207,
            'sad': 210,
        },
        'emodb': {
            'angry': 127,
            'disgust': 46,
            'fear': 69,
            'happy': 71,
            'sad': 62,
        },
    },
    split_sha256='5bba3a3782074d58ef8f5f9ef46ab8728640225c259564884c19f0d19cf1fa8b',
    heard=HEARD_OF_SOURCE,
    notes=(
        "Subject 6 of eNTERFACE'05 is left out: three releases differ in this subject only, "
        'and so have the same split. Published results on the pairs of DIDAN (arXiv '
        '2302.08921) adapt to the target without its labels: this task does not.'
    ),
)
