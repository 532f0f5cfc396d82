"""TODO: jaxser.serving.predictor."""

import itertools
import math
import operator
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import threadpoolctl

from data_pipelines.batching import plan
from data_pipelines.corpora import Utterance
from data_pipelines.errors import UserError
from data_pipelines.features import decode, log_mel
from data_pipelines.features.upstream import AUDIO_SPEC, EncoderInput, EncoderStates
from data_pipelines.storage import dataset
from jaxser.configuration.serialization import config_from_dict
from jaxser.pretrained.encoder import PretrainedEncoder
from jaxser.pretrained.extractor import MAX_BATCH_HOPS, StateExtractor
from jaxser.provenance import package_version
from jaxser.runs import synthetic_note
from jaxser.serving.model import Model, find_encoder, read_model
from jaxser.serving.posterior import make_feature_function, make_posterior

MAX_UTTERANCE_SECONDS = 30.0  # seconds of an utterance; the LSTM never heard much longer ones

WINDOW_SECONDS, HOP_SECONDS = 10.0, 5.0  # seconds

BATCH_SIZE = 16  # stretches a dispatch

BUFFERED_SEGMENTS = (
    128  # stretches that are sorted by their length and then batched, so that little is padded
)

AUDIO_SUFFIXES = (
    '.wav',
    '.flac',
    '.ogg',
    '.oga',
    '.opus',
    '.mp3',
    '.aif',
    '.aiff',
    '.aifc',
    '.au',
    '.caf',
    '.w64',
    *decode.VIDEO_SUFFIXES,
)

PCM_ENCODINGS = {'s16le': np.dtype('<i2'), 'f32le': np.dtype('<f4')}

MAX_CHANNELS = 64  # more are samples that lie the wrong way round

MAX_AMPLITUDE = (
    100.0  # of floats, whose full scale is 1: beyond it they are integers that were not scaled
)


class Segment(NamedTuple):
    """A part of a sound that is predicted as one utterance; `heard` (mel_TxM, or its samples) is None where it is silent."""

    start: float  # seconds
    end: float
    encoder_input: np.ndarray | None


class Recording(NamedTuple):
    """A file, or why it has no answer."""

    name: str
    seconds: float = 0.0
    segments: tuple[Segment, ...] = ()
    error: str = ''


