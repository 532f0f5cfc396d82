"""AESDD: Greek actors, 20 sentences, five emotions.

Layout: `anger/a03 (3).wav`, which is emotion, sentence and, in brackets, actor. Some actors are
written (01), and second takes have a letter, such as `s01 (5)b`. Sentence 20 is taken for the
improvised one, which differs between actors, since the release's README names 19 sentences and one
improvised utterance. The names do not tell the actors' sex.

The corpus grows ("dynamic"). The README of its first version names five actors and about 500
utterances. The counts here are those of the 604 files by six actors that EmoBox lists; the files of
the release itself were not at hand. Name the size with your results.

Source: N. Vryzas, R. Kotsakis, A. Liatsou, C. Dimoulas, G. Kalliris (2018), Speech Emotion
Recognition for Performance Interaction, Journal of the Audio Engineering Society 66(6).
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = {'a': 'angry', 'd': 'disgust', 'f': 'fear', 'h': 'happy', 's': 'sad'}
FILE_PATTERN = r'([adfhs])([01]\d|20) ?\(0*([1-9]\d*)\)[a-z]?'
IMPROVISED = '20'


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`."""
    utterances = []
    for path, match in audio_files.find_audio_files(root, FILE_PATTERN, 'anger/a03 (3).wav'):
        emotion, sentence, actor = match.groups()
        utterance = Utterance(
            name=path.stem,
            path=path,
            speaker=actor,
            emotion=EMOTIONS[emotion],
            language='el',
            corpus='aesdd',
            sentence='' if sentence == IMPROVISED else sentence,
            style='acted',
        )
        utterances.append(utterance)
    return utterances


CORPUS = Corpus(
    name='aesdd',
    title='AESDD',
    languages=('el',),
    speakers=6,
    expected_counts=({'angry': 121, 'disgust': 122, 'fear': 120, 'happy': 119, 'sad': 122},),
    licence='see its homepage',
    homepage='http://m3c.web.auth.gr/research/aesdd-speech-emotion-recognition/',
    walk=walk,
)
