"""MSP-Podcast: speaking turns from English podcasts, each labelled by several listeners.

Layout: the labels are in `Labels/labels_consensus.csv`, with ratings from 1 to 7, and the audio is
in files like `Audios/MSP-PODCAST_0001_0008.wav`. The releases differ in size, so any count is
accepted. The utterances of Test3 may have no labels.

Source: R. Lotfian, C. Busso (2019), Building Naturalistic Emotionally Balanced Speech Corpus by
Retrieving Emotional Speech from Existing Podcast Recordings, IEEE Transactions on Affective
Computing 10(4).
"""

from pathlib import Path

from data_pipelines import audio_files, csv_files
from data_pipelines.corpora import Corpus, Utterance, scale_rating
from data_pipelines.errors import UserError

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
    utterances = []
    with csv_files.open_rows(labels, errors='replace') as reader:
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise UserError(
                f'{labels} has no column {", ".join(missing)}. Compare the file with the release.'
            )
        for row in reader:
            line_name = f'{labels}, line {reader.line_num},'
            utterances.append(make_utterance(audio_folder, row, line_name))
    audio_files.print_left_out(
        root,
        audio_folder.rglob('*'),
        [utterance.path for utterance in utterances],
        f'since {labels.name} does not list them',
    )
    return utterances


def make_utterance(audio_folder: Path, row: dict[str, str], line_name: str) -> Utterance:
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
