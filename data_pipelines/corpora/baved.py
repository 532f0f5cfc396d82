"""BAVED: seven Arabic words by some 60 speakers at three levels of emotion.

Layout: `0/12-m-21-0-2-106.wav`, which is speaker, sex, age, word, level and a running number; the
folder is the word. The levels are no emotions: 0 is tired or down, 1 is everyday speech, 2 is any
strong emotion. They are the classes low, normal and high of the label space native, and ratings of
arousal (-1, 0 and 1), so that `rated_arousal` compares low and high. Speakers 46 and 53 are one
person and are the speaker 46 here; their recordings are copies, which the audit lists.

Source: A. Aouf (2019), Basic Arabic Vocal Emotions Dataset, on its homepage.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

LEVELS = {'0': 'low', '1': 'normal', '2': 'high'}
AROUSAL = {'low': -1.0, 'normal': 0.0, 'high': 1.0}
SEXES = {'f': 'female', 'm': 'male'}
SAME_SPEAKER = {'53': '46'}
FILE_PATTERN = r'(\d+)-([fm])-\d+-([0-6])-([0-2])-\d+'


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`."""
    utterances = []
    for path, match in audio_files.find_audio_files(root, FILE_PATTERN, '0/12-m-21-0-2-106.wav'):
        speaker, sex, word, level = match.groups()
        emotion = LEVELS[level]
        utterance = Utterance(
            name=path.stem,
            path=path,
            speaker=SAME_SPEAKER.get(speaker, speaker),
            emotion=emotion,
            language='ar',
            corpus='baved',
            sex=SEXES[sex],
            sentence=word,
            style='acted',
            arousal=AROUSAL[emotion],
        )
        utterances.append(utterance)
    return utterances


CORPUS = Corpus(
    name='baved',
    title='BAVED',
    languages=('ar',),
    speakers=59,
    expected_counts=({'low': 585, 'normal': 672, 'high': 678},),
    licence='see its homepage',
    homepage='https://github.com/40uf411/Basic-Arabic-Vocal-Emotions-Dataset',
    walk=walk,
)
