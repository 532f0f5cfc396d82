"""A synthetic test bench for speaker adversaries. eSpeak NG synthesises it at the first use.

Results on it say nothing about people. Emotions are those of the demo corpus. A speaker is a voice
of eSpeak NG with a vocal tract and habits drawn at random. The `style` says how much the speakers
differ: in spread0, spread1 and spread2 the habits and the logarithm of the tract are multiplied by
0, 1 and 2, and all other random draws are the same. The voices of eSpeak NG are not changed, so
speakers differ in voice even in spread0. Choose a spread with config.data.only.

Layout: `spread1/en/train01/train01_s2_angry.flac`, which is spread, language, speaker, sentence and
emotion; 48 speakers (24 train, 8 dev, 16 test), six sentences, four emotions, 3,456 utterances in
all. No voice is in two parts of the split, and neither are two voices that the audit finds alike.

Source: the counts, ranges and voices are this project's choice.
"""

import functools
import itertools
import re
import sys
from pathlib import Path

import numpy as np

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance, demo
from data_pipelines.corpora.demo import EMOTION_CUES, SEED, SENTENCES, Cues, Speaker
from data_pipelines.errors import UserError, exit_on_user_error
from data_pipelines.partial_folders import end_with_parent

SPREADS = (0, 1, 2)
# The habits and the logarithm of the tract are drawn uniformly between minus and plus these values.
HABIT_RANGE = Cues(2.5, 0.2, 0.14, 2.0, 0.9)
LOG_TRACT_RANGE = 0.07
# The audit finds the voices m1, m3, m5, m6 and Mike alike: at most one part may have them.
VOICES = {
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
SPEAKERS_PER_VOICE = 2
SEXES = ('female', 'male')  # in turn


def make_speakers(part: str, spread: float) -> tuple[Speaker, ...]:
    """Returns the speakers of a part of the split, named train01, train02 and so on.

    Women and men alternate. The larger `spread`, the more the speakers differ.
    """
    speakers = []
    num_speakers = SPEAKERS_PER_VOICE * sum(map(len, VOICES[part].values()))
    for n in range(num_speakers):
        name = f'{part}{n + 1:02}'
        sex = SEXES[n % 2]
        voices = VOICES[part][sex]
        rng = np.random.default_rng([SEED, *name.encode()])
        log_tract, *habit = rng.uniform(-1, 1, 1 + len(HABIT_RANGE))
        speaker = Speaker(
            name,
            sex,
            variant=voices[n // 2 % len(voices)],
            tract=float(np.exp(spread * LOG_TRACT_RANGE * log_tract)),
            habit=Cues(*(spread * np.array(habit) * HABIT_RANGE)),
        )
        speakers.append(speaker)
    return tuple(speakers)


def make_all_speakers(spread: float) -> tuple[Speaker, ...]:
    """Returns the speakers of all parts of the split."""
    return tuple(itertools.chain.from_iterable(make_speakers(part, spread) for part in VOICES))


def synthesise(folder: Path) -> None:
    """Writes the corpus below `folder`."""
    for spread in SPREADS:
        demo.synthesise(Path(folder, f'spread{spread}'), {'en': make_all_speakers(spread)})


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`, sorted by path.

    A speaker has the same name in every spread. Raises a UserError for a file with another name.
    """
    sex_by_speaker = {speaker.name: speaker.sex for speaker in make_all_speakers(spread=0)}
    pattern = rf'({"|".join(sex_by_speaker)})_(s\d+)_({"|".join(EMOTION_CUES)})'
    styles = [f'spread{spread}' for spread in SPREADS]
    utterances = []
    for path in sorted(Path(root).glob('*/*/*/*.flac')):
        style = path.parts[-4]
        match = re.fullmatch(pattern, path.stem)
        if not match or style not in styles:
            raise UserError(
                f'{path} is not a file of the test bench, which has names like '
                'spread1/en/train01/train01_s2_angry.flac; remove it.'
            )
        speaker, sentence, emotion = match.groups()
        utterance = Utterance(
            name=f'{style}_{path.stem}',
            path=path,
            speaker=speaker,
            emotion=emotion,
            language='en',
            corpus='testbed',
            sex=sex_by_speaker[speaker],
            sentence=f'en_{sentence}',
            style=style,
            split=speaker[:-2],
        )
        utterances.append(utterance)
    audio_files.print_left_out(
        Path(root),
        Path(root).rglob('*'),
        [utterance.path for utterance in utterances],
        'since they are not where those of this corpus are',
    )
    return utterances


NUM_SPEAKERS = len(make_all_speakers(spread=0))
NUM_PER_EMOTION = len(SPREADS) * NUM_SPEAKERS * len(SENTENCES['en'])
CORPUS = Corpus(
    name='testbed',
    title='Test bench (synthetic, eSpeak NG)',
    languages=('en',),
    speakers=NUM_SPEAKERS,
    expected_counts=(dict.fromkeys(EMOTION_CUES, NUM_PER_EMOTION),),
    licence=demo.CORPUS.licence,
    homepage=demo.CORPUS.homepage,
    walk=walk,
    synthesise=functools.partial(
        demo.synthesise_in_subprocess, module='data_pipelines.corpora.testbed'
    ),
)

if __name__ == '__main__':
    with exit_on_user_error():
        end_with_parent()
        synthesise(Path(sys.argv[1]))
