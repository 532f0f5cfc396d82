"""ShEMO: Persian radio plays by 87 speakers, labelled by twelve listeners; `female/F01A01.wav`.

O. Mohamad Nezami, P. Jamshid Lou, M. Karami (2019), ShEMO: a large-scale validated database for Persian speech emotion detection,
Language Resources and Evaluation 53(1). It speaks of 3,000 utterances; the 2,838 of a widespread copy are right too.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = {'A': 'angry', 'F': 'fear', 'H': 'happy', 'N': 'neutral', 'S': 'sad', 'W': 'surprise'}


def walk(root: Path) -> list[Utterance]:
    """The utterances below `root`; a name is speaker (F a woman, M a man), emotion, number."""
    return [
        Utterance(
            name=path.stem,
            path=path,
            speaker=m[1],
            emotion=EMOTIONS[m[2]],
            language='fa',
            corpus='shemo',
            sex='female' if m[1].startswith('F') else 'male',
            style='acted',
        )
        for path, m in audio_files.find_audio_files(
            root, r'([FM]\d\d)([AFHNSW])\d+', 'female/F01A01.wav'
        )
    ]


CORPUS = Corpus(
    name='shemo',
    title='ShEMO',
    languages=('fa',),
    speakers=87,
    expected_counts=(
        {'angry': 1059, 'fear': 38, 'happy': 201, 'neutral': 1028, 'sad': 449, 'surprise': 225},
        {'angry': 1034, 'fear': 29, 'happy': 198, 'neutral': 1018, 'sad': 360, 'surprise': 199},
    ),
    licence='free for academic use',
    homepage='https://github.com/pariajm/sharif-emotional-speech-database',
    walk=walk,
)
