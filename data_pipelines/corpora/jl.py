"""JL: four New Zealand English speakers, five primary and five secondary emotions; `JL(wav+txt)/female1_angry_10a_1.wav`.

J. James, L. Tian, C. I. Watson (2018), An Open Source Emotional Speech Corpus for Human Robot Interaction Applications,
Interspeech. As far as the names and durations tell, a number is a sentence, a and b are two recordings of it, and the sentences
of the primary emotions are the same, while the secondary emotions differ.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

PRIMARY_EMOTIONS = ('angry', 'excited', 'happy', 'neutral', 'sad')
SECONDARY_EMOTIONS = ('anxious', 'apologetic', 'assertive', 'concerned', 'encouraging')


def walk(root: Path) -> list[Utterance]:
    """The utterances below `root`; a name is speaker, emotion, sentence with the recording's letter, repetition."""
    return [
        Utterance(
            name=path.stem,
            path=path,
            speaker=m[1],
            emotion=m[2],
            language='en',
            corpus='jl',
            sex=m[1][:-1],
            sentence=m[3] if m[2] in PRIMARY_EMOTIONS else f'{m[2]}_{m[3]}',
            style='acted',
        )
        for path, m in audio_files.find_audio_files(
            root,
            rf'((?:fe)?male[12])_({"|".join(PRIMARY_EMOTIONS + SECONDARY_EMOTIONS)})_(\d+)[ab]_[12]',
            'JL(wav+txt)/female1_angry_10a_1.wav',
        )
    ]


CORPUS = Corpus(
    name='jl',
    title='JL',
    languages=('en',),
    speakers=4,
    expected_counts=(dict.fromkeys(PRIMARY_EMOTIONS + SECONDARY_EMOTIONS, 240),),
    licence='CC0',
    homepage='https://www.kaggle.com/datasets/tli725/jl-corpus',
    walk=walk,
)
