"""ESD: ten Mandarin and ten English speakers, 350 sentences per language, five emotions.

Layout: `0001/Angry/0001_000351.wav`, which is speaker and a number from 1 to 1750. The number
counts the sentences of the first emotion, then those of the second, and so on. Some copies split
each emotion into train, evaluation and test, as in `0001/Angry/train/0001_000351.wav`.

Source: K. Zhou, B. Sisman, R. Liu, H. Li (2021), Seen and unseen emotional style transfer for voice
conversion with a new emotional speech dataset, ICASSP.
"""

import re
from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance
from data_pipelines.errors import UserError
from data_pipelines.wording import join_first, pluralize

# In the order in which the files of each speaker are numbered.
EMOTIONS = ('neutral', 'angry', 'happy', 'sad', 'surprise')
SENTENCES_PER_LANGUAGE = 350
# By the list in the release.
MALE_SPEAKERS = {
    '0004', '0005', '0006', '0008', '0010', '0011', '0012', '0013', '0014', '0020',
}  # fmt: skip
LAST_MANDARIN_SPEAKER = '0010'
SPLITS = {'train': 'train', 'evaluation': 'dev', 'test': 'test'}
# The folder, the speaker (0001 to 0020) and the number (0001 to 1750).
FILE_PATTERN = r'(.*)/(00(?:0[1-9]|1\d|20))_00(0(?!000)\d{3}|1[0-6]\d\d|17[0-4]\d|1750)'

SPEAKER_PATTERN = r'00\d\d'
FOLDER_LEVELS = 3  # a part of the split, an emotion and a speaker
MAX_LISTED = 3  # files in one message


def check_folders(files: list[tuple[Path, re.Match]]) -> None:
    """Raises a UserError if files are in a folder of another emotion or speaker than theirs.

    The number of a file says its emotion. If the folder says another, the label may be wrong.
    """
    contradictions = []
    for path, match in files:
        _, speaker, number = match.groups()
        own = {speaker, EMOTIONS[(int(number) - 1) // SENTENCES_PER_LANGUAGE]}
        for folder in path.absolute().parts[-1 - FOLDER_LEVELS : -1]:
            name = folder.casefold()
            is_label = name in EMOTIONS or re.fullmatch(SPEAKER_PATTERN, name)
            if is_label and name not in own:
                contradictions.append(f'{path} ({" ".join(sorted(own))} by its name)')
                break
    if contradictions:
        raise UserError(
            f'ESD has {pluralize(len(contradictions), "file")} in a folder of another emotion or '
            f'speaker than the name of the file says: {join_first(contradictions, MAX_LISTED)}. '
            'Compare them with the release, and move or remove them.'
        )


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`."""
    files = audio_files.find_audio_files(
        root, FILE_PATTERN, '0001/Angry/0001_000351.wav', parent_count=1
    )
    check_folders(files)
    utterances = []
    for path, match in files:
        folder, speaker, number = match.groups()
        language = 'zh' if speaker <= LAST_MANDARIN_SPEAKER else 'en'
        emotion_index, sentence_index = divmod(int(number) - 1, SENTENCES_PER_LANGUAGE)
        utterance = Utterance(
            name=path.stem,
            path=path,
            speaker=speaker,
            emotion=EMOTIONS[emotion_index],
            language=language,
            corpus='esd',
            sex='male' if speaker in MALE_SPEAKERS else 'female',
            sentence=f'{language}_{sentence_index + 1:03d}',
            style='acted',
            split=SPLITS.get(folder, ''),
        )
        utterances.append(utterance)
    return utterances


CORPUS = Corpus(
    name='esd',
    title='ESD',
    languages=('zh', 'en'),
    speakers=20,
    expected_counts=(dict.fromkeys(EMOTIONS, 7000),),
    licence='research only',
    homepage='https://hltsingapore.github.io/ESD/',
    walk=walk,
)
