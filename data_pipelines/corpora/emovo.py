"""EMOVO: six Italian actors, fourteen sentences, seven emotions.

Layout: `f1/dis-f1-b1.wav`, which is emotion, speaker (f for a woman, m for a man) and sentence.

Source: G. Costantini, I. Iaderola, A. Paoloni, M. Todisco (2014), EMOVO corpus: an Italian
emotional speech database, LREC.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = {
    'dis': 'disgust',
    'gio': 'happy',
    'neu': 'neutral',
    'pau': 'fear',
    'rab': 'angry',
    'sor': 'surprise',
    'tri': 'sad',
}
FILE_PATTERN = rf'({"|".join(EMOTIONS)})-([fm][1-3])-([a-z]\d)'


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`."""
    utterances = []
    for path, match in audio_files.find_audio_files(root, FILE_PATTERN, 'f1/dis-f1-b1.wav'):
        emotion, speaker, sentence = match.groups()
        utterance = Utterance(
            name=path.stem,
            path=path,
            speaker=speaker,
            emotion=EMOTIONS[emotion],
            language='it',
            corpus='emovo',
            sex='female' if speaker.startswith('f') else 'male',
            sentence=sentence,
            style='acted',
        )
        utterances.append(utterance)
    return utterances


CORPUS = Corpus(
    name='emovo',
    title='EMOVO',
    languages=('it',),
    speakers=6,
    expected_counts=(dict.fromkeys(EMOTIONS.values(), 84),),
    licence='free for research',
    homepage='http://voice.fub.it/activities/corpora/emovo/index.html',
    walk=walk,
)
