"""nEMO: nine Polish actors, 90 sentences, six emotions.

Layout: `samples/EB0_anger_1.wav`, which is actor, emotion and number of the sentence; every number
is the same sentence in all emotions. The names are enough: the list `data.tsv` beside the folder,
with texts, sex and age, is not read. The actors' sex below is from that list.

Source: I. Christop (2024), nEMO: Dataset of Emotional Speech in Polish, LREC-COLING.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = {
    'anger': 'angry',
    'fear': 'fear',
    'happiness': 'happy',
    'neutral': 'neutral',
    'sadness': 'sad',
    'surprised': 'surprise',
}
WOMEN = ('EB0', 'IC0', 'KD0', 'MK0')
MEN = ('KS0', 'MP0', 'SM0', 'TP0', 'WR0')
FILE_PATTERN = rf'({"|".join(WOMEN + MEN)})_({"|".join(EMOTIONS)})_(\d+)'


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`."""
    utterances = []
    for path, match in audio_files.find_audio_files(root, FILE_PATTERN, 'samples/EB0_anger_1.wav'):
        actor, emotion, sentence = match.groups()
        utterance = Utterance(
            name=path.stem,
            path=path,
            speaker=actor,
            emotion=EMOTIONS[emotion],
            language='pl',
            corpus='nemo',
            sex='female' if actor in WOMEN else 'male',
            sentence=sentence,
            style='acted',
        )
        utterances.append(utterance)
    return utterances


CORPUS = Corpus(
    name='nemo',
    title='nEMO',
    languages=('pl',),
    speakers=9,
    expected_counts=(
        {'angry': 749, 'fear': 736, 'happy': 749, 'neutral': 809, 'sad': 769, 'surprise': 669},
    ),
    licence='CC BY-NC-SA 4.0',
    homepage='https://github.com/amu-cai/nEMO',
    walk=walk,
)
