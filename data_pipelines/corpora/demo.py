"""A small synthetic corpus in English and French. eSpeak NG synthesises it at the first use.

It needs no download, and results on it say nothing about people. A speaker is a voice of eSpeak NG
with habits, and an emotion is a shift of its prosody. Habits, shifts and random variation are added
in the same five cues. So the value of a cue says little about the emotion if the speaker is
unknown.

Layout: `en/en01/en01_s2_angry.flac`, which is language, speaker, sentence and emotion; 16 speakers,
six sentences in each language, four emotions, 384 utterances.

Sources: the directions of `EMOTION_CUES` are those of two reviews; the magnitudes are this
project's choice.
  pitch, range, rate, level: I. R. Murray and J. L. Arnott (1993), Toward the simulation of emotion
    in synthetic speech, J. Acoust. Soc. Am. 93(2), 1097-1108 (happiness: faster or slower);
  these and tilt: P. N. Juslin and P. Laukka (2003), Communication of emotions in vocal expression
    and music performance, Psychological Bulletin 129(5), 770-814 (happiness is fast; energy at high
    frequencies is high in anger, medium in happiness, low in sadness).
"""

import ctypes
import dataclasses
import importlib.util
import io
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from data_pipelines import audio_files
from data_pipelines.corpora import Corpus, Utterance
from data_pipelines.errors import UserError, exit_on_user_error
from data_pipelines.partial_folders import (
    end_with_parent,
    environment_of_child,
    partial_folder,
)
from data_pipelines.progress import progress_bar


class Cues(NamedTuple):
    """The prosody of an utterance, relative to the default of eSpeak NG.

    The cues of a speaker, of an emotion and of an utterance are added.
    """

    pitch: float  # in semitones of eSpeak NG; each raises the pitch by 0.7 to 0.8 of a semitone
    range: float  # of the pitch: logarithm of a factor
    rate: float  # logarithm of a factor
    level: float  # dB
    tilt: float  # dB per octave


@dataclasses.dataclass(frozen=True)
class Speaker:
    """A synthetic speaker: a voice of eSpeak NG, a vocal tract and habits."""

    name: str
    sex: str
    variant: str  # the name of the voice
    tract: float  # a factor on all resonances; above 1, the vocal tract is shorter
    habit: Cues


EMOTION_CUES = {
    'angry': Cues(+4.0, +0.4, +0.10, +7.0, +2.2),
    'happy': Cues(+4.0, +0.6, +0.25, +2.0, +0.4),
    'neutral': Cues(0, 0, 0, 0, 0),
    'sad': Cues(-2.5, -0.6, -0.25, -6.0, -2.0),
}
# The cues of the emotion are multiplied by a random factor, drawn uniformly for each utterance.
STRENGTH_RANGE = (0.6, 1.4)
CUE_JITTER = Cues(0.8, 0.15, 0.06, 1.2, 0.25)  # standard deviations between utterances
SEED = 0
ROOM_NOISE_DB = -74  # RMS in dB of full scale: a quiet room in place of digital silence
SPEECH_LEVEL_DB = -34  # RMS in dB of full scale of an utterance whose cue `level` is 0

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


# Constants of eSpeak NG's speak_lib.h.
AUDIO_OUTPUT_SYNCHRONOUS = 2
INITIALIZE_DONT_EXIT = 0x8000
PARAMETER_RATE = 1  # words per minute
PARAMETER_PITCH = 3  # 0 to 100, which is two octaves
PARAMETER_RANGE = 4  # of the pitch
CHARACTERS_UTF8 = 1
DEFAULT_RATE = 175
DEFAULT_PITCH = 50
DEFAULT_RANGE = 50


