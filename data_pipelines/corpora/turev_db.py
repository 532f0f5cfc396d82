"""TurEV-DB: six Turkish speakers, single words, four emotions.

Layout: `Sound Source/Angry/1157_kz_acik.wav`, which is speaker, emotion and word. Two speakers lack
words: 1157 has only angry and sad ones. The names do not tell the speakers' sex.

Source: S. F. Canpolat, Z. Ormanoğlu, D. Zeyrek (2020), Turkish Emotion Voice Database (TurEV-DB),
Proceedings of SLTU-CCURL.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = {'hl': 'sad', 'kz': 'angry', 'mt': 'happy', 'sk': 'calm'}
FILE_PATTERN = rf'(\d{{4}})_({"|".join(EMOTIONS)})_(\w+)'


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`."""
    utterances = []
    for path, match in audio_files.find_audio_files(
        root, FILE_PATTERN, 'Sound Source/Angry/1157_kz_acik.wav'
    ):
        speaker, emotion, word = match.groups()
        utterance = Utterance(
            name=path.stem,
            path=path,
            speaker=speaker,
            emotion=EMOTIONS[emotion],
            language='tr',
            corpus='turev_db',
            sentence=word,
            style='acted',
        )
        utterances.append(utterance)
    return utterances


CORPUS = Corpus(
    name='turev_db',
    title='TurEV-DB',
    languages=('tr',),
    speakers=6,
    expected_counts=({'angry': 487, 'calm': 408, 'happy': 357, 'sad': 483},),
    licence='see its homepage',
    homepage='https://github.com/Xeonen/TurEV-DB',
    walk=walk,
)
