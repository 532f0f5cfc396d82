"""eNTERFACE'05: 43 people react in English to six stories; films, `subject 1/anger/sentence 1/s1_an_1.avi`.

O. Martin, I. Kotsia, B. Macq, I. Pitas (2006), The eNTERFACE'05 Audio-Visual Emotion Database, ICDE Workshops. It speaks of 42
subjects; the names of the release tell 43 apart. Of subject 6 there is a minute-long film per emotion, its five sentences, or
both, which makes 1,263, 1,287 or 1,293 films. The folder `subject 11` holds s12: here as everywhere the name decides.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = {
    'an': 'angry',
    'di': 'disgust',
    'fe': 'fear',
    'ha': 'happy',
    'sa': 'sad',
    'su': 'surprise',
}


def walk(root: Path) -> list[Utterance]:
    """The utterances below `root`; a name is subject, emotion and which of the emotion's five sentences.

    Some are released as `s_3_fe_5` or `s16_su_3avi`; the films of subject 6 that hold all five have no number.
    """
    return [
        Utterance(
            name=path.stem,
            path=path,
            speaker=m[1],
            emotion=EMOTIONS[m[2]],
            language='en',
            corpus='enterface',
            sentence=f'{m[2]}_{m[3]}' if m[3] else '',
            style='acted',
        )
        for path, m in audio_files.find_audio_files(
            root,
            r's_?(\d+)_(an|di|fe|ha|sa|su)(?:_(\d))?(?:avi)?',
            'subject 1/anger/sentence 1/s1_an_1.avi',
            suffixes=('.avi', *audio_files.AUDIO_SUFFIXES),
        )
    ]


CORPUS = Corpus(
    name='enterface',
    title="eNTERFACE'05",
    languages=('en',),
    speakers=43,
    expected_counts=tuple(
        {e: n - 3 if e == 'happy' else n for e in EMOTIONS.values()} for n in (216, 215, 211)
    ),
    licence='free for research',
    homepage='https://enterface.net/enterface05/emotion.html',
    walk=walk,
)
