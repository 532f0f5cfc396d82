"""MELD: scenes of the television series Friends, seven emotions, in a split of its own.

Layout: `train_sent_emo.csv`, `dev_sent_emo.csv` and `test_sent_emo.csv` (the first is in `train` or
beside the others), and films in `train_splits`, `dev_splits_complete` and
`output_repeated_splits_test`, such as `dia0_utt0.mp4`. Films named `final_videos_test...` repeat
others and are ignored. PyAV reads the films; a folder of audio that was taken out of them must have
the name of its folder of films, or train, dev or test. Two utterances of the release have no sound
(train_dia125_utt3 is damaged, dev_dia110_utt7 is missing), and are listed as rejected.

A speaker is a part of the series. Small parts such as Woman are several people under one name, and
All and Both are several at once; laughter of the audience is in the recordings. The split does not
keep speakers apart.

The counts are those of the corpus's README; the films themselves were not at hand.

Source: S. Poria, D. Hazarika, N. Majumder, G. Naik, E. Cambria, R. Mihalcea (2019), MELD: A
Multimodal Multi-Party Dataset for Emotion Recognition in Conversations, ACL.
"""

from pathlib import Path

from data_pipelines import audio_files, csv_files
from data_pipelines.corpora import Corpus, Utterance
from data_pipelines.errors import UserError

EMOTIONS = {
    'anger': 'angry',
    'disgust': 'disgust',
    'fear': 'fear',
    'joy': 'happy',
    'neutral': 'neutral',
    'sadness': 'sad',
    'surprise': 'surprise',
}
FOLDERS = {
    'train': 'train_splits',
    'dev': 'dev_splits_complete',
    'test': 'output_repeated_splits_test',
}
COLUMNS = ('Utterance', 'Speaker', 'Emotion', 'Dialogue_ID', 'Utterance_ID')
FILE_PATTERN = r'dia\d+_utt\d+'
SUFFIXES = ('.mp4', '.wav', '.flac')


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances that the lists below `root` name, in their order.

    An utterance whose film is missing is returned too.
    """
    lists = find_lists(root)
    files = audio_files.find_audio_files(
        root, FILE_PATTERN, 'train_splits/dia0_utt0.mp4', suffixes=SUFFIXES
    )
    split_by_folder = {folder: split for split, folder in FOLDERS.items()}
    audio_by_name = {}
    for path, _ in files:
        split = split_by_folder.get(path.parent.name, path.parent.name)
        audio_by_name[f'{split}_{path.stem}'] = path
    utterances = []
    for split, list_path in lists.items():
        utterances += read_list(split, list_path, audio_by_name)
    audio_files.print_left_out(
        root,
        audio_by_name.values(),
        [utterance.path for utterance in utterances],
        'since the lists do not name them, or their folder has another name',
    )
    return utterances


def find_lists(root: Path) -> dict[str, Path]:
    """Returns the list of each part; UserError if one is missing, or there are several."""
    lists = {}
    for split in FOLDERS:
        name = f'{split}_sent_emo.csv'
        found = sorted(root.rglob(name))
        if len(found) != 1:
            problem = f'No {name} below {root}' if not found else f'Several {name} below {root}'
            raise UserError(
                f'{problem}; --source is the folder MELD.Raw of the release, unpacked, with the '
                'three lists and the folders of films.'
            )
        lists[split] = found[0]
    return lists


def read_list(split: str, list_path: Path, audio_by_name: dict[str, Path]) -> list[Utterance]:
    """Returns the utterances of a part; UserError if its list is not as in the release."""
    utterances = []
    with csv_files.open_rows(list_path, errors='replace') as reader:
        missing = set(COLUMNS) - set(reader.fieldnames or ())
        if missing:
            raise UserError(
                f'{list_path} has no column {" and ".join(sorted(missing))}. Compare the file with '
                'the release.'
            )
        for row in reader:
            if row['Emotion'] not in EMOTIONS:
                raise UserError(
                    f'{list_path}, line {reader.line_num}: the emotion is {row["Emotion"]!r}; '
                    f'expected one of {", ".join(EMOTIONS)}. Compare the file with the release.'
                )
            stem = f'dia{row["Dialogue_ID"]}_utt{row["Utterance_ID"]}'
            name = f'{split}_{stem}'
            missing_path = list_path.parent / FOLDERS[split] / f'{stem}.mp4'
            utterance = Utterance(
                name=name,
                path=audio_by_name.get(name, missing_path),
                speaker=row['Speaker'].strip(),
                emotion=EMOTIONS[row['Emotion']],
                language='en',
                corpus='meld',
                session=format_session(row),
                sentence=' '.join(row['Utterance'].casefold().split()),
                style='acted',
                split=split,
            )
            utterances.append(utterance)
    return utterances


def format_session(row: dict) -> str:
    """Returns the season and episode, such as s3e19; '' if the list does not have them."""
    if not (row.get('Season') and row.get('Episode')):
        return ''
    return f's{row["Season"]}e{row["Episode"]}'


CORPUS = Corpus(
    name='meld',
    title='MELD',
    languages=('en',),
    speakers=None,
    expected_counts=(
        {
            'angry': 1607,
            'disgust': 361,
            'fear': 358,
            'happy': 2308,
            'neutral': 6436,
            'sad': 1002,
            'surprise': 1636,
        },
    ),
    licence='annotations GPL-3.0, films of their owners',
    homepage='https://github.com/declare-lab/MELD',
    walk=walk,
)