class FrameExtractor:
    """How a model hears that trains on frames of log-mel, or of what its pretrained encoder hears, which it changes.

    One over a frozen encoder does by upstream.Frozen, which has these methods.
    """

    def __init__(self, spec: log_mel.LogMel | EncoderInput, encoder: PretrainedEncoder | None):
        self.spec, self.blas = spec, threadpoolctl.ThreadpoolController()
        self.max_seconds = encoder.max_seconds if encoder else math.inf
        self.params = jax.device_put(encoder.params) if encoder else None

    def extract_input(self, wave: np.ndarray) -> np.ndarray:
        """mel_TxM as `prepare` makes it, with one thread: the last bit of a product depends on their number."""
        with self.blas.limit(limits=1, user_api='blas'):
            return (
                self.spec.compute_frames(wave)
                if isinstance(self.spec, EncoderInput)
                else log_mel.compute_log_mel(wave, self.spec)
            )

    def padded_length(self, mel_TxM: np.ndarray) -> int:
        """The number of frames to which a sound is padded."""
        return int(min(plan.padded_length(len(mel_TxM)), 100 * self.max_seconds))

    def max_batch_size(self, length: int) -> int:
        """How many go through the network together."""
        return max(1, MAX_BATCH_HOPS // length) if self.params else BATCH_SIZE

    def pad_batch(
        self, mels: list[np.ndarray], length: int, B: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """mel_BxTxM, padded to `length` frames and B sounds, and frames_B."""
        mel_BxTxM, frames_B = (
            np.zeros((B, length, self.spec.bands), np.float16),
            np.zeros(B, np.int32),
        )
        for b, mel_TxM in enumerate(mels):
            mel_BxTxM[b, : len(mel_TxM)] = mel_TxM
            frames_B[b] = len(mel_TxM)
        return mel_BxTxM, frames_B


class Predictor:
    """A model, ready to predict; its programs are compiled when they are first needed."""

    def __init__(
        self,
        model: Model,
        window: float = WINDOW_SECONDS,
        hop: float = HOP_SECONDS,
        encoder: PretrainedEncoder | None = None,
    ):
        """`window` and `hop` in seconds, for sounds longer than 30 s and for streams; `encoder` as bundle.encoder finds it."""
        facts, arrays = model
        self.metadata, self.classes = facts, tuple(facts['classes'])
        self.config = config_from_dict(facts['config'])
        spec = dataset.feature_spec(self.config.data)
        self.wave_spec = AUDIO_SPEC if encoder else spec  # of its rate the samples are
        self.extractor = (
            StateExtractor(encoder, spec.is_pooled)
            if isinstance(spec, EncoderStates)
            else FrameExtractor(spec, encoder)
        )
        if window < 2 * decode.MIN_SECONDS:
            raise UserError(
                f'A window of {window:g} s is too short; expected {2 * decode.MIN_SECONDS:g} s or more.'
            )
        if not 0 < hop <= window:
            raise UserError(
                f'A window of {window:g} s every {hop:g} s; expected a hop above 0 and no longer than the window.'
            )
        if window > self.extractor.max_seconds:
            raise UserError(
                f'A window of {window:g} s is too long: {encoder.config["model_type"]}, by which this model hears, hears '
                f'{self.extractor.max_seconds:g} s at most.'
            )
        self.window, self.hop, self.max_seconds = (
            window,
            hop,
            min(MAX_UTTERANCE_SECONDS, self.extractor.max_seconds),
        )
        self.runs = {'batch_stats': {}, **jax.tree.map(jnp.asarray, arrays)}
        in_turn = jax.default_backend() == 'cpu'  # as in training (jaxser/parallel.py)
        mean, mel = make_posterior(facts, in_turn, encoder), make_feature_function(facts, encoder)
        self._posterior = jax.jit(
            lambda runs, params, *heard: mean(runs, params, *mel(params, *heard))
        )

    @property
    def notes(self) -> list[str]:
        """What a person should know before believing an answer."""
        said = []
        if warning := synthetic_note(self.metadata):
            what = warning.partition(':')[0]
            said.append(f'{what} trained this model: what it says of people means nothing.')
        if (how := self.metadata['normalisation']).startswith('speaker'):
            said.append(
                f'Training normalised by {how}; here every speaker is a stranger, normalised by the utterance alone.'
            )
        was, now = self.metadata['versions'].get('librosa'), package_version('librosa')
        if was and was != now:
            said.append(
                f'The model was trained on features by librosa {was}; this is librosa {now}.'
            )
        return said

    def predict(self, wave: np.ndarray, rate: int) -> dict:
        """Of samples of shape (time,) or (time, channels), floats of full scale 1 or signed integers, at `rate` Hz:

        {'seconds', 'emotion', 'posterior': {class: probability}, 'windows': [{'start', 'end', 'emotion', 'posterior'}, ...]}

        `windows` is empty for what is no longer than 30 s; one that is silent has None as its posterior, and no part in the mean.
        Raises Refusal for what is too short, silent or no sound.
        """
        samples = np.asarray(wave)
        if (
            samples.ndim not in (1, 2)
            or not samples.size
            or samples.reshape(len(samples), -1).shape[1] > MAX_CHANNELS
        ):
            raise UserError(
                f'The wave has the shape {samples.shape}; expected (time,) or (time, channels).'
            )
        if samples.dtype.kind not in 'if':
            raise UserError(
                f'The wave is of {samples.dtype}; expected floats, of full scale 1, or signed integers.'
            )
        if samples.dtype.kind == 'f' and MAX_AMPLITUDE < (peak := np.abs(samples).max()) < np.inf:
            raise UserError(
                f'The wave has samples of {peak:g}; expected floats of full scale 1, or signed integers.'
            )
        if samples.dtype.kind == 'i':
            samples = samples / -float(np.iinfo(samples.dtype).min)
        try:
            decode.check_sample_rate(operator.index(rate))
            samples = decode.to_mono(
                samples.reshape(len(samples), -1).astype(np.float32), rate, self.wave_spec
            )
            (answer,) = self._answer_recordings([self._make_recording('', samples)])
        except TypeError:
            raise UserError(f'The rate is {rate!r}; expected a whole number of Hz.') from None
        except decode.Rejection as reason:
            answer = {'error': str(reason)}
        if 'error' in answer:
            raise UserError(f'The wave has no answer: {answer["error"]}.')
        return answer

    def predict_files(self, paths: Iterable) -> Iterator[dict]:
        """Of every file, in order, what `predict` says of it, with its name as 'file'; {'file', 'error'} where it says nothing.

        A folder is every audio file below it.
        """
        waiting: list[Recording] = []
        for path in itertools.chain.from_iterable(map(find_audio_files, map(Path, paths))):
            waiting.append(self._read_recording(path))
            if sum(len(s.segments) for s in waiting) >= BUFFERED_SEGMENTS:
                yield from self._answer_recordings(waiting)
                waiting = []
        yield from self._answer_recordings(waiting)

    def predict_stream(
        self, file: BinaryIO, rate: int, encoding: str = 's16le', channels: int = 1
    ) -> Iterator[dict]:
        """Of raw PCM, every second as soon as it is there, what is heard in the last `window` seconds: {'start', 'end', ...}.

        Where a second has no answer its posterior is None and its 'note' says why; where none has, {'file', 'error'} ends it.
        """
        sample = PCM_ENCODINGS[encoding]
        keep, heard, kept = round(self.window * rate), 0, np.zeros((0, channels), np.float32)
        reason = 'empty: no sample arrived'
        nothing = self.extractor.extract_input(
            np.zeros(round(self.window * self.wave_spec.rate), np.float32)
        )
        length = self.extractor.padded_length(nothing)
        self._predict_posteriors([nothing], length)  # compiled before the first second is over
        while block := read_exactly(file, rate * channels * sample.itemsize):
            whole = block[: len(block) // (channels * sample.itemsize) * channels * sample.itemsize]
            new = np.frombuffer(whole, sample).reshape(-1, channels)
            scale = 1.0 if sample.kind == 'f' else 1 << 15
            kept = np.concatenate([kept, new.astype(np.float32) / np.float32(scale)])[-keep:]
            if not len(new):
                break  # it ends within a sample
            heard += len(new)
            answer = {'start': (heard - len(kept)) / rate, 'end': heard / rate}
            try:
                heard_now = self.extractor.extract_input(decode.to_mono(kept, rate, self.wave_spec))
                yield answer | self._format_posterior(
                    self._predict_posteriors([heard_now], length)[0]
                )
                reason = ''
            except decode.Rejection as why:  # silent, as a rule
                yield answer | self._format_posterior(None) | {'note': str(why)}
                reason = reason and str(why)
        if reason:
            yield {'file': '-', 'error': reason}

    def _read_recording(self, path: Path) -> Recording:
        """The sound of a file."""
        if path.is_dir():
            return Recording(
                str(path), error=f'no audio file below it ({", ".join(AUDIO_SUFFIXES)})'
            )
        try:
            return self._make_recording(
                str(path), decode.decode(Utterance(path.name, path, '', '', '', ''), self.wave_spec)
            )
        except decode.Rejection as reason:
            return Recording(str(path), error=str(reason))
        except MemoryError:
            return Recording(str(path), error='too long for the memory')

    def _make_recording(self, name: str, wave: np.ndarray) -> Recording:
        """Samples of the model's rate, cut into stretches."""
        rate = self.wave_spec.rate
        length, window = len(wave), round(self.window * rate)
        starts = [0]
        if length > max(self.max_seconds * rate, window):
            hop = round(self.hop * rate)
            starts = [
                *range(0, length - window, hop),
                length - window,
            ]  # the last one ends where the sound does
        else:
            window = length
        return Recording(
            name, length / rate, tuple(self._make_segment(wave[s : s + window], s) for s in starts)
        )

    def _make_segment(self, wave: np.ndarray, start: int) -> Segment:
        rate = self.wave_spec.rate
        silent = np.ptp(wave) < 2 * decode.SILENCE_AMPLITUDE
        return Segment(
            start / rate,
            (start + len(wave)) / rate,
            None if silent else self.extractor.extract_input(wave),
        )

    def _answer_recordings(self, sounds: list[Recording]) -> list[dict]:
        """What is said of each."""
        every = [
            s.encoder_input
            for sound in sounds
            for s in sound.segments
            if s.encoder_input is not None
        ]
        found, said = iter(self._predict_posteriors(every)), []
        for sound in sounds:
            name = {'file': sound.name} if sound.name else {}
            if sound.error:
                said.append(name | {'error': sound.error})
                continue
            p = [None if s.encoder_input is None else next(found) for s in sound.segments]
            spans = [
                {'start': s.start, 'end': s.end} | self._format_posterior(p_C)
                for s, p_C in zip(sound.segments, p)
            ]
            heard = [p_C for p_C in p if p_C is not None]
            whole = (
                self._format_posterior(np.mean(heard, 0))
                if heard
                else {'error': 'silent in every window: nothing above -80 dBFS'}
            )
            said.append(
                name
                | {'seconds': sound.seconds}
                | whole
                | {'windows': spans if len(spans) > 1 else []}
            )
        return said

    def _format_posterior(self, p_C: np.ndarray | None) -> dict:
        if p_C is None:
            return {'emotion': None, 'posterior': None}
        return {
            'emotion': self.classes[int(p_C.argmax())],
            'posterior': dict(zip(self.classes, p_C.tolist())),
        }

    def _predict_posteriors(
        self, sounds: list[np.ndarray], length: int | None = None
    ) -> list[np.ndarray]:
        """p_C of all that was heard, float64; padded to `length`, or to one of few lengths."""
        found: list = [None] * len(sounds)
        order, at = sorted(range(len(sounds)), key=lambda n: -len(sounds[n])), 0
        while at < len(order):
            to = length or self.extractor.padded_length(sounds[order[at]])
            most = min(BATCH_SIZE, self.extractor.max_batch_size(to))
            some = order[at : at + most]
            heard, length_B = self.extractor.pad_batch(
                [sounds[n] for n in some], to, 1 if len(some) == 1 else most
            )
            p_BxC = np.asarray(
                self._posterior(self.runs, self.extractor.params, heard, length_B), np.float64
            )
            for b, n in enumerate(some):
                found[n] = p_BxC[b] / p_BxC[b].sum()
            at += most
        return found


def load_predictor(
    folder, window: float = WINDOW_SECONDS, hop: float = HOP_SECONDS, upstream=None
) -> Predictor:
    """The model of a finished sweep's workdir, or of its folder model/.

    `upstream` is where the pretrained encoder is, if it is neither beside the model nor where it was in preparing or training.
    """
    model = read_model(folder)
    return Predictor(model, window, hop, find_encoder(folder, model.metadata, upstream))


def find_audio_files(path: Path) -> list[Path]:
    """A file itself, or every audio file below a folder but hidden ones, by their paths; the folder itself where it has none."""
    if not path.is_dir():
        return [path]
    found = (
        p
        for p in path.rglob('*')
        if p.suffix.lower() in AUDIO_SUFFIXES and not p.name.startswith('.') and not p.is_dir()
    )
    return sorted(found) or [path]


def read_exactly(file: BinaryIO, size: int) -> bytes:
    """So many bytes, however a pipe cuts them; fewer where it ends."""
    parts = []
    while size and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b''.join(parts)
