"""CREMA-D: 91 North American actors, twelve sentences, six emotions.

Layout: `AudioWAV/1001_DFA_ANG_XX.wav`, which is actor, sentence, emotion and intensity. The
emotions are those that the actors were asked to express. The actors' sex is read from the release's
`VideoDemographics.csv` if it is in the root. The votes are those of `finishedResponses.csv` in the
root: the emotions that raters chose who heard the voice alone (queryType 1), not those who saw the
face. The file 1076_MTI_SAD_XX is silent, so it is rejected.

Source: H. Cao, D. G. Cooper, M. K. Keutmann, R. C. Gur, A. Nenkova, R. Verma (2014), CREMA-D:
Crowd-sourced Emotional Multimodal Actors Dataset, IEEE Transactions on Affective Computing 5(4).
"""

import collections
from pathlib import Path

from data_pipelines import audio_files, csv_files
from data_pipelines.corpora import Corpus, Utterance
from data_pipelines.errors import UserError
from data_pipelines.terminal import print_text

EMOTIONS = {
    'ANG': 'angry',
    'DIS': 'disgust',
    'FEA': 'fear',
    'HAP': 'happy',
    'NEU': 'neutral',
    'SAD': 'sad',
}
FILE_PATTERN = rf'(\d{{4}})_([A-Z]{{3}})_({"|".join(EMOTIONS)})_(?:LO|MD|HI|XX?)'
RESPONSES_FILE = 'finishedResponses.csv'
RESPONSE_COLUMNS = ('clipName', 'queryType', 'respEmo')
VOICE_ALONE = '1'  # a queryType; 2 is the face alone, 3 is both
RESPONSES = {name[0]: emotion for name, emotion in EMOTIONS.items()}  # A, D, F, H, N and S
COUNTS = dict.fromkeys(EMOTIONS.values(), 1271) | {'neutral': 1087}


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`."""
    files = audio_files.find_audio_files(root, FILE_PATTERN, 'AudioWAV/1001_DFA_ANG_XX.wav')
    sex_by_actor = read_demographics(root / 'VideoDemographics.csv')
    votes_by_clip = read_responses(root / RESPONSES_FILE)
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
            votes=votes_by_clip.get(path.stem),
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


def read_responses(path: Path) -> dict[str, dict[str, int]]:
    """Returns, by clip, the votes of the raters who were given the voice alone.

    Without the file there are none, which is printed. UserError if it has another form.
    """
    if not path.is_file():
        print_text(
            f'{path.parent} has no {path.name}, so there are no votes of single raters. Only soft '
            'labels need them.'
        )
        return {}
    votes_by_clip: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    with csv_files.open_rows(path, errors='replace') as reader:
        missing = [column for column in RESPONSE_COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise UserError(
                f'{path} has no column {" and ".join(missing)}. '
                'Compare the file with the release, or remove it.'
            )
        for row in reader:
            if row['queryType'] != VOICE_ALONE:
                continue
            if row['respEmo'] not in RESPONSES:
                raise UserError(
                    f'{path}, line {reader.line_num}, has the response {row["respEmo"]!r}; expected'
                    f' one of {", ".join(RESPONSES)}. Compare the file with the release.'
                )
            votes_by_clip[row['clipName']][RESPONSES[row['respEmo']]] += 1
    return {clip: dict(votes) for clip, votes in votes_by_clip.items()}


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
