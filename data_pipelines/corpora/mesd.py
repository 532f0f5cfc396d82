"""MESD: single words of Mexican Spanish, six emotions; `Anger_C_A_abajo.wav`.

M. M. Duville, L. M. Alonso-Valerdi, D. I. Ibarra-Zarate (2021), Mexican Emotional Speech Database Based on Semantic, Frequency,
Familiarity, Concreteness, and Cultural Shaping of Affective Prosody, Data 6(12): 130. The names tell three voices (child, female,
male) and not who speaks: six children, three women and two men share them. `speaker` is the voice: folds by speaker are folds by
voice, in which no person is twice, but what is forgotten is the kind of voice. Of 864 utterances some copies have 862.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = {
    'Anger': 'angry', 'Disgust': 'disgust', 'Fear': 'fear', 'Happiness': 'happy', 'Neutral': 'neutral', 'Sadness': 'sad',
}  # fmt: skip
VOICES = {'C': 'child', 'F': 'female', 'M': 'male'}
FULL_COUNTS = dict.fromkeys(EMOTIONS.values(), 144)


def walk(root: Path) -> list[Utterance]:
    """The utterances below `root`; a name is emotion, voice, list of words, word."""
    return [
        Utterance(
            name=path.stem,
            path=path,
            speaker=VOICES[m[2]],
            emotion=EMOTIONS[m[1]],
            language='es',
            corpus='mesd',
            sex='' if m[2] == 'C' else VOICES[m[2]],
            sentence=m[3],
            style='acted',
        )
        for path, m in audio_files.find_audio_files(
            root, rf'({"|".join(EMOTIONS)})_([CFM])_[AB]_(\w+)', 'Anger_C_A_abajo.wav'
        )
    ]


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
