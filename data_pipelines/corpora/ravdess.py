"""RAVDESS, its speech: 24 North American actors, two sentences, eight emotions.

Layout: `Actor_01/03-01-06-01-02-01-12.wav`, which is modality, vocal channel, emotion, intensity,
statement, repetition and actor. Actors with odd numbers are men. The release also has films
(modalities 01 and 02) and songs (channel 02), which are ignored.

Source: S. R. Livingstone, F. A. Russo (2018), The Ryerson Audio-Visual Database of Emotional Speech
and Song, PLoS ONE 13(5): e0196391.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = {
    '01': 'neutral',
    '02': 'calm',
    '03': 'happy',
    '04': 'sad',
    '05': 'angry',
    '06': 'fear',
    '07': 'disgust',
    '08': 'surprise',
}
FILE_PATTERN = rf'03-01-({"|".join(EMOTIONS)})-\d\d-(\d\d)-\d\d-(\d\d)'
COUNTS = dict.fromkeys(EMOTIONS.values(), 192) | {'neutral': 96}


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`."""
    files = audio_files.find_audio_files(root, FILE_PATTERN, 'Actor_01/03-01-01-01-01-01-01.wav')
    utterances = []
    for path, match in files:
        emotion, statement, actor = match.groups()
        utterance = Utterance(
            name=path.stem,
            path=path,
            speaker=actor,
            emotion=EMOTIONS[emotion],
            language='en',
            corpus='ravdess',
            sex='male' if int(actor) % 2 else 'female',
            sentence=statement,
            style='acted',
        )
        utterances.append(utterance)
    return utterances


CORPUS = Corpus(
    name='ravdess',
    title='RAVDESS (speech)',
    languages=('en',),
    speakers=24,
    expected_counts=(COUNTS,),
    licence='CC BY-NC-SA 4.0',
    homepage='https://zenodo.org/records/1188976',
    walk=walk,
)
