"""JL: four New Zealand English speakers, five primary and five secondary emotions.

Layout: `JL(wav+txt)/female1_angry_10a_1.wav`, which is speaker, emotion, sentence number with the
recording (a or b), and repetition. As far as names and durations show, the primary emotions share
their sentences, while each secondary emotion has its own.

Source: J. James, L. Tian, C. I. Watson (2018), An Open Source Emotional Speech Corpus for Human
Robot Interaction Applications, Interspeech.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

PRIMARY_EMOTIONS = ('angry', 'excited', 'happy', 'neutral', 'sad')
SECONDARY_EMOTIONS = ('anxious', 'apologetic', 'assertive', 'concerned', 'encouraging')
EMOTIONS = PRIMARY_EMOTIONS + SECONDARY_EMOTIONS
FILE_PATTERN = rf'((female|male)[12])_({"|".join(EMOTIONS)})_(\d+)[ab]_[12]'


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`."""
    files = audio_files.find_audio_files(root, FILE_PATTERN, 'JL(wav+txt)/female1_angry_10a_1.wav')
    utterances = []
    for path, match in files:
        speaker, sex, emotion, sentence = match.groups()
        if emotion in SECONDARY_EMOTIONS:
            sentence = f'{emotion}_{sentence}'
        utterance = Utterance(
            name=path.stem,
            path=path,
            speaker=speaker,
            emotion=emotion,
            language='en',
            corpus='jl',
            sex=sex,
            sentence=sentence,
            style='acted',
        )
        utterances.append(utterance)
    return utterances


CORPUS = Corpus(
    name='jl',
    title='JL',
    languages=('en',),
    speakers=4,
    expected_counts=(dict.fromkeys(EMOTIONS, 240),),
    licence='CC0',
    homepage='https://www.kaggle.com/datasets/tli725/jl-corpus',
    walk=walk,
)
