"""The words for emotions that all corpora share, and the label spaces that a run may train on."""

from data_pipelines.refusal import Refusal

EMOTIONS = (
    'angry', 'anxious', 'apologetic', 'assertive', 'bored', 'calm', 'concerned', 'contempt', 'disgust', 'encouraging', 'excited',
    'fear', 'frustrated', 'happy', 'neutral', 'other', 'sad', 'surprise', 'undecided',
)  # fmt: skip

SPACES = {
    'native': {e: e for e in EMOTIONS if e not in ('other', 'undecided')},
    # The four classes of IEMOCAP's literature: excited counts as happy.
    'four': {'angry': 'angry', 'happy': 'happy', 'excited': 'happy', 'neutral': 'neutral', 'sad': 'sad'},
}


def space(name: str) -> dict[str, str]:
    """The map from a corpus's emotion to a class of the label space `name`; what it lacks has no label there."""
    if name not in SPACES:
        raise Refusal(f'There is no label space {name!r}; known are {", ".join(SPACES)}.')
    return SPACES[name]