class Espeak:
    """The speech synthesiser eSpeak NG, called through ctypes; it speaks at `rate` Hz."""

    def __init__(self):
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data_path = espeakng_loader.get_data_path()
        self.rate = self._library.espeak_Initialize(
            AUDIO_OUTPUT_SYNCHRONOUS, 0, data_path.encode(), INITIALIZE_DONT_EXIT
        )
        if self.rate <= 0:
            raise UserError(
                f'eSpeak NG could not start with its data at {data_path}. '
                'Install it again: pip install --force-reinstall espeakng-loader'
            )
        # The sound of breath is drawn from this seed; without it, from the clock. Other state
        # (flutter, phase) survives an utterance and a new seed, so only a new process gives the
        # same samples again.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(SEED))
        self._chunks = []
        callback_type = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        # The library does not own the callback, so it must stay referenced here.
        self._callback = callback_type(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples, count, _events):
        if samples and count:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(self, text: str, voice: str, cues: Cues) -> np.ndarray:
        """Returns the samples of a text, float64; their level is arbitrary.

        Raises a UserError if there is no such voice.
        """
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise UserError(f'eSpeak NG has no voice {voice!r}.')
        rate = round(DEFAULT_RATE * np.exp(cues.rate))
        pitch = round(DEFAULT_PITCH + 50 / 12 * cues.pitch)
        pitch_range = round(DEFAULT_RANGE * np.exp(cues.range))
        self._library.espeak_SetParameter(PARAMETER_RATE, rate, 0)
        self._library.espeak_SetParameter(PARAMETER_PITCH, pitch, 0)
        self._library.espeak_SetParameter(PARAMETER_RANGE, pitch_range, 0)
        self._chunks.clear()
        data = text.encode()
        size = ctypes.c_size_t(len(data) + 1)
        self._library.espeak_Synth(data, size, 0, 0, 0, CHARACTERS_UTF8, None, None)
        return np.concatenate(self._chunks).astype(np.float64)


def shape_spectrum(
    wave: np.ndarray, rate: int, tract: float, level: float, tilt: float
) -> np.ndarray:
    """Returns the wave with scaled frequencies, a spectral tilt and a new level.

    Args:
      wave: Samples at `rate` Hz.
      rate: Sampling rate.
      tract: The factor on all frequencies. The wave becomes 1 / `tract` as long.
      level: Root mean square, in dB above `SPEECH_LEVEL_DB`.
      tilt: Gain in dB per octave between 125 Hz and 8 kHz; it is 0 dB at 1 kHz.
    """
    length = round(len(wave) / tract)
    spectrum = np.fft.rfft(wave)
    hertz = np.arange(len(spectrum)) * rate / length
    spectrum *= 10 ** (tilt / 20 * np.log2(np.clip(hertz, 125, 8000) / 1000))
    shaped = np.fft.irfft(spectrum, length)
    return shaped / np.sqrt(np.mean(shaped**2)) * 10 ** ((level + SPEECH_LEVEL_DB) / 20)


class Prompt(NamedTuple):
    """One utterance to synthesise."""

    language: str
    speaker: Speaker
    sentence: int  # counted from 1
    text: str
    emotion: str

    @property
    def name(self) -> str:
        """The name of the utterance's file without its suffix."""
        return f'{self.speaker.name}_s{self.sentence}_{self.emotion}'


def make_prompts(speakers: dict[str, tuple[Speaker, ...]]) -> list[Prompt]:
    """Returns the prompts of every sentence and emotion by every speaker, in order."""
    prompts = []
    for language, language_speakers in speakers.items():
        sentences = list(enumerate(SENTENCES[language], 1))
        for speaker, (sentence, text), emotion in itertools.product(
            language_speakers, sentences, EMOTION_CUES
        ):
            prompts.append(Prompt(language, speaker, sentence, text, emotion))
    return prompts


def synthesise_utterance(espeak: Espeak, prompt: Prompt) -> np.ndarray:
    """Returns the samples of one utterance at `espeak.rate` Hz."""
    speaker = prompt.speaker
    rng = np.random.default_rng([SEED, *prompt.name.encode()])
    emotion_cues = np.multiply(EMOTION_CUES[prompt.emotion], rng.uniform(*STRENGTH_RANGE))
    jitter = np.multiply(CUE_JITTER, rng.standard_normal(len(CUE_JITTER)))
    cues = Cues(*(speaker.habit + emotion_cues + jitter))
    # Scaling the frequencies also changes pitch and rate, which is corrected here in advance. The
    # factor is 15, not 12, since eSpeak NG renders less of a shift in pitch than it is asked for.
    corrected_cues = cues._replace(
        pitch=cues.pitch - 15 * np.log2(speaker.tract), rate=cues.rate - np.log(speaker.tract)
    )
    wave = espeak.say(prompt.text, f'{prompt.language}+{speaker.variant}', corrected_cues)
    wave = shape_spectrum(wave, espeak.rate, speaker.tract, cues.level, cues.tilt)
    return wave + 10 ** (ROOM_NOISE_DB / 20) * rng.standard_normal(len(wave))


