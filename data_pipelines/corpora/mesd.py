"""MESD: single words of Mexican Spanish, six emotions.

Layout: `Anger_C_A_abajo.wav`, which is emotion, voice, list of words and word. The names give one
of three voices (child, female, male), and not the person: six children, three women and two men
share them. So `speaker` is the voice. In folds by speaker no person is in two parts, but a method
that removes the speaker removes the kind of voice. There are 864 utterances, in some copies 862.

Source: M. M. Duville, L. M. Alonso-Valerdi, D. I. Ibarra-Zarate (2021), Mexican Emotional Speech
Database Based on Semantic, Frequency, Familiarity, Concreteness, and Cultural Shaping of Affective
Prosody, Data 6(12): 130.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = {
    'Anger': 'angry',
    'Disgust': 'disgust',
    'Fear': 'fear',
    'Happiness': 'happy',
    'Neutral': 'neutral',
    'Sadness': 'sad',
}
VOICES = {'C': 'child', 'F': 'female', 'M': 'male'}
SEXES = {'C': '', 'F': 'female', 'M': 'male'}
FILE_PATTERN = rf'({"|".join(EMOTIONS)})_([CFM])_[AB]_(\w+)'
FULL_COUNTS = dict.fromkeys(EMOTIONS.values(), 144)


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`."""
    utterances = []
    for path, match in audio_files.find_audio_files(root, FILE_PATTERN, 'Anger_C_A_abajo.wav'):
        emotion, voice, word = match.groups()
        utterance = Utterance(
            name=path.stem,
            path=path,
            speaker=VOICES[voice],
            emotion=EMOTIONS[emotion],
            language='es',
            corpus='mesd',
            sex=SEXES[voice],
            sentence=word,
            style='acted',
        )
        utterances.append(utterance)
    return utterances


CORPUS = Corpus(
    name='mesd',
    title='MESD',
    languages=('es',),
    speakers=3,
    expected_counts=(FULL_COUNTS, FULL_COUNTS | {'angry': 143, 'neutral': 143}),
    licence='CC BY 4.0',
    homepage='https://data.mendeley.com/datasets/cy34mh68j9',
    walk=walk,
)
