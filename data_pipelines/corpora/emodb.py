"""Berlin EMO-DB: ten German actors, ten sentences, seven emotions; `wav/03a01Fa.wav`.

F. Burkhardt, A. Paeschke, M. Rolfes, W. Sendlmeier, B. Weiss (2005), A database of German emotional speech, Interspeech.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = {
    'W': 'angry',
    'L': 'bored',
    'E': 'disgust',
    'A': 'fear',
    'F': 'happy',
    'T': 'sad',
    'N': 'neutral',
}
MALE_SPEAKERS = {'03', '10', '11', '12', '15'}  # the others, 08 09 13 14 16, are women


def walk(root: Path) -> list[Utterance]:
    """The utterances below `root`; a name is speaker, sentence, emotion, version."""
    return [
        Utterance(
            name=path.stem,
            path=path,
            speaker=m[1],
            emotion=EMOTIONS[m[3]],
            language='de',
            corpus='emodb',
            sex='male' if m[1] in MALE_SPEAKERS else 'female',
            sentence=m[2],
            style='acted',
        )
        for path, m in audio_files.find_audio_files(
            root, r'(\d\d)([ab]\d\d)([WLEAFTN])[a-z]', 'wav/03a01Fa.wav'
        )
    ]


CORPUS = Corpus(
    name='emodb',
    title='EMO-DB',
    languages=('de',),
    speakers=10,
    expected_counts=(
        {
            'angry': 127,
            'bored': 81,
            'disgust': 46,
            'fear': 69,
            'happy': 71,
            'sad': 62,
            'neutral': 79,
        },
    ),
    licence='free for research',
    homepage='http://emodb.bilderbar.info',
    walk=walk,
)
