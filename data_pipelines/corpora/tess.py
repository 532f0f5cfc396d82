"""TESS: two Canadian women of 26 and 64 years, 200 words in "Say the word ...", seven emotions; `OAF_angry/OAF_back_angry.wav`.

K. Dupuis, M. K. Pichora-Fuller (2010), Toronto emotional speech set, University of Toronto. One file is released as
OA_bite_neutral. Two speakers cannot be divided into train, dev and test.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = {e: e for e in ('angry', 'disgust', 'fear', 'happy', 'neutral', 'sad')} | {
    'ps': 'surprise'
}


def walk(root: Path) -> list[Utterance]:
    """The utterances below `root`; a name is speaker (the older, OAF, or the younger, YAF), word, emotion."""
    return [
        Utterance(
            name=path.stem,
            path=path,
            speaker=f'{m[1]}F',
            emotion=EMOTIONS[m[3]],
            language='en',
            corpus='tess',
            sex='female',
            sentence=m[2],
            style='acted',
        )
        for path, m in audio_files.find_audio_files(
            root, rf'(OA|YA)F?_([a-z]+)_({"|".join(EMOTIONS)})', 'OAF_angry/OAF_back_angry.wav'
        )
    ]


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
