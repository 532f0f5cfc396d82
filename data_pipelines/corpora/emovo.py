"""EMOVO: six Italian actors, fourteen sentences, seven emotions; `f1/dis-f1-b1.wav`.

G. Costantini, I. Iaderola, A. Paoloni, M. Todisco (2014), EMOVO corpus: an Italian emotional speech database, LREC.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = {
    'dis': 'disgust', 'gio': 'happy', 'neu': 'neutral', 'pau': 'fear', 'rab': 'angry', 'sor': 'surprise', 'tri': 'sad',
}  # fmt: skip


def walk(root: Path) -> list[Utterance]:
    """The utterances below `root`; a name is emotion, speaker (f a woman, m a man), sentence."""
    return [
        Utterance(
            name=path.stem,
            path=path,
            speaker=m[2],
            emotion=EMOTIONS[m[1]],
            language='it',
            corpus='emovo',
            sex='female' if m[2].startswith('f') else 'male',
            sentence=m[3],
            style='acted',
        )
        for path, m in audio_files.find_audio_files(
            root, rf'({"|".join(EMOTIONS)})-([fm][1-3])-([a-z]\d)', 'f1/dis-f1-b1.wav'
        )
    ]


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
