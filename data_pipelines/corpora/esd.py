"""ESD: ten Mandarin and ten English speakers, 350 sentences in each language, five emotions; `0001/Angry/0001_000351.wav`.

K. Zhou, B. Sisman, R. Liu, H. Li (2021), Seen and unseen emotional style transfer for voice conversion with a new emotional
speech dataset, ICASSP. Some copies part each emotion into train, evaluation and test, as `0001/Angry/train/0001_000351.wav`.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = (
    'neutral',
    'angry',
    'happy',
    'sad',
    'surprise',
)  # in the order in which every speaker's files are numbered
SENTENCES_PER_LANGUAGE = 350
MALE_SPEAKERS = {
    '0004',
    '0005',
    '0006',
    '0008',
    '0010',
    '0011',
    '0012',
    '0013',
    '0014',
    '0020',
}  # by the release's own list
SPLITS = {'train': 'train', 'evaluation': 'dev', 'test': 'test'}


def walk(root: Path) -> list[Utterance]:
    """The utterances below `root`; a name is speaker and a number from 1 to 1750, which is emotion and sentence."""
    utterances = []
    for path, m in audio_files.find_audio_files(
        root,
        r'(.*)/(00(?:0[1-9]|1\d|20))_00(0(?!000)\d{3}|1[0-6]\d\d|17[0-4]\d|1750)',
        '0001/Angry/0001_000351.wav',
        parent_count=1,
    ):
        language = 'zh' if m[2] <= '0010' else 'en'
        emotion, text = divmod(int(m[3]) - 1, SENTENCES_PER_LANGUAGE)
        utterances.append(
            Utterance(
                name=path.stem,
                path=path,
                speaker=m[2],
                emotion=EMOTIONS[emotion],
                language=language,
                corpus='esd',
                sex='male' if m[2] in MALE_SPEAKERS else 'female',
                sentence=f'{language}_{text + 1:03d}',
                style='acted',
                split=SPLITS.get(m[1], ''),
            )
        )
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
