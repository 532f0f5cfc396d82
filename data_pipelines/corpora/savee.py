"""SAVEE: four English men, 120 TIMIT sentences each, seven emotions.

Layout: `AudioData/DC/a01.wav` or `DC_a01.wav`, which is speaker, emotion and number. The number
counts the sentences of an emotion, which are the same for all four men.

Source: S. Haq, P. J. B. Jackson (2009), Speaker-dependent audio-visual emotion recognition, AVSP.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = {
    'a': 'angry',
    'd': 'disgust',
    'f': 'fear',
    'h': 'happy',
    'n': 'neutral',
    'sa': 'sad',
    'su': 'surprise',
}
FILE_PATTERN = rf'(?:.*/)?(DC|JE|JK|KL)[/_]({"|".join(EMOTIONS)})(\d\d)'
COUNTS = dict.fromkeys(EMOTIONS.values(), 60) | {'neutral': 120}


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`."""
    files = audio_files.find_audio_files(
        root, FILE_PATTERN, 'AudioData/DC/a01.wav or DC_a01.wav', parent_count=1
    )
    utterances = []
    for path, match in files:
        speaker, emotion, number = match.groups()
        utterance = Utterance(
            name=f'{speaker}_{emotion}{number}',
            path=path,
            speaker=speaker,
            emotion=EMOTIONS[emotion],
            language='en',
            corpus='savee',
            sex='male',
            sentence=emotion + number,
            style='acted',
        )
        utterances.append(utterance)
    return utterances


CORPUS = Corpus(
    name='savee',
    title='SAVEE',
    languages=('en',),
    speakers=4,
    expected_counts=(COUNTS,),
    licence='free for research, on registration',
    homepage='http://kahlan.eps.surrey.ac.uk/savee/',
    walk=walk,
)
