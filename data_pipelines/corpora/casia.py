"""CASIA, its public part: four Mandarin speakers, fifty sentences, six emotions; `wangzhe/angry/201.wav`.

Institute of Automation, Chinese Academy of Sciences (2005), CASIA Chinese emotional speech corpus. It has 9,600 utterances; these
1,200 are the ones that circulate. A number stands for the same words in every folder. The names do not tell a speaker's sex.
"""

from pathlib import Path

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance

EMOTIONS = ('angry', 'fear', 'happy', 'neutral', 'sad', 'surprise')


def walk(root: Path) -> list[Utterance]:
    """The utterances below `root`; two folders are speaker and emotion, and the name is the sentence."""
    return [
        Utterance(
            name='_'.join(m.groups()).lower(),
            path=path,
            speaker=m[1].lower(),
            emotion=m[2].lower(),
            language='zh',
            corpus='casia',
            sentence=m[3],
            style='acted',
        )
        for path, m in audio_files.find_audio_files(
            root,
            rf'(?i)(liuchanhg|wangzhe|zhaoquanyin|zhaozuoxiang)/({"|".join(EMOTIONS)})/(\d{{3}})',
            'wangzhe/angry/201.wav',
            parent_count=2,
        )
    ]


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
