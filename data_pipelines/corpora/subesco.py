"""SUBESCO: twenty Bangla actors, ten sentences, seven emotions, five takes; `F_01_OISHI_S_10_ANGRY_1.wav`.

S. Sultana, M. S. Rahman, M. R. Selim, M. Z. Iqbal (2021), SUST Bangla Emotional Speech Corpus (SUBESCO), PLoS ONE 16(4).
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = {
    e.upper(): e for e in ('angry', 'disgust', 'fear', 'happy', 'neutral', 'sad', 'surprise')
}


def walk(root: Path) -> list[Utterance]:
    """The utterances below `root`; a name is speaker with sex and name, sentence, emotion, take.

    One is released as `F_02_MONIKA_S_2_SURPRISE_3]`.
    """
    return [
        Utterance(
            name=path.stem,
            path=path,
            speaker=m[1],
            emotion=EMOTIONS[m[3]],
            language='bn',
            corpus='subesco',
            sex='female' if m[1].startswith('F') else 'male',
            sentence=m[2],
            style='acted',
        )
        for path, m in audio_files.find_audio_files(
            root,
            rf'([FM]_\d\d)_[A-Z]+_S_(\d+)_({"|".join(EMOTIONS)})_\d\]?',
            'F_01_OISHI_S_10_ANGRY_1.wav',
        )
    ]


CORPUS = Corpus(
    name='subesco',
    title='SUBESCO',
    languages=('bn',),
    speakers=20,
    expected_counts=(dict.fromkeys(EMOTIONS.values(), 1000),),
    licence='CC BY 4.0',
    homepage='https://zenodo.org/records/4526477',
    walk=walk,
)
