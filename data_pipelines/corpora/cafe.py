"""CaFE: twelve actors from Québec, six sentences, six emotions in two intensities, and neutral.

Layout: `Colère/Faible/01-C-1-1.wav`, which is actor, emotion, intensity and sentence, as the
release's Readme.txt says; odd actors are men. Only the names of files are read, since some tools
unpack the folders' names with wrong letters. The release has several versions (48 kHz, and 192 kHz
in two parts): let --source name one.

The counts follow from the design (12 actors, 6 sentences, 6 emotions twice and neutral once), and
are those that EmoBox lists; the files of the release itself were not at hand.

Source: P. Gournay, O. Lahaie, R. Lefebvre (2018), A Canadian French Emotional Speech Dataset, ACM
Multimedia Systems Conference.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = {
    'C': 'angry',
    'D': 'disgust',
    'J': 'happy',
    'N': 'neutral',
    'P': 'fear',
    'S': 'surprise',
    'T': 'sad',
}
FILE_PATTERN = r'(0[1-9]|1[0-2])-([CDJNPST])-[12]-([1-6])'


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`."""
    utterances = []
    for path, match in audio_files.find_audio_files(
        root, FILE_PATTERN, 'Colère/Faible/01-C-1-1.wav', suffixes=('.wav', '.flac', '.aiff')
    ):
        actor, emotion, sentence = match.groups()
        utterance = Utterance(
            name=path.stem,
            path=path,
            speaker=actor,
            emotion=EMOTIONS[emotion],
            language='fr',
            corpus='cafe',
            sex='male' if int(actor) % 2 else 'female',
            sentence=sentence,
            style='acted',
        )
        utterances.append(utterance)
    return utterances


CORPUS = Corpus(
    name='cafe',
    title='CaFE',
    languages=('fr',),
    speakers=12,
    expected_counts=(dict.fromkeys(EMOTIONS.values(), 144) | {'neutral': 72},),
    licence='CC BY-NC-SA 4.0',
    homepage='https://zenodo.org/record/1478765',
    walk=walk,
)
