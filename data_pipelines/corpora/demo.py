"""A synthetic corpus in English and French that eSpeak NG speaks on first use, so that everything can be tried at once.

It is no evidence about people: a speaker is a voice of eSpeak's with habits, an emotion is a shift of its prosody. Habits,
shifts and chance add up in the same five cues, so that a cue's value says little to whoever cannot discount the speaker.

The directions of `RULES` are those of the reviews; the magnitudes are this project's choice.
    pitch, range, rate, level: I. R. Murray and J. L. Arnott (1993), Toward the simulation of emotion in synthetic speech,
        J. Acoust. Soc. Am. 93(2), 1097-1108 (happiness is there faster or slower);
    these and tilt: P. N. Juslin and P. Laukka (2003), Communication of emotions in vocal expression and music performance,
        Psychological Bulletin 129(5), 770-814 (happiness is fast; energy at high frequencies is much in anger, medium in
        happiness, little in sadness).
"""

import ctypes
import dataclasses
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from data_pipelines.corpora import Corpus, Utterance
from data_pipelines.errors import UserError
from data_pipelines.progress import progress_bar


class Cues(NamedTuple):
    """How something is said, relative to eSpeak's default; cues of several origins add up."""

    pitch: float  # semitones of eSpeak's, which come out as 0.7 to 0.8 of one at a fixed range
    range: float  # of the pitch: log of a factor
    rate: float  # log of a factor
    level: float  # dB
    tilt: float  # dB per octave


@dataclasses.dataclass(frozen=True)
class Speaker:
    """A voice of eSpeak's, a vocal tract and habits."""

    name: str
    sex: str
    variant: str
    tract: float  # the factor on all resonances: above 1 is a shorter vocal tract
    habit: Cues


EMOTION_CUES = {
    'angry': Cues(+4.0, +0.4, +0.10, +7.0, +2.2),
    'happy': Cues(+4.0, +0.6, +0.25, +2.0, +0.4),
    'neutral': Cues(0, 0, 0, 0, 0),
    'sad': Cues(-2.5, -0.6, -0.25, -6.0, -2.0),
}
STRENGTH_RANGE = (
    0.6,
    1.4,
)  # an utterance carries its emotion more or less: the rule times a uniform draw
CUE_JITTER = Cues(0.8, 0.15, 0.06, 1.2, 0.25)  # standard deviations from utterance to utterance
SEED = 0

SPEAKERS = {
    'en': (
        Speaker('en01', 'female', 'f1', 1.00, Cues(-1.5, +0.1, +0.10, +2.0, -0.8)),
        Speaker('en02', 'male', 'm1', 1.04, Cues(+2.0, -0.2, -0.12, -2.5, +0.4)),
        Speaker('en03', 'female', 'f2', 0.95, Cues(-3.5, -0.1, -0.08, -1.0, +0.9)),
        Speaker('en04', 'male', 'm3', 0.97, Cues(-1.0, +0.2, +0.14, +2.5, -0.3)),
        Speaker('en05', 'female', 'f3', 0.92, Cues(+1.0, -0.2, +0.02, -3.0, +0.2)),
        Speaker('en06', 'male', 'm4', 0.93, Cues(+0.5, +0.1, -0.05, +0.5, -1.0)),
        Speaker('en07', 'female', 'f4', 0.98, Cues(+2.0, +0.2, -0.14, +1.0, -0.2)),
        Speaker('en08', 'male', 'm7', 1.02, Cues(+3.5, -0.1, +0.06, -0.5, +0.8)),
    ),
    'fr': (
        Speaker('fr01', 'female', 'f2', 1.03, Cues(+1.5, -0.2, +0.12, -2.0, -0.4)),
        Speaker('fr02', 'male', 'm3', 1.05, Cues(+2.5, +0.1, +0.04, +2.5, +0.9)),
        Speaker('fr03', 'female', 'f1', 0.94, Cues(-3.0, +0.2, -0.12, +0.5, +0.3)),
        Speaker('fr04', 'male', 'm1', 0.95, Cues(-0.5, -0.1, -0.06, -3.0, -0.9)),
        Speaker('fr05', 'female', 'f4', 0.90, Cues(-1.0, +0.1, -0.02, +3.0, -0.9)),
        Speaker('fr06', 'male', 'm6', 1.00, Cues(+0.5, -0.2, +0.14, -1.0, +0.5)),
        Speaker('fr07', 'female', 'f3', 0.98, Cues(+3.0, -0.1, +0.06, -0.5, +0.8)),
        Speaker('fr08', 'male', 'm4', 0.98, Cues(+4.0, +0.2, -0.14, +1.0, -0.2)),
    ),
}

