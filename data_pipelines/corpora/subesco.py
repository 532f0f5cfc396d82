"""SUBESCO: twenty Bangla actors, ten sentences, seven emotions, five takes.

Layout: `F_01_OISHI_S_10_ANGRY_1.wav`, which is speaker (sex, number and name), sentence, emotion
and take. One file is released as `F_02_MONIKA_S_2_SURPRISE_3].wav`.

Source: S. Sultana, M. S. Rahman, M. R. Selim, M. Z. Iqbal (2021), SUST Bangla Emotional Speech
Corpus (SUBESCO), PLoS ONE 16(4).
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = ('angry', 'disgust', 'fear', 'happy', 'neutral', 'sad', 'surprise')
FILE_PATTERN = rf'([FM]_\d\d)_[A-Z]+_S_(\d+)_({"|".join(EMOTIONS).upper()})_\d\]?'


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`."""
    utterances = []
    for path, match in audio_files.find_audio_files(
        root, FILE_PATTERN, 'F_01_OISHI_S_10_ANGRY_1.wav'
    ):
        speaker, sentence, emotion = match.groups()
        utterance = Utterance(
            name=path.stem,
            path=path,
            speaker=speaker,
            emotion=emotion.lower(),
            language='bn',
            corpus='subesco',
            sex='female' if speaker.startswith('F') else 'male',
            sentence=sentence,
            style='acted',
        )
        utterances.append(utterance)
    return utterances


CORPUS = Corpus(
    name='subesco',
    title='SUBESCO',
    languages=('bn',),
    speakers=20,
    expected_counts=(dict.fromkeys(EMOTIONS, 1000),),
    licence='CC BY 4.0',
    homepage='https://zenodo.org/records/4526477',
    walk=walk,
)
