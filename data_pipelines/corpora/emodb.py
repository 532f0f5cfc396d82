"""Berlin EMO-DB: ten German actors, ten sentences, seven emotions.

Layout: `wav/03a01Fa.wav`, which is speaker, sentence, emotion and version.

Source: F. Burkhardt, A. Paeschke, M. Rolfes, W. Sendlmeier, B. Weiss (2005), A database of German
emotional speech, Interspeech.
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
FILE_PATTERN = r'(\d\d)([ab]\d\d)([WLEAFTN])[a-z]'
MALE_SPEAKERS = {'03', '10', '11', '12', '15'}  # the others, 08 09 13 14 16, are women
COUNTS = {
    'angry': 127,
    'bored': 81,
    'disgust': 46,
    'fear': 69,
    'happy': 71,
    'sad': 62,
    'neutral': 79,
}


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`."""
    utterances = []
    for path, match in audio_files.find_audio_files(root, FILE_PATTERN, 'wav/03a01Fa.wav'):
        speaker, sentence, emotion = match.groups()
        utterance = Utterance(
            name=path.stem,
            path=path,
            speaker=speaker,
            emotion=EMOTIONS[emotion],
            language='de',
            corpus='emodb',
            sex='male' if speaker in MALE_SPEAKERS else 'female',
            sentence=sentence,
            style='acted',
        )
        utterances.append(utterance)
    return utterances


CORPUS = Corpus(
    name='emodb',
    title='EMO-DB',
    languages=('de',),
    speakers=10,
    expected_counts=(COUNTS,),
    licence='free for research',
    homepage='http://emodb.bilderbar.info',
    newer_releases=((816, 'EMO-DB 2.0'),),
    walk=walk,
)
