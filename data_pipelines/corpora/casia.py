"""CASIA, its public part: four Mandarin speakers, fifty sentences, six emotions.

Layout: `wangzhe/angry/201.wav`, which is speaker, emotion and sentence. A number stands for the
same words in every folder. The names do not say whether a speaker is a woman or a man.
The full corpus has 9,600 utterances; these 1,200 are the ones in circulation.

Source: Institute of Automation, Chinese Academy of Sciences (2005), CASIA Chinese emotional speech
corpus.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = ('angry', 'fear', 'happy', 'neutral', 'sad', 'surprise')
FILE_PATTERN = rf'(?i)(liuchanhg|wangzhe|zhaoquanyin|zhaozuoxiang)/({"|".join(EMOTIONS)})/(\d{{3}})'


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`."""
    files = audio_files.find_audio_files(
        root, FILE_PATTERN, 'wangzhe/angry/201.wav', parent_count=2
    )
    utterances = []
    for path, match in files:
        speaker, emotion, sentence = match.groups()
        utterance = Utterance(
            name=f'{speaker}_{emotion}_{sentence}'.lower(),
            path=path,
            speaker=speaker.lower(),
            emotion=emotion.lower(),
            language='zh',
            corpus='casia',
            sentence=sentence,
            style='acted',
        )
        utterances.append(utterance)
    return utterances


CORPUS = Corpus(
    name='casia',
    title='CASIA (public part)',
    languages=('zh',),
    speakers=4,
    expected_counts=(dict.fromkeys(EMOTIONS, 200),),
    licence='by agreement with the Chinese LDC',
    homepage='http://www.chineseldc.org',
    walk=walk,
)
