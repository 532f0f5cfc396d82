"""RAVDESS, speech only: 24 North American actors, two sentences, eight emotions; `Actor_01/03-01-06-01-02-01-12.wav`.

S. R. Livingstone, F. A. Russo (2018), The Ryerson Audio-Visual Database of Emotional Speech and Song, PLoS ONE 13(5): e0196391.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = {
    '01': 'neutral', '02': 'calm', '03': 'happy', '04': 'sad', '05': 'angry', '06': 'fear', '07': 'disgust', '08': 'surprise',
}  # fmt: skip


def walk(root: Path) -> list[Utterance]:
    """The utterances below `root`; a name is modality, channel, emotion, intensity, statement, repetition, actor.

    Video (01, 02) and song (channel 02) are other parts of the release and are passed over.
    """
    return [
        Utterance(
            name=path.stem,
            path=path,
            speaker=m['actor'],
            emotion=EMOTIONS[m['emotion']],
            language='en',
            corpus='ravdess',
            sex='male' if int(m['actor']) % 2 else 'female',
            sentence=m['statement'],
            style='acted',
        )
        for path, m in audio_files.find_audio_files(
            root,
            r'03-01-(?P<emotion>0[1-8])-\d\d-(?P<statement>\d\d)-\d\d-(?P<actor>\d\d)',
            'Actor_01/03-01-01-01-01-01-01.wav',
        )
    ]


CORPUS = Corpus(
    name='ravdess',
    title='RAVDESS (speech)',
    languages=('en',),
    speakers=24,
    expected_counts=({e: 96 if e == 'neutral' else 192 for e in EMOTIONS.values()},),
    licence='CC BY-NC-SA 4.0',
    homepage='https://zenodo.org/records/1188976',
    walk=walk,
)
