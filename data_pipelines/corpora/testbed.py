"""A synthetic test bench for forgetting speakers, with a dial on how much they differ; eSpeak NG speaks it on first use.

It is no evidence about people. Emotions are the rules of `demo`; a speaker is a voice of eSpeak's with a tract and habits drawn
at random. `style` is the dial: in spread0, spread1 and spread2 the habits and the logarithm of the tract are multiplied by 0, 1
and 2, and every other draw is the same. eSpeak's voices stay what they are, so that speakers differ in voice even in spread0.
Choose one by config.data.only. No voice is in two parts of the split, nor one that the audit takes for it. Counts, ranges and
voices are this project's choice.
"""

import functools
import re
import sys
from pathlib import Path

import numpy as np

from data_pipelines.corpora import Corpus, Utterance, demo
from data_pipelines.corpora.demo import EMOTION_CUES, SEED, SENTENCES, Cues, Speaker
from data_pipelines.errors import UserError

SPREADS = (0, 1, 2)
HABIT_RANGE = Cues(
    2.5, 0.2, 0.14, 2.0, 0.9
)  # a speaker's habits are drawn evenly from minus to plus these
LOG_TRACT_RANGE = 0.07  # likewise the logarithm of the tract
VOICES = {  # m1, m3, m5, m6 and Mike are one voice to the audit
    'train': {
        'female': ('f1', 'f3', 'f5', 'Andrea', 'Alicia', 'steph'),
        'male': ('m3', 'm5', 'm6', 'Michael', 'paul', 'quincy'),
    },
    'dev': {'female': ('linda', 'belinda'), 'male': ('Denis', 'antonio')},
    'test': {
        'female': ('aunty', 'f4', 'Annie', 'anika'),
        'male': ('gustave', 'm4', 'travis', 'm8'),
    },
}
SPEAKERS_PER_VOICE = 2  # speakers of every voice


def make_speakers(part: str, spread: float) -> tuple[Speaker, ...]:
    """The speakers of a part of the split, as different as `spread` says: train01, train02, ..., women and men in turn."""
    those = []
    for n in range(SPEAKERS_PER_VOICE * sum(map(len, VOICES[part].values()))):
        name, sex = f'{part}{n + 1:02}', ('female', 'male')[n % 2]
        draw = np.random.default_rng([SEED, *name.encode()]).uniform(-1, 1, 1 + len(HABIT_RANGE))
        variant = VOICES[part][sex][n // 2 % len(VOICES[part][sex])]
        habit = Cues(*(spread * draw[1:] * HABIT_RANGE))
        those.append(
            Speaker(name, sex, variant, float(np.exp(spread * LOG_TRACT_RANGE * draw[0])), habit)
        )
    return tuple(those)


def synthesise(folder: Path) -> None:
    """Writes `<folder>/<spread>/en/<speaker>/<speaker>_s<sentence>_<emotion>.flac`."""
    for spread in SPREADS:
        demo.synthesise(
            Path(folder, f'spread{spread}'),
            {'en': tuple(s for part in VOICES for s in make_speakers(part, spread))},
        )


def walk(root: Path) -> list[Utterance]:
    """The utterances of `synthesise`, by name; a speaker is one person whatever the spread."""
    sex = {s.name: s.sex for part in VOICES for s in make_speakers(part, 0)}
    utterances = []
    for path in sorted(Path(root).glob('*/*/*/*.flac')):
        style, stem = path.parts[-4], path.stem
        match = re.fullmatch(rf'({"|".join(sex)})_(s\d+)_({"|".join(EMOTION_CUES)})', stem)
        if not match or style not in [f'spread{s}' for s in SPREADS]:
            raise UserError(
                f'{path} is not named like the test bench, as spread1/en/train01/train01_s2_angry.flac is; remove it.'
            )
        speaker, sentence, emotion = match.groups()
        utterances.append(
            Utterance(
                name=f'{style}_{stem}',
                path=path,
                speaker=speaker,
                emotion=emotion,
                language='en',
                corpus='testbed',
                sex=sex[speaker],
                sentence=f'en_{sentence}',
                style=style,
                split=speaker[:-2],
            )
        )
    return utterances


NUM_SPEAKERS = sum(len(make_speakers(part, 0)) for part in VOICES)
CORPUS = Corpus(
    name='testbed',
    title='Test bench (synthetic, eSpeak NG)',
    languages=('en',),
    speakers=NUM_SPEAKERS,
    expected_counts=(
        dict.fromkeys(EMOTION_CUES, len(SPREADS) * NUM_SPEAKERS * len(SENTENCES['en'])),
    ),
    licence=demo.CORPUS.licence,
    homepage=demo.CORPUS.homepage,
    walk=walk,
    synthesise=functools.partial(
        demo.synthesise_in_subprocess, module='data_pipelines.corpora.testbed'
    ),
)

if __name__ == '__main__':
    synthesise(Path(sys.argv[1]))
