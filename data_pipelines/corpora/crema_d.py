"""CREMA-D: 91 North American actors, twelve sentences, six emotions; `AudioWAV/1001_DFA_ANG_XX.wav`.

H. Cao, D. G. Cooper, M. K. Keutmann, R. C. Gur, A. Nenkova, R. Verma (2014), CREMA-D: Crowd-sourced Emotional Multimodal Actors
Dataset, IEEE Transactions on Affective Computing 5(4). The emotions are those that were to be acted. The actors' sex is known
where the release's `VideoDemographics.csv` lies in the root. 1076_MTI_SAD_XX is silent, and will be rejected for it.
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


def walk(root: Path) -> list[Utterance]:
    """The utterances below `root`; a name is actor, sentence, emotion, intensity."""
    found = audio_files.find_audio_files(
        root,
        rf'(\d{{4}})_([A-Z]{{3}})_({"|".join(EMOTIONS)})_(LO|MD|HI|XX?)',
        'AudioWAV/1001_DFA_ANG_XX.wav',
    )
    sex = read_demographics(root / 'VideoDemographics.csv')
    return [
        Utterance(
            name=path.stem,
            path=path,
            speaker=m[1],
            emotion=EMOTIONS[m[3]],
            language='en',
            corpus='crema_d',
            sex=sex.get(m[1], ''),
            sentence=m[2],
            style='acted',
        )
        for path, m in found
    ]


def read_demographics(path: Path) -> dict[str, str]:
    """The actors' sex: ActorID,Age,Sex,Race,Ethnicity; nothing where the file is not there."""
    if not path.is_file():
        return {}
    with csv_files.open_rows(path, errors='replace') as reader:
        if missing := {'ActorID', 'Sex'} - {*(reader.fieldnames or ())}:
            raise UserError(
                f'{path} lacks the column {" and ".join(sorted(missing))}. Compare it with the release, or remove it.'
            )
        return {
            row['ActorID']: row['Sex'].lower() for row in reader if row['Sex'] in ('Female', 'Male')
        }


CORPUS = Corpus(
    name='crema_d',
    title='CREMA-D',
    languages=('en',),
    speakers=91,
    expected_counts=({e: 1087 if e == 'neutral' else 1271 for e in EMOTIONS.values()},),
    licence='Open Database License',
    homepage='https://github.com/CheyneyComputerScience/CREMA-D',
    walk=walk,
)
