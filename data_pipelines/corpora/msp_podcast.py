"""MSP-Podcast: speaking turns from English podcasts, each labelled by several listeners.

Layout: the labels are in `Labels/labels_consensus.csv`, with ratings from 1 to 7, and the audio is
in files like `Audios/MSP-PODCAST_0001_0008.wav`. The releases differ in size, so any count is
accepted. The utterances of Test3 may have no labels.

The votes are the primary emotions that single workers chose, each of them one. They are read from
`Labels/labels_detailed.csv`, or else from `Labels/labels.txt`, where every release lists

    MSP-PODCAST_0001_0008.wav; H; A:4.2; V:4.8; D:5.0;
    WORKER00014325; Sad; Sad,Concerned; A:2.0; V:4.0; D:4.0;

In the CSV, some releases have a column EmoClass_Major, and others the text of such a line in a
column EmoDetail. An emotion of the worker's own, such as Other-confused, is a vote for `other`.

Source: R. Lotfian, C. Busso (2019), Building Naturalistic Emotionally Balanced Speech Corpus by
Retrieving Emotional Speech from Existing Podcast Recordings, IEEE Transactions on Affective
Computing 10(4).
"""

import collections
from collections.abc import Iterator
from pathlib import Path

from data_pipelines import audio_files, csv_files
from data_pipelines.corpora import Corpus, Utterance, scale_rating
from data_pipelines.errors import UserError
from data_pipelines.terminal import print_text

EMOTIONS = {
    'A': 'angry',
    'S': 'sad',
    'H': 'happy',
    'U': 'surprise',
    'F': 'fear',
    'D': 'disgust',
    'C': 'contempt',
    'N': 'neutral',
    'O': 'other',
    'X': 'undecided',
    '': 'undecided',
}
SPLITS = {
    'Train': 'train',
    'Development': 'dev',
    'Validation': 'dev',
    'Test1': 'test',
    'Test2': 'test2',
    'Test3': 'test3',
}
SEXES = {'Female': 'female', 'Male': 'male'}
# The words of single workers; any other word is one of the worker's own.
VOTE_WORDS = {
    'angry': 'angry',
    'sad': 'sad',
    'happy': 'happy',
    'surprise': 'surprise',
    'fear': 'fear',
    'disgust': 'disgust',
    'contempt': 'contempt',
    'neutral': 'neutral',
}
COLUMNS = ('FileName', 'EmoClass', 'EmoAct', 'EmoVal', 'EmoDom', 'SpkrID', 'Gender', 'Split_Set')


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances that the list of labels in `root` names, in its order.

    An utterance whose audio is missing is returned too.
    """
    labels = root / 'Labels/labels_consensus.csv'
    audio_folder = root / 'Audios'
    if not labels.is_file() or not audio_folder.is_dir():
        raise UserError(
            f'No Labels/labels_consensus.csv, or no Audios/, in {root}; '
            '--source is the folder with Labels and Audios.'
        )
    votes_by_file = read_votes(labels.parent)
    utterances = []
    with csv_files.open_rows(labels, errors='replace') as reader:
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise UserError(
                f'{labels} has no column {", ".join(missing)}. Compare the file with the release.'
            )
        for row in reader:
            line_name = f'{labels}, line {reader.line_num},'
            votes = votes_by_file.get(row['FileName'])
            utterances.append(make_utterance(audio_folder, row, line_name, votes))
    audio_files.print_left_out(
        root,
        audio_folder.rglob('*'),
        [utterance.path for utterance in utterances],
        f'since {labels.name} does not list them',
    )
    return utterances


def read_votes(folder: Path) -> dict[str, dict[str, int]]:
    """Returns the votes by file name, from the first list of single workers' labels in a folder.

    Without such a list there are none, which is printed. UserError if it has another form.
    """
    table = folder / 'labels_detailed.csv'
    text = folder / 'labels.txt'
    if table.is_file():
        choices = read_detailed_table(table)
    elif text.is_file():
        choices = read_detailed_text(text)
    else:
        print_text(
            f'{folder} has no {table.name} and no {text.name}, so there are no votes of single '
            'raters. Only soft labels need them.'
        )
        return {}
    votes_by_file: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for name, word in choices:
        votes_by_file[name][VOTE_WORDS.get(word.strip().casefold(), 'other')] += 1
    return {name: dict(votes) for name, votes in votes_by_file.items()}


def read_detailed_table(path: Path) -> Iterator[tuple[str, str]]:
    """Yields the file name and the primary emotion of each worker's labels."""
    with csv_files.open_rows(path, errors='replace') as reader:
        columns = reader.fieldnames or ()
        choice = next((name for name in ('EmoClass_Major', 'EmoDetail') if name in columns), None)
        if 'FileName' not in columns or choice is None:
            raise UserError(
                f'{path} has the columns {", ".join(columns)}; expected FileName, and '
                'EmoClass_Major or EmoDetail. Compare the file with the release, or remove it.'
            )
        for row in reader:
            word = row[choice] or ''
            if choice == 'EmoDetail':  # WORKER00014325; Sad; Sad,Concerned; A:2.0; ...
                word = ''.join(word.split(';')[1:2])
            if word.strip():
                yield row['FileName'], word


def read_detailed_text(path: Path) -> Iterator[tuple[str, str]]:
    """Yields the file name and the primary emotion of each worker's labels."""
    name = ''
    with open(path, encoding='utf-8-sig', errors='replace') as file:
        for line in file:
            first, *rest = [field.strip() for field in line.split(';')]
            if first.endswith('.wav'):
                name = first
            elif first.startswith('WORKER') and rest and rest[0]:
                yield name, rest[0]


def make_utterance(
    audio_folder: Path, row: dict[str, str], line_name: str, votes: dict[str, int] | None
) -> Utterance:
    """Returns the utterance of a row; raises a UserError that names its line if it is wrong."""
    name = row['FileName']
    if row['EmoClass'] not in EMOTIONS or row['Split_Set'] not in SPLITS:
        raise UserError(
            f'{line_name} labels {name} as {row["EmoClass"]} of {row["Split_Set"]}; expected one '
            f'of {", ".join(filter(None, EMOTIONS))}, and of {", ".join(SPLITS)}. '
            'Compare the file with the release.'
        )
    try:
        arousal = scale_rating(row['EmoAct'], 1, 7)
        valence = scale_rating(row['EmoVal'], 1, 7)
        dominance = scale_rating(row['EmoDom'], 1, 7)
    except ValueError as error:
        raise UserError(
            f'{line_name} has a rating of {name} that is not a number: {error}. '
            'Compare the file with the release.'
        ) from None
    return Utterance(
        name=name.removesuffix('.wav'),
        path=audio_folder / name,
        speaker='' if row['SpkrID'] == 'Unknown' else row['SpkrID'],
        emotion=EMOTIONS[row['EmoClass']],
        language='en',
        corpus='msp_podcast',
        sex=SEXES.get(row['Gender'], ''),
        style='natural',
        split=SPLITS[row['Split_Set']],
        arousal=arousal,
        valence=valence,
        dominance=dominance,
        votes=votes,
    )


CORPUS = Corpus(
    name='msp_podcast',
    title='MSP-Podcast',
    languages=('en',),
    speakers=None,
    expected_counts=(),
    licence='by agreement with UT Dallas, research only',
    homepage='https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Podcast.html',
    walk=walk,
)
