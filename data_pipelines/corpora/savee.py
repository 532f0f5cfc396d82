"""SAVEE: four English men, 120 TIMIT sentences each, seven emotions; `AudioData/DC/a01.wav`, in other copies `DC_a01.wav`.

S. Haq, P. J. B. Jackson (2009), Speaker-dependent audio-visual emotion recognition, AVSP.
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


def walk(root: Path) -> list[Utterance]:
    """The utterances below `root`; a name is emotion and number, after the speaker or in a folder that is the speaker.

    The number counts the sentences of an emotion, the same for all four men.
    """
    return [
        Utterance(
            name=f'{m[1]}_{m[2]}{m[3]}',
            path=path,
            speaker=m[1],
            emotion=EMOTIONS[m[2]],
            language='en',
            corpus='savee',
            sex='male',
            sentence=m[2] + m[3],
            style='acted',
        )
        for path, m in audio_files.find_audio_files(
            root,
            r'(?:.*/)?(DC|JE|JK|KL)[/_](a|d|f|h|n|sa|su)(\d\d)',
            'AudioData/DC/a01.wav or DC_a01.wav',
            parent_count=1,
        )
    ]


CORPUS = Corpus(
    name='savee',
    title='SAVEE',
    languages=('en',),
    speakers=4,
    expected_counts=({e: 120 if e == 'neutral' else 60 for e in EMOTIONS.values()},),
    licence='free for research, on registration',
    homepage='http://kahlan.eps.surrey.ac.uk/savee/',
    walk=walk,
)