def synthesise(folder: Path, speakers: dict[str, tuple[Speaker, ...]] = SPEAKERS) -> None:
    """Writes the corpus below `folder`.

    The files are the same to the bit whenever a new process writes the same speakers.
    """
    espeak = Espeak()
    prompts = make_prompts(speakers)
    for prompt in progress_bar(prompts, desc='eSpeak NG', unit='utterance'):
        wave = synthesise_utterance(espeak, prompt)
        path = Path(folder, prompt.language, prompt.speaker.name, f'{prompt.name}.flac')
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()  # the errors of soundfile would not say that a disk is full
        soundfile.write(content, wave, espeak.rate, format='FLAC', subtype='PCM_16')
        path.write_bytes(content.getvalue())


def synthesise_in_subprocess(root: Path, module: str = 'data_pipelines.corpora.demo') -> None:
    """Synthesises a corpus into the folder `root`, completely or not at all.

    Nothing is done if the folder is not empty. Raises a UserError if eSpeak NG is not installed.

    Args:
      root: The new folder.
      module: The module to run; it writes the corpus into the folder that is its argument.
    """
    root = Path(root).resolve()
    if _has_files(root):
        return
    if importlib.util.find_spec('espeakng_loader') is None:
        raise UserError(
            'eSpeak NG, which synthesises this corpus, is not installed. '
            "Run: pip install -e '.[demo]'"
        )
    with partial_folder(root.parent, f'{root.name}.partial-') as partial:
        folder = partial / root.name
        command = [sys.executable, '-m', module, str(folder)]
        try:
            subprocess.run(
                command, check=True, cwd=Path(__file__).parents[2], env=environment_of_child()
            )
        except subprocess.CalledProcessError as error:
            raise UserError(
                f'{root} could not be synthesised: {module} ended with the status '
                f'{error.returncode}. Its message is above; no files were left behind.'
            ) from error
        try:
            os.rename(folder, root)
        except OSError:
            if not _has_files(root):  # else another process was faster, with the same files
                raise


def _has_files(folder: Path) -> bool:
    """Returns whether a folder exists and is not empty."""
    return folder.is_dir() and any(folder.iterdir())


def walk(root: Path) -> list[Utterance]:
    """Returns the utterances below `root`, sorted by path.

    Raises a UserError for a file with another name.
    """
    sex_by_speaker = {}
    for speaker in itertools.chain.from_iterable(SPEAKERS.values()):
        sex_by_speaker[speaker.name] = speaker.sex
    pattern = rf'({"|".join(sex_by_speaker)})_(s\d+)_({"|".join(EMOTION_CUES)})'
    utterances = []
    for path in sorted(Path(root).glob('*/*/*.flac')):
        match = re.fullmatch(pattern, path.stem)
        if not match:
            raise UserError(
                f'{path} is not a file of the demo corpus, which has names like '
                'en01_s2_angry.flac; remove it.'
            )
        speaker_name, sentence, emotion = match.groups()
        language = speaker_name[:2]
        utterance = Utterance(
            name=path.stem,
            path=path,
            speaker=speaker_name,
            emotion=emotion,
            language=language,
            corpus='demo',
            sex=sex_by_speaker[speaker_name],
            sentence=f'{language}_{sentence}',
            style='acted',
        )
        utterances.append(utterance)
    audio_files.print_left_out(
        Path(root),
        Path(root).rglob('*'),
        [utterance.path for utterance in utterances],
        'since they are not where those of this corpus are',
    )
    return utterances


NUM_SPEAKERS = len(SPEAKERS['en']) + len(SPEAKERS['fr'])
SENTENCES_PER_LANGUAGE = len(SENTENCES['en'])
CORPUS = Corpus(
    name='demo',
    title='Demo corpus (synthetic, eSpeak NG)',
    languages=tuple(SPEAKERS),
    speakers=NUM_SPEAKERS,
    expected_counts=(dict.fromkeys(EMOTION_CUES, NUM_SPEAKERS * SENTENCES_PER_LANGUAGE),),
    licence='made on this machine; eSpeak NG itself is GPL-3.0-or-later',
    homepage='https://github.com/espeak-ng/espeak-ng',
    walk=walk,
    synthesise=synthesise_in_subprocess,
)

if __name__ == '__main__':
    with exit_on_user_error():
        end_with_parent()
        synthesise(Path(sys.argv[1]))
