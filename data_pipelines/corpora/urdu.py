"""URDU: clips of Urdu television talk shows in four emotions; `Angry/SM1_F10_A010.wav`.

S. Latif, A. Qayyum, M. Usman, J. Qadir (2018), Cross Lingual Speech Emotion Recognition: Urdu vs. Western Languages, FIT. It
speaks of 38 speakers; the names of the release tell 29 apart, and those are what is used. 26 of them have one emotion only.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = {'A': 'angry', 'H': 'happy', 'N': 'neutral', 'S': 'sad'}


def walk(root: Path) -> list[Utterance]:
    """The utterances below `root`; a name is speaker (SM a man, SF a woman), file, emotion with its number."""
    return [
        Utterance(
            name=path.stem,
            path=path,
            speaker=m[1],
            emotion=EMOTIONS[m[2]],
            language='ur',
            corpus='urdu',
            sex='male' if m[1].startswith('SM') else 'female',
            style='natural',
        )
        for path, m in audio_files.find_audio_files(
            root, r'(S[MF]\d+)_F\d+_([AHNS])\d+', 'Angry/SM1_F10_A010.wav'
        )
    ]


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
