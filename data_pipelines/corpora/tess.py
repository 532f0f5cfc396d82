"""TESS: two Canadian women aged 26 and 64, 200 words in "Say the word ...", seven emotions.

Layout: `OAF_angry/OAF_back_angry.wav`, which is speaker (OAF the older, YAF the younger), word and
emotion. One file is released as `OA_bite_neutral.wav`. Two speakers are too few for a split into
train, dev and test by speaker.

Source: K. Dupuis, M. K. Pichora-Fuller (2010), Toronto emotional speech set, University of Toronto.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = {
    'angry': 'angry',
    'disgust': 'disgust',
    'fear': 'fear',
    'happy': 'happy',
    'neutral': 'neutral',
    'sad': 'sad',
    'ps': 'surprise',  # pleasant surprise
}
FILE_PATTERN = rf'(OA|YA)F?_([a-z]+)_({"|".join(EMOTIONS)})'


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`."""
    utterances = []
    for path, match in audio_files.find_audio_files(
        root, FILE_PATTERN, 'OAF_angry/OAF_back_angry.wav'
    ):
        speaker, word, emotion = match.groups()
        utterance = Utterance(
            name=path.stem,
            path=path,
            speaker=f'{speaker}F',
            emotion=EMOTIONS[emotion],
            language='en',
            corpus='tess',
            sex='female',
            sentence=word,
            style='acted',
        )
        utterances.append(utterance)
    return utterances


CORPUS = Corpus(
    name='tess',
    title='TESS',
    languages=('en',),
    speakers=2,
    expected_counts=(dict.fromkeys(EMOTIONS.values(), 400),),
    licence='CC BY-NC-ND 4.0',
    homepage='https://tspace.library.utoronto.ca/handle/1807/24487',
    walk=walk,
)
