"""URDU: clips of Urdu television talk shows, four emotions.

Layout: `Angry/SM1_F10_A010.wav`, which is speaker (SM for a man, SF for a woman), file, and emotion
with its number. The paper says 38 speakers; the names in the release distinguish 29, and these are
used. 26 of the speakers have only one emotion.

Source: S. Latif, A. Qayyum, M. Usman, J. Qadir (2018), Cross Lingual Speech Emotion Recognition:
Urdu vs. Western Languages, FIT.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = {'A': 'angry', 'H': 'happy', 'N': 'neutral', 'S': 'sad'}
FILE_PATTERN = r'(S[MF]\d+)_F\d+_([AHNS])\d+'


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`."""
    utterances = []
    for path, match in audio_files.find_audio_files(root, FILE_PATTERN, 'Angry/SM1_F10_A010.wav'):
        speaker, emotion = match.groups()
        utterance = Utterance(
            name=path.stem,
            path=path,
            speaker=speaker,
            emotion=EMOTIONS[emotion],
            language='ur',
            corpus='urdu',
            sex='male' if speaker.startswith('SM') else 'female',
            style='natural',
        )
        utterances.append(utterance)
    return utterances


CORPUS = Corpus(
    name='urdu',
    title='URDU',
    languages=('ur',),
    speakers=29,
    expected_counts=(dict.fromkeys(EMOTIONS.values(), 100),),
    licence='research only',
    homepage='https://github.com/siddiquelatif/URDU-Dataset',
    walk=walk,
)
