"""EMNS: one British woman who tells stories, eight emotions.

Layout: `metadata.csv`, whose columns are separated by |, and `cleaned_webm` (or `raw_webm`) with
the recordings. The column `audio_recording` ends with the name of the file, such as
`wavs/recorded_audio_1.webm`; a file converted to another format is found by its name, too. WebM is
read by PyAV. One of the emotions, sarcastic, is in the label space native only. With one speaker,
there are no folds by speaker: use the protocol speaker_dependent, or the corpus as the source or
target of others.

The counts are those that EmoBox lists (1,181, as the card of the copy on the Hugging Face Hub); the
files of the release itself were not at hand.

Source: K. A. Noriy, X. Yang, J. J. Zhang (2023), EMNS /Imz/ Corpus: An emotive single-speaker
dataset for narrative storytelling in games, television and graphic novels, arXiv 2305.13137.
"""

from pathlib import Path

from data_pipelines import audio_files, csv_files
from data_pipelines.corpora import Corpus, Utterance
from data_pipelines.errors import UserError

EMOTIONS = {
    'angry': 'angry',
    'disgust': 'disgust',
    'excited': 'excited',
    'happy': 'happy',
    'neutral': 'neutral',
    'sad': 'sad',
    'sarcastic': 'sarcastic',
    'surprise': 'surprise',
    'surprised': 'surprise',
}
COLUMNS = ('utterance', 'emotion', 'audio_recording')
LIST_NAME = 'metadata.csv'
FOLDERS = ('cleaned_webm', 'raw_webm')  # the first that has a recording is used
SPEAKER = '3'  # her number in the list
SUFFIXES = ('.webm', '.wav', '.flac')


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances that the list in `root` names, in its order.

    An utterance whose audio is missing is returned too.
    """
    list_path = root / LIST_NAME
    if not list_path.is_file():
        raise UserError(
            f'No {LIST_NAME} in {root}; --source is the folder with {LIST_NAME} and {FOLDERS[0]}.'
        )
    files = audio_files.find_audio_files(root, r'[^.].*', f'{FOLDERS[0]}/NAME.webm', 0, SUFFIXES)
    audio_by_name = choose_files([path for path, _ in files])
    utterances = []
    with csv_files.open_rows(list_path, errors='replace', delimiter='|') as reader:
        missing = set(COLUMNS) - set(reader.fieldnames or ())
        if missing:
            raise UserError(
                f'{list_path} has no column {" and ".join(sorted(missing))}, separated by |. '
                'Compare the file with the release.'
            )
        for row in reader:
            utterances.append(make_utterance(row, reader.line_num, list_path, audio_by_name))
    return utterances


def choose_files(paths: list[Path]) -> dict[str, Path]:
    """Returns the file of each recording: of those in several folders, that in the cleaned one."""
    ranks = {folder: rank for rank, folder in enumerate(FOLDERS)}
    audio_by_name: dict[str, Path] = {}
    for path in sorted(paths, key=lambda path: ranks.get(path.parent.name, len(ranks))):
        audio_by_name.setdefault(path.stem, path)
    return audio_by_name


def make_utterance(
    row: dict, line: int, list_path: Path, audio_by_name: dict[str, Path]
) -> Utterance:
    """Returns the utterance of a row; UserError for an emotion that is none of the corpus."""
    emotion = (row['emotion'] or '').strip().casefold()
    file = Path(row['audio_recording'] or '')
    if emotion not in EMOTIONS or not file.name:
        raise UserError(
            f'{list_path}, line {line}: the emotion is {row["emotion"]!r} and the recording '
            f'{row["audio_recording"]!r}; expected an emotion of {", ".join(EMOTIONS)}, and a '
            'file. Compare the file with the release.'
        )
    return Utterance(
        name=file.stem,
        path=audio_by_name.get(file.stem, list_path.parent / FOLDERS[0] / file.name),
        speaker=SPEAKER,
        emotion=EMOTIONS[emotion],
        language='en',
        corpus='emns',
        sex='female',
        sentence=' '.join((row['utterance'] or '').casefold().split()),
        style='acted',
    )


CORPUS = Corpus(
    name='emns',
    title='EMNS',
    languages=('en',),
    speakers=1,
    expected_counts=(
        {
            'angry': 126,
            'disgust': 162,
            'excited': 150,
            'happy': 157,
            'neutral': 149,
            'sad': 147,
            'sarcastic': 139,
            'surprise': 151,
        },
    ),
    licence='see its homepage',
    homepage='https://www.openslr.org/136',
    walk=walk,
)
