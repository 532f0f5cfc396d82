"""ASED: 65 Amharic speakers, 27 sentences, five emotions.

Layout: `05Angry/a5-07-02-02-64.wav`, which is emotion, sentence, repetition, sex and speaker. Some
letters are upper case. Sentences 01 and 02 are said in all emotions, and 03 to 07 are five others
in each emotion: there the words predict the emotion, and so does the length of the file. Five
speakers have one file with the other sex, which is taken as an error: a speaker has the sex of most
files.

Source: E. A. Retta, E. Almekhlafi, R. Sutcliffe, M. Mhamed, H. Ali, J. Feng (2023), A New Amharic
Speech Emotion Dataset and Classification Benchmark, ACM Transactions on Asian and Low-Resource
Language Information Processing 22(1); arXiv 2201.02710.
"""

import collections
import re
from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = {'n1': 'neutral', 'f2': 'fear', 'h3': 'happy', 's4': 'sad', 'a5': 'angry'}
SEXES = {'01': 'female', '02': 'male'}
COMMON_SENTENCES = ('01', '02')
FILE_PATTERN = (
    r'(?i:(n1|f2|h3|s4|a5))-(0[1-7])-(\d\d)-(01|02)-(\d\d)'  # the letter may be upper case
)


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`."""
    files = audio_files.find_audio_files(root, FILE_PATTERN, '05Angry/a5-07-02-02-64.wav')
    sex_by_speaker = find_sexes([match for _, match in files])
    utterances = []
    for path, match in files:
        code, sentence, _, _, speaker = match.groups()
        code = code.lower()
        utterance = Utterance(
            name=path.stem,
            path=path,
            speaker=speaker,
            emotion=EMOTIONS[code],
            language='am',
            corpus='ased',
            sex=sex_by_speaker[speaker],
            sentence=sentence if sentence in COMMON_SENTENCES else f'{code}_{sentence}',
            style='acted',
        )
        utterances.append(utterance)
    return utterances


def find_sexes(matches: list[re.Match]) -> dict[str, str]:
    """Returns the sex of each speaker in most of the files; '' if as many have either."""
    counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for match in matches:
        counts[match[5]][SEXES[match[4]]] += 1
    sexes = {}
    for speaker, count in counts.items():
        female, male = count['female'], count['male']
        sexes[speaker] = '' if female == male else max(count, key=count.__getitem__)
    return sexes


CORPUS = Corpus(
    name='ased',
    title='ASED',
    languages=('am',),
    speakers=65,
    expected_counts=({'angry': 486, 'fear': 510, 'happy': 486, 'neutral': 522, 'sad': 470},),
    licence='see its homepage',
    homepage='https://github.com/wgwangang/ASED_V1',
    walk=walk,
)
