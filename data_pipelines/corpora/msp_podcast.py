"""MSP-Podcast: turns from English podcasts, labelled by several listeners each; `Audios/MSP-PODCAST_0001_0008.wav`.

R. Lotfian, C. Busso (2019), Building Naturalistic Emotionally Balanced Speech Corpus by Retrieving Emotional Speech from Existing
Podcast Recordings, IEEE Transactions on Affective Computing 10(4). The labels are `Labels/labels_consensus.csv`, the attributes
rated from 1 to 7. Its releases differ in size, so no count is expected. What Test3 holds may be unlabelled.
"""

from pathlib import Path

from data_pipelines import csv_files
from data_pipelines.corpora import Corpus, Utterance, scale_rating
from data_pipelines.errors import UserError

EMOTIONS = {
    'A': 'angry', 'S': 'sad', 'H': 'happy', 'U': 'surprise', 'F': 'fear', 'D': 'disgust', 'C': 'contempt', 'N': 'neutral',
    'O': 'other', 'X': 'undecided', '': 'undecided',
}  # fmt: skip
SPLITS = {
    'Train': 'train', 'Development': 'dev', 'Validation': 'dev', 'Test1': 'test', 'Test2': 'test2', 'Test3': 'test3',
}  # fmt: skip
COLUMNS = ('FileName', 'EmoClass', 'EmoAct', 'EmoVal', 'EmoDom', 'SpkrID', 'Gender', 'Split_Set')


def walk(root: Path) -> list[Utterance]:
    """The utterances that the list of labels in `root` names, in its order, whether or not their audio is there."""
    labels, audio = root / 'Labels/labels_consensus.csv', root / 'Audios'
    if not labels.is_file() or not audio.is_dir():
        raise UserError(
            f'No Labels/labels_consensus.csv, or no Audios/, in {root}; --source is the folder with Labels and Audios.'
        )
    with csv_files.open_rows(labels, errors='replace') as reader:
        if missing := [c for c in COLUMNS if c not in (reader.fieldnames or ())]:
            raise UserError(
                f'{labels} has no column {", ".join(missing)}. Compare it with the release.'
            )
        return [make_utterance(audio, row, f'{labels}, line {reader.line_num},') for row in reader]


def make_utterance(audio: Path, row: dict[str, str], where: str) -> Utterance:
    """The utterance of a row."""
    if row['EmoClass'] not in EMOTIONS or row['Split_Set'] not in SPLITS:
        raise UserError(
            f'{where} labels {row["FileName"]} as {row["EmoClass"]} of {row["Split_Set"]}; expected one of '
            f'{", ".join(filter(None, EMOTIONS))}, and of {", ".join(SPLITS)}. Compare the file with the release.'
        )
    try:
        arousal, valence, dominance = (
            scale_rating(row[column], 1, 7) for column in ('EmoAct', 'EmoVal', 'EmoDom')
        )
    except ValueError as e:
        raise UserError(
            f'{where} rates {row["FileName"]} by what is no number: {e}. Compare the file with the release.'
        ) from None
    return Utterance(
        name=row['FileName'].removesuffix('.wav'),
        path=audio / row['FileName'],
        speaker='' if row['SpkrID'] == 'Unknown' else row['SpkrID'],
        emotion=EMOTIONS[row['EmoClass']],
        language='en',
        corpus='msp_podcast',
        sex=row['Gender'].lower() if row['Gender'] in ('Female', 'Male') else '',
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
