"""eNTERFACE'05: films of 43 people who react in English to six stories, one per emotion.

Layout: `subject 1/anger/sentence 1/s1_an_1.avi`, which is subject, emotion, and one of the
emotion's five sentences. Some files are named like `s_3_fe_5` or `s16_su_3avi`. For subject 6,
copies have either one minute-long film per emotion, without a number, or its five sentences, or
both. So there are 1,263, 1,287 or 1,293 films. The folder `subject 11` has s12; the name of the
file decides.

Source: O. Martin, I. Kotsia, B. Macq, I. Pitas (2006), The eNTERFACE'05 Audio-Visual Emotion
Database, ICDE Workshops. The paper says 42 subjects; the names in the release distinguish 43.
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
FILE_PATTERN = rf's_?(\d+)_({"|".join(EMOTIONS)})(?:_(\d))?(?:avi)?'


def make_counts(count: int) -> dict[str, int]:
    """Returns the counts of a release with `count` films per emotion, and three fewer for happy."""
    return dict.fromkeys(EMOTIONS.values(), count) | {'happy': count - 3}


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`."""
    files = audio_files.find_audio_files(
        root,
        FILE_PATTERN,
        'subject 1/anger/sentence 1/s1_an_1.avi',
        suffixes=('.avi', *audio_files.AUDIO_SUFFIXES),
    )
    utterances = []
    for path, match in files:
        subject, emotion, number = match.groups()
        utterance = Utterance(
            name=path.stem,
            path=path,
            speaker=subject,
            emotion=EMOTIONS[emotion],
            language='en',
            corpus='enterface',
            sentence=f'{emotion}_{number}' if number else '',
            style='acted',
        )
        utterances.append(utterance)
    return utterances


CORPUS = Corpus(
    name='enterface',
    title="eNTERFACE'05",
    languages=('en',),
    speakers=43,
    expected_counts=(make_counts(216), make_counts(215), make_counts(211)),
    licence='free for research',
    homepage='https://enterface.net/enterface05/emotion.html',
    walk=walk,
)
