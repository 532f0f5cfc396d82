"""ShEMO: Persian radio plays by 87 speakers, six emotions, labelled by twelve listeners.

Layout: `female/F01A01.wav`, which is speaker (F for a woman, M for a man), emotion and number. The
paper says 3,000 utterances; a widespread copy with 2,838 is accepted too.

Source: O. Mohamad Nezami, P. Jamshid Lou, M. Karami (2019), ShEMO: a large-scale validated database
for Persian speech emotion detection, Language Resources and Evaluation 53(1).
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = {'A': 'angry', 'F': 'fear', 'H': 'happy', 'N': 'neutral', 'S': 'sad', 'W': 'surprise'}
FILE_PATTERN = r'([FM]\d\d)([AFHNSW])\d+'


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`."""
    utterances = []
    for path, match in audio_files.find_audio_files(root, FILE_PATTERN, 'female/F01A01.wav'):
        speaker, emotion = match.groups()
        utterance = Utterance(
            name=path.stem,
            path=path,
            speaker=speaker,
            emotion=EMOTIONS[emotion],
            language='fa',
            corpus='shemo',
            sex='female' if speaker.startswith('F') else 'male',
            style='acted',
        )
        utterances.append(utterance)
    return utterances


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