SENTENCES = {
    'en': (
        'The key is under the grey mat.',
        'The train leaves at ten to nine.',
        'She put the letters on the shelf.',
        'On Sunday we walk to the market.',
        'The blue cup is by the window.',
        'The shop will open in an hour.',
    ),
    'fr': (
        'La clé se trouve sous le tapis gris.',
        'Le train part à neuf heures dix.',
        'Elle a rangé les lettres dans le tiroir.',
        'Le dimanche nous allons au marché.',
        'La tasse bleue est près de la fenêtre.',
        'Le magasin ouvre dans une heure.',
    ),
}


class Espeak:
    """eSpeak NG through ctypes: `say(text, voice, cues)` returns samples at `rate` Hz, of no particular level."""

    def __init__(self):
        import espeakng_loader

        self._lib = ctypes.CDLL(espeakng_loader.get_library_path())
        self.rate = self._lib.espeak_Initialize(
            2, 0, espeakng_loader.get_data_path().encode(), 0x8000
        )  # 2: synchronous
        if self.rate <= 0:
            raise UserError(
                f'eSpeak NG did not start with its data at {espeakng_loader.get_data_path()}.'
            )
        # Breath is drawn from this seed, otherwise the clock's. Other state (flutter, phase) outlives an utterance and a seed,
        # so that only a fresh process repeats itself.
        self._lib.espeak_ng_SetRandSeed(ctypes.c_long(SEED))
        self._chunks = []
        signature = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        self._callback = signature(self._receive)  # kept: the library only borrows it
        self._lib.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples, count, _events):
        if samples and count:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(self, text: str, voice: str, cues: Cues) -> np.ndarray:
        if self._lib.espeak_SetVoiceByName(voice.encode()):
            raise UserError(f'eSpeak NG has no voice {voice!r}.')
        self._lib.espeak_SetParameter(1, round(175 * np.exp(cues.rate)), 0)  # words per minute
        self._lib.espeak_SetParameter(
            3, round(50 + 50 / 12 * cues.pitch), 0
        )  # 0 to 100 is two octaves
        self._lib.espeak_SetParameter(4, round(50 * np.exp(cues.range)), 0)
        self._chunks.clear()
        data = text.encode()
        self._lib.espeak_Synth(
            data, ctypes.c_size_t(len(data) + 1), 0, 0, 0, 1, None, None
        )  # 1: UTF-8
        return np.concatenate(self._chunks).astype(np.float64)


def shape_spectrum(
    wave: np.ndarray, rate: int, tract: float, level: float, tilt: float
) -> np.ndarray:
    """Scales the spectrum's frequencies by `tract`, tilts it about 1 kHz, and sets the level.

    The wave becomes 1 / `tract` as long, its pitch `tract` as high; `level` is in dB about -34 dB of full scale (RMS), `tilt`
    in dB per octave between 125 Hz and 8 kHz.
    """
    spectrum, length = np.fft.rfft(wave), round(len(wave) / tract)
    hertz = np.arange(len(spectrum)) * rate / length
    spectrum *= 10 ** (tilt / 20 * np.log2(np.clip(hertz, 125, 8000) / 1000))
    wave = np.fft.irfft(spectrum, length)
    return wave / np.sqrt(np.mean(wave**2)) * 10 ** ((level - 34) / 20)


