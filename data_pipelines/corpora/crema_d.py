"""CREMA-D: 91 North American actors, twelve sentences, six emotions.

Layout: `AudioWAV/1001_DFA_ANG_XX.wav`, which is actor, sentence, emotion and intensity. The
emotions are those that the actors were asked to express. The actors' sex is read from the release's
`VideoDemographics.csv` if it is in the root. The file 1076_MTI_SAD_XX is silent, so it is rejected.

Source: H. Cao, D. G. Cooper, M. K. Keutmann, R. C. Gur, A. Nenkova, R. Verma (2014), CREMA-D:
Crowd-sourced Emotional Multimodal Actors Dataset, IEEE Transactions on Affective Computing 5(4).
"""

from pathlib import Path

from data_pipelines import audio_files, csv_files
from data_pipelines.corpora import Corpus, Utterance
from data_pipelines.errors import UserError

EMOTIONS = {
    'ANG': 'angry',
    'DIS': 'disgust',
    'FEA': 'fear',
    'HAP': 'happy',
    'NEU': 'neutral',
    'SAD': 'sad',
}
FILE_PATTERN = rf'(\d{{4}})_([A-Z]{{3}})_({"|".join(EMOTIONS)})_(?:LO|MD|HI|XX?)'
COUNTS = dict.fromkeys(EMOTIONS.values(), 1271) | {'neutral': 1087}


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`."""
    files = audio_files.find_audio_files(root, FILE_PATTERN, 'AudioWAV/1001_DFA_ANG_XX.wav')
    sex_by_actor = read_demographics(root / 'VideoDemographics.csv')
    utterances = []
    for path, match in files:
        actor, sentence, emotion = match.groups()
        utterance = Utterance(
            name=path.stem,
            path=path,
            speaker=actor,
            emotion=EMOTIONS[emotion],
            language='en',
            corpus='crema_d',
            sex=sex_by_actor.get(actor, ''),
            sentence=sentence,
            style='acted',
        )
        utterances.append(utterance)
    return utterances


def read_demographics(path: Path) -> dict[str, str]:
    """Returns the sex by actor from the columns ActorID and Sex; nothing if there is no file."""
    if not path.is_file():
        return {}
    sex_by_actor = {}
    with csv_files.open_rows(path, errors='replace') as reader:
        missing = {'ActorID', 'Sex'} - set(reader.fieldnames or ())
        if missing:
            raise UserError(
                f'{path} has no column {" and ".join(sorted(missing))}. '
                'Compare the file with the release, or remove it.'
            )
        for row in reader:
            if row['Sex'] in ('Female', 'Male'):
                sex_by_actor[row['ActorID']] = row['Sex'].lower()
    return sex_by_actor


CORPUS = Corpus(
    name='crema_d',
    title='CREMA-D',
    languages=('en',),
    speakers=91,
    expected_counts=(COUNTS,),
    licence='Open Database License',
    homepage='https://github.com/CheyneyComputerScience/CREMA-D',
    walk=walk,
)