def synthesise(folder: Path, speakers: dict[str, tuple[Speaker, ...]] = SPEAKERS) -> None:
    """Writes the corpus below `folder`; the files repeat bit for bit where a fresh process writes the same speakers."""
    espeak = Espeak()
    todo = [
        (language, speaker, s, text, emotion)
        for language, those in speakers.items()
        for speaker in those
        for s, text in enumerate(SENTENCES[language], 1)
        for emotion in EMOTION_CUES
    ]
    for language, speaker, s, text, emotion in progress_bar(
        todo, desc='eSpeak NG', unit='utterance'
    ):
        rng = np.random.default_rng([SEED, *f'{speaker.name}_s{s}_{emotion}'.encode()])
        rule = np.multiply(EMOTION_CUES[emotion], rng.uniform(*STRENGTH_RANGE))
        cues = Cues(
            *(speaker.habit + rule + np.multiply(CUE_JITTER, rng.standard_normal(len(CUE_JITTER))))
        )
        # What the tract does to pitch and rate is taken back beforehand: 15, not 12, as eSpeak renders less of a shift.
        spoken = cues._replace(
            pitch=cues.pitch - 15 * np.log2(speaker.tract), rate=cues.rate - np.log(speaker.tract)
        )
        wave = espeak.say(text, f'{language}+{speaker.variant}', spoken)
        wave = shape_spectrum(wave, espeak.rate, speaker.tract, cues.level, cues.tilt)
        wave += 10 ** (-74 / 20) * rng.standard_normal(
            len(wave)
        )  # a quiet room rather than digital silence
        path = Path(folder, language, speaker.name, f'{speaker.name}_s{s}_{emotion}.flac')
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wave, espeak.rate, subtype='PCM_16')


def synthesise_in_subprocess(root: Path, module: str = 'data_pipelines.corpora.demo') -> None:
    """Synthesises a corpus as the folder `root`, all of it or nothing; a folder that holds anything is left alone.

    `module`, run as a program, writes the corpus into the folder that is its argument.
    """
    root = Path(root).resolve()
    if root.is_dir() and any(root.iterdir()):
        return
    if importlib.util.find_spec('espeakng_loader') is None:
        raise UserError(
            "This corpus is spoken by eSpeak NG, which is not installed. Run: pip install -e '.[demo]'"
        )
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'{root.name}.partial-', dir=root.parent) as partial:
        folder = Path(partial, root.name)
        command = [sys.executable, '-m', module, str(folder)]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
        os.rename(folder, root)


def walk(root: Path) -> list[Utterance]:
    """The utterances of `<root>/<language>/<speaker>/<speaker>_s<sentence>_<emotion>.flac`, by name."""
    sex = {speaker.name: speaker.sex for those in SPEAKERS.values() for speaker in those}
    utterances = []
    for path in sorted(Path(root).glob('*/*/*.flac')):
        match = re.fullmatch(rf'({"|".join(sex)})_(s\d+)_({"|".join(EMOTION_CUES)})', path.stem)
        if not match:
            raise UserError(
                f'{path} is not named like the demo corpus, as en01_s2_angry.flac is; remove it.'
            )
        speaker, sentence, emotion = match.groups()
        language = speaker[:2]
        utterances.append(
            Utterance(
                name=path.stem,
                path=path,
                speaker=speaker,
                emotion=emotion,
                language=language,
                corpus='demo',
                sex=sex[speaker],
                sentence=f'{language}_{sentence}',
                style='acted',
            )
        )
    return utterances


CORPUS = Corpus(
    name='demo',
    title='Demo corpus (synthetic, eSpeak NG)',
    languages=tuple(SPEAKERS),
    speakers=sum(map(len, SPEAKERS.values())),
    expected_counts=(
        dict.fromkeys(EMOTION_CUES, sum(len(SPEAKERS[k]) * len(SENTENCES[k]) for k in SPEAKERS)),
    ),
    licence='made on this machine; eSpeak NG itself is GPL-3.0-or-later',
    homepage='https://github.com/espeak-ng/espeak-ng',
    walk=walk,
    synthesise=synthesise_in_subprocess,
)

if __name__ == '__main__':
    synthesise(Path(sys.argv[1]))
