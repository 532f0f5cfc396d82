"""Predicts the emotion or the ratings of waves, files and streams with a model."""

import copy
import functools
import operator
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.corpora import Utterance
from data_pipelines.errors import UserError
from data_pipelines.features import decode
from data_pipelines.features.rejection import check_sample_rate
from data_pipelines.features.upstream import AUDIO_SPEC, EncoderStates
from data_pipelines.storage import dataset
from jaxser.configuration.serialization import config_from_dict
from jaxser.pretrained.encoder import PretrainedEncoder
from jaxser.pretrained.extractor import StateExtractor
from jaxser.provenance import package_version
from jaxser.runs import synthetic_note
from jaxser.serving import streams
from jaxser.serving.enrolment import (
    NORMALISATION,
    EnrolledUtterance,
    OffsetEstimator,
    RunningEnrolment,
    SpeakerEnrolment,
    can_enrol,
    check_can_enrol,
    check_enrolled,
    describe_folders,
    describe_rejected,
    enrolment_notes,
    load_enrolment,
    offset_shape,
)
from jaxser.serving.frame_extractor import BATCH_SIZE, FrameExtractor
from jaxser.serving.model import Model, check_network, find_encoder, read_model
from jaxser.serving.model_outputs import make_feature_function, make_model_outputs
from jaxser.serving.output_names import POSTERIOR, RATINGS, OutputNames
from jaxser.serving.pcm import MAX_CHANNELS, to_float_samples
from jaxser.serving.recordings import (
    AUDIO_SUFFIXES,
    Recording,
    Segment,
    expand_folder,
    to_path,
)

MAX_UTTERANCE_SECONDS = 30.0  # there are hardly any longer utterances in training
WINDOW_SECONDS = 10.0
HOP_SECONDS = 5.0
MIN_WINDOW_SECONDS = 2 * decode.MIN_SECONDS
MAX_WINDOW_SECONDS = 3600.0
MIN_HOP_SECONDS = 0.01  # a frame of the features
MAX_WINDOWS = 20_000  # of a recording; 28 hours at the default hop

# Answers that are due are given before a file with more samples is decoded, which takes long and
# may need more memory than there is.
MANY_VALUES = 1 << 24

# The number of segments that are sorted by length before they are batched, to avoid padding.
BUFFERED_SEGMENTS = 128


def _ignore(sentence: str) -> None:
    """Reports nothing."""


class Predictor:
    """A model that is ready to predict; its programs are compiled when they are first needed.

    Attributes:
      classes: the classes of emotions; () for a model of ratings.
      ratings: the predicted ratings, such as arousal; () for a model of classes.
      enrolment: the enrolled speaker, whose utterances it predicts; None if nobody is enrolled.
    """

    def __init__(
        self,
        model: Model,
        window: float = WINDOW_SECONDS,
        hop: float = HOP_SECONDS,
        encoder: PretrainedEncoder | None = None,
        channel: int | None = None,
    ):
        """Prepares a model.

        Args:
          model: as `read_model` returns it.
          window: seconds of a window, for recordings of more than 30 s and for streams.
          hop: seconds between the starts of two windows of a recording.
          encoder: the pretrained encoder of the model, as `find_encoder` returns it.
          channel: which channel of recordings is predicted, from 1; None is the mean of all.

        Raises:
          UserError: window, hop or channel are out of range.
        """
        check_windows(window, hop)
        check_channel(channel)
        self.model = model
        self.metadata = model.metadata
        self.names = OutputNames.from_metadata(self.metadata)
        self.classes, self.ratings = self.names
        self.config = config_from_dict(self.metadata['config'])
        spec = dataset.feature_spec(self.config.data)
        self.wave_spec = AUDIO_SPEC if encoder else spec  # has the sample rate
        if isinstance(spec, EncoderStates):
            self.extractor = StateExtractor(encoder, spec.is_pooled)
        else:
            self.extractor = FrameExtractor(spec, encoder)
        if window > self.extractor.max_seconds:
            raise UserError(
                f'A window of {window:g} s is too long: {encoder.config["model_type"]}, the '
                f'encoder of this model, takes {self.extractor.max_seconds:g} s at most.'
            )
        self.window = window
        self.hop = hop
        self.channel = channel
        self.max_seconds = min(MAX_UTTERANCE_SECONDS, self.extractor.max_seconds)
        self.run_arrays = jax.tree.map(jnp.asarray, model.run_arrays)
        self._set_enrolment(None)
        self._outputs = self._compile_outputs(encoder)

    def _compile_outputs(self, encoder: PretrainedEncoder | None):
        """Returns the jitted function (run_arrays, params, batch, length_B) -> output_BxO.

        The outputs are the posterior and then the ratings. If speakers can be enrolled,
        speaker_offset_RxP is a further argument.
        """
        in_turn = jax.default_backend() == 'cpu'  # as in training (jaxser/training/parallel.py)
        mean_outputs = make_model_outputs(self.metadata, in_turn, encoder)
        make_features = make_feature_function(self.metadata, encoder)

        @jax.jit
        def outputs(run_arrays, params, batch, length_B, *speaker_offset):
            mel_BxTxM, frames_B = make_features(params, batch, length_B)
            arrays = mean_outputs(run_arrays, params, mel_BxTxM, frames_B, *speaker_offset)
            in_order = [arrays[name] for name in (POSTERIOR, RATINGS) if name in arrays]
            return jnp.concatenate(in_order, axis=-1)

        return outputs

    def _set_enrolment(self, enrolment: SpeakerEnrolment | None) -> None:
        self.enrolment = enrolment
        self._speaker_offset: tuple[jax.Array, ...] = ()  # what `_outputs` takes in addition
        if can_enrol(self.metadata):
            offset_RxP = np.zeros(offset_shape(self.model), np.float32)
            if enrolment:
                offset_RxP = enrolment.speaker_offset_RxP
            self._speaker_offset = (jnp.asarray(offset_RxP),)

    def with_enrolment(self, enrolment: SpeakerEnrolment | None) -> 'Predictor':
        """Returns a predictor with this speaker enrolled, or without any if `enrolment` is None.

        It shares the compiled programs. UserError if the model cannot enrol speakers.
        """
        if enrolment:
            check_can_enrol(self.metadata)
        speaker = copy.copy(self)
        speaker._set_enrolment(enrolment)
        return speaker

    def enrol(self, waves, rate: int) -> 'Predictor':
        """Returns a predictor for the speaker of these waves; this predictor does not change.

        The waves need no labels. One of more than 30 s is cut into windows of `window` seconds.
        What is silent or shorter than a second is not enrolled: see `enrolment.rejected`. The
        speaker replaces one that was enrolled before.

        Args:
          waves: a list of waves, or one wave, as `predict` takes them.
          rate: Hz.

        Raises:
          UserError: nothing could be enrolled, or the model was not trained with
            config.data.normalise=speaker_enrolled.
        """
        running = self.start_enrolment()
        if isinstance(waves, np.ndarray):
            waves = [waves]
        _check_no_paths(waves)
        for n, wave in enumerate(waves, start=1):
            name = f'recording {n}'
            try:
                running.add_recording(name, self._to_mono(wave, rate))
            except decode.Rejection as reason:
                running.reject(name, str(reason))
        return self.with_enrolment(check_enrolled(running.estimate()))

    def enrol_files(self, paths: Iterable) -> 'Predictor':
        """Returns a predictor for the speaker of audio files or folders of them, as `enrol`."""
        running = self.start_enrolment()
        if isinstance(paths, (str, Path)):
            paths = [paths]
        for path in paths:
            for file in expand_folder(to_path(path)):
                running.add(self._describe_file(running, file))
        return self.with_enrolment(check_enrolled(running.estimate()))

    def start_enrolment(self) -> RunningEnrolment:
        """Returns an enrolment without recordings; UserError if the model cannot enrol."""
        return RunningEnrolment(
            self._offset_estimator, self.wave_spec.rate, self.window, self.max_seconds
        )

    @functools.cached_property
    def _offset_estimator(self) -> OffsetEstimator:
        is_pooled = getattr(dataset.feature_spec(self.config.data), 'is_pooled', False)
        return OffsetEstimator(self.model, self.extractor, is_pooled)

    def _describe_file(self, running: RunningEnrolment, file: Path) -> list[EnrolledUtterance]:
        """Returns the utterances of a file that can be enrolled; `running` rejects the others."""
        try:
            return running.describe_recording(str(file), self._decode(file))
        except decode.Rejection as reason:
            running.reject(str(file), str(reason))
            return []

    @property
    def notes(self) -> list[str]:
        """Sentences that a user of the predictions should know."""
        return self.model_notes + enrolment_notes(self.metadata, self.enrolment)

    @property
    def model_notes(self) -> list[str]:
        """The notes that do not depend on who is enrolled."""
        notes = []
        warning = synthetic_note(self.metadata)
        if warning:
            kind_of_speech = warning.partition(':')[0]
            notes.append(
                f'{kind_of_speech}: the model was trained on it, and its predictions say nothing '
                'about people.'
            )
        normalisation = self.metadata['normalisation']
        if normalisation.startswith('speaker') and normalisation != NORMALISATION:
            notes.append(
                f'Training normalised by {normalisation}. In prediction every speaker is unseen, '
                'and each utterance is normalised by its own statistics.'
            )
        trained_with = self.metadata['versions'].get('librosa')
        installed = package_version('librosa')
        if trained_with and trained_with != installed:
            notes.append(
                f'The features of the training data were computed by librosa {trained_with}; '
                f'this is librosa {installed}.'
            )
        return notes

    def predict(self, wave: np.ndarray, rate: int) -> dict:
        """Returns the posterior of a wave, with the most probable emotion, or its ratings.

        {'seconds', 'emotion', 'posterior': {class: probability},
         'windows': [{'start', 'end', 'emotion', 'posterior'}, ...]}

        A model of ratings has 'arousal', 'valence' and 'dominance', numbers from -1 to 1, in place
        of 'emotion' and 'posterior', as far as it was trained on them; a model of both has all.

        `windows` is empty for a wave of up to 30 s. A silent window has None for each of them, and
        does not count for the mean. With an enrolled speaker, 'enrolled' is the number of the
        speaker's enrolled utterances.

        Args:
          wave: samples of shape (time,) or (time, channels); floats of full scale 1, or signed
            integers.
          rate: Hz.

        Raises:
          UserError: the wave is too short, silent, or no audio.
        """
        try:
            mono = self._to_mono(wave, rate)
            (prediction,) = self._predict_recordings([self._make_recording('', mono)])
        except decode.Rejection as reason:
            prediction = {'error': str(reason)}
        if 'error' in prediction:
            raise UserError(f'No prediction for this recording: {prediction["error"]}.')
        return prediction

    def _to_mono(self, wave: np.ndarray, rate: int) -> np.ndarray:
        """Returns a wave of one channel, with the sample rate of the model.

        Raises UserError if it is no audio, and decode.Rejection if it cannot be used.
        """
        samples = to_float_samples(np.asarray(wave))
        try:
            rate = operator.index(rate)
        except TypeError:
            raise UserError(f'The rate is {rate!r}; expected a whole number of Hz.') from None
        check_sample_rate(rate)
        return decode.to_mono(samples, rate, self.wave_spec, self.channel)

    def predict_files(self, paths: Iterable) -> Iterator[dict]:
        """Yields for each file, in order, the prediction of `predict` and its name as 'file'.

        A file without a prediction has {'file', 'error'}. A folder stands for all audio files in
        it and in its subfolders.
        """
        recordings: list[Recording] = []
        segment_count = 0
        for path in paths:
            for file in expand_folder(to_path(path)):
                if recordings and decode.expected_values(file) > MANY_VALUES:
                    yield from self._predict_recordings(recordings)
                    recordings, segment_count = [], 0
                recordings.append(self._read_recording(file))
                segment_count += len(recordings[-1].segments)
                if segment_count >= BUFFERED_SEGMENTS:
                    yield from self._predict_recordings(recordings)
                    recordings, segment_count = [], 0
        yield from self._predict_recordings(recordings)

    def predict_by_folder(
        self, paths: Iterable, report: Callable[[str], None] = _ignore
    ) -> Iterator[dict]:
        """Yields the predictions of `predict_files`, where each folder is a speaker.

        The folder that directly contains a file is its speaker. A file is predicted with the offset
        from the other files of its folder, whose number of enrolled utterances is 'enrolled'. Files
        of one folder come together.

        Args:
          paths: files and folders.
          report: called with sentences on how many speakers there are, and on what is not enrolled.
        """
        files_by_folder: dict[Path, list[Path]] = {}
        check_can_enrol(self.metadata)
        for path in paths:
            for file in expand_folder(to_path(path)):
                files_by_folder.setdefault(file.parent, []).append(file)
        report(describe_folders(files_by_folder))
        for files in files_by_folder.values():
            yield from self._predict_with_others(files, report)

    def _predict_with_others(
        self, files: list[Path], report: Callable[[str], None]
    ) -> Iterator[dict]:
        """Yields the predictions of a speaker's files, each with the offset from the others."""
        running = self.start_enrolment()
        utterances_by_file = {}
        for file in files:
            if file not in utterances_by_file:  # a file that is named twice is enrolled once
                utterances_by_file[file] = self._describe_file(running, file)
                running.add(utterances_by_file[file])
        for rejected in running.rejected:
            report(describe_rejected(rejected))
        for file in files:
            own = running.estimator.sum_utterances(utterances_by_file[file])
            enrolment = running.estimator.estimate(running.sums.without(own))
            yield from self.with_enrolment(enrolment).predict_files([file])

    def predict_stream(
        self,
        file: BinaryIO,
        rate: int,
        encoding: str = 's16le',
        channels: int = 1,
        running: RunningEnrolment | None = None,
    ) -> Iterator[dict]:
        """Yields for each second of raw PCM the prediction of the last `window` seconds.

        {'start', 'end', 'emotion', 'posterior'}, or the ratings, as `predict` returns them. For a
        second without a prediction they are None, and 'note' is the reason. If no second has a
        prediction, the last item is {'file', 'error'}.

        With `running`, as `start_enrolment` returns it, the speaker of the stream is enrolled:
        every `window` seconds, the window that has just ended is enrolled once, if it has sound.
        'enrolled' is then the number of windows by which a second was predicted. Once, after a
        minute, 'not_enrolled' has the probabilities and ratings that it would have without them,
        by name.
        """
        return streams.predict_stream(self, file, rate, encoding, channels, running)

    def compile_window(self) -> int:
        """Compiles the program of a window, and returns its padded length."""
        silence = np.zeros(round(self.window * self.wave_spec.rate), np.float32)
        silence_input = self.extractor.extract_input(silence)
        length = self.extractor.padded_length(silence_input)
        self._predict_outputs([silence_input], length)
        return length

    def predict_window(self, samples_LxK: np.ndarray, rate: int, length: int) -> dict:
        """Returns the prediction of a window of a stream; 'note' says why there is none.

        `samples_LxK` are those of K channels, of full scale 1, and `length` is the padded length
        that `compile_window` returns.
        """
        try:
            mono = decode.to_mono(samples_LxK, rate, self.wave_spec, self.channel)
            model_input = self.extractor.extract_input(mono)
        except decode.Rejection as reason:  # silence, as a rule
            return self.names.make_prediction(None) | {'note': str(reason)}
        (output_O,) = self._predict_outputs([model_input], length)
        return self.names.make_prediction(output_O)

    def _read_recording(self, path: Path) -> Recording:
        """Decodes a file and extracts its input."""
        try:
            return self._make_recording(str(path), self._decode(path))
        except decode.Rejection as reason:
            return Recording(str(path), error=str(reason))
        except MemoryError:
            return Recording(str(path), error='too long: not enough memory')

    def _decode(self, path: Path) -> np.ndarray:
        """Returns the wave of a file, as `_to_mono`; raises decode.Rejection."""
        if os.path.isdir(path):
            suffixes = ', '.join(AUDIO_SUFFIXES)
            raise decode.Rejection(f'no audio file in this folder ({suffixes})')
        utterance = Utterance(
            name=path.name,
            path=path,
            speaker='',
            emotion='',
            language='',
            corpus='',
            channel=self.channel or 0,
        )
        return decode.decode(utterance, self.wave_spec)

    def _make_recording(self, name: str, wave: np.ndarray) -> Recording:
        """Cuts a wave, with the sample rate of the model, into segments."""
        rate = self.wave_spec.rate
        window = round(self.window * rate)
        starts = [0]
        if len(wave) > max(self.max_seconds * rate, window):
            last_start = len(wave) - window
            hop = round(self.hop * rate)
            if last_start // hop > MAX_WINDOWS:
                raise decode.Rejection(
                    f'too long for this hop: {last_start // hop} windows; choose a longer --hop'
                )
            starts = [*range(0, last_start, hop), last_start]
        else:
            window = len(wave)
        segments = [self._make_segment(wave[start : start + window], start) for start in starts]
        return Recording(name, len(wave) / rate, tuple(segments))

    def _make_segment(self, wave: np.ndarray, start: int) -> Segment:
        rate = self.wave_spec.rate
        is_silent = np.ptp(wave) < 2 * decode.SILENCE_AMPLITUDE
        model_input = None if is_silent else self.extractor.extract_input(wave)
        return Segment(start / rate, (start + len(wave)) / rate, model_input)

    def _predict_recordings(self, recordings: list[Recording]) -> list[dict]:
        """Returns the predictions of recordings; all their segments are batched together."""
        inputs = []
        for recording in recordings:
            for segment in recording.segments:
                if segment.model_input is not None:
                    inputs.append(segment.model_input)
        outputs = iter(self._predict_outputs(inputs))
        predictions = []
        for recording in recordings:
            prediction = {'file': recording.name} if recording.name else {}
            if recording.error:
                prediction |= {'error': recording.error}
            else:
                prediction |= self._predict_segments(recording, outputs)
                if self.enrolment:
                    prediction |= {'enrolled': self.enrolment.utterances}
            predictions.append(prediction)
        return predictions

    def _predict_segments(self, recording: Recording, outputs: Iterator[np.ndarray]) -> dict:
        """Returns the prediction of a recording, from the outputs of each segment with sound."""
        windows, audible = [], []
        for segment in recording.segments:
            output_O = None
            if segment.model_input is not None:
                output_O = next(outputs)
                audible.append(output_O)
            times = {'start': segment.start, 'end': segment.end}
            windows.append(times | self.names.make_prediction(output_O))
        prediction = {'seconds': recording.seconds}
        if audible:
            prediction |= self.names.make_prediction(np.mean(audible, 0))
        else:
            prediction['error'] = 'silent in every window: nothing above -80 dBFS'
        prediction['windows'] = windows if len(windows) > 1 else []
        return prediction

    def _predict_outputs(
        self, inputs: list[np.ndarray], length: int | None = None
    ) -> list[np.ndarray]:
        """Returns output_O (float64) of each input: the posterior, and then the ratings.

        Inputs are padded to `length`, or else to one of a few lengths, so that few programs are
        compiled.
        """
        outputs: list = [None] * len(inputs)
        remaining = sorted(range(len(inputs)), key=lambda n: -len(inputs[n]))
        while remaining:
            padded_length = length or self.extractor.padded_length(inputs[remaining[0]])
            batch_size = min(BATCH_SIZE, self.extractor.max_batch_size(padded_length))
            indices, remaining = remaining[:batch_size], remaining[batch_size:]
            B = 1 if len(indices) == 1 else batch_size
            batch, length_B = self.extractor.pad_batch(
                [inputs[n] for n in indices], padded_length, B
            )
            output_BxO = self._outputs(
                self.run_arrays, self.extractor.params, batch, length_B, *self._speaker_offset
            )
            output_BxO = np.array(output_BxO, np.float64)[: len(indices)]
            if not np.isfinite(output_BxO).all():
                raise UserError(
                    'The prediction is not finite: the weights of the model are far too large, so '
                    'it is probably damaged or forged. Copy it again, or make it again with '
                    'python -m jaxser.bundle.'
                )
            p_BxC = output_BxO[:, : len(self.classes)]
            p_BxC /= p_BxC.sum(-1, keepdims=True)
            for b, n in enumerate(indices):
                outputs[n] = output_BxO[b]
        return outputs


def _check_no_paths(waves) -> None:
    """Raises UserError if paths are given in place of waves."""
    is_path = isinstance(waves, (str, os.PathLike))
    for wave in [waves] if is_path else waves:
        if isinstance(wave, (str, os.PathLike)):
            raise UserError(
                f'{wave} is a path; enrol takes waves as NumPy arrays. For files and folders use '
                'enrol_files.'
            )


def check_windows(window: float, hop: float) -> None:
    """Raises a UserError if window or hop, in seconds, are out of range."""
    if not MIN_WINDOW_SECONDS <= window <= MAX_WINDOW_SECONDS:  # NaN, too
        problem = 'is too short' if window < MIN_WINDOW_SECONDS else 'cannot be used'
        raise UserError(
            f'A window of {window:g} s {problem}; expected {MIN_WINDOW_SECONDS:g} to '
            f'{MAX_WINDOW_SECONDS:g} s.'
        )
    if not MIN_HOP_SECONDS <= hop <= window:
        raise UserError(
            f'A window of {window:g} s with a hop of {hop:g} s; expected a hop of '
            f'{MIN_HOP_SECONDS:g} s or more, and no longer than the window.'
        )


def check_channel(channel: int | None) -> None:
    """Raises a UserError if a channel is no number from 1."""
    if channel is not None and not 1 <= channel <= MAX_CHANNELS:
        raise UserError(f'The channel is {channel}; expected 1 to {MAX_CHANNELS}.')


def load_predictor(
    folder,
    window: float = WINDOW_SECONDS,
    hop: float = HOP_SECONDS,
    upstream=None,
    enrolment=None,
    channel: int | None = None,
) -> Predictor:
    """Returns the predictor of a finished sweep's workdir, or of its folder model/.

    `upstream` is the folder of the pretrained encoder, if it is neither in the model's folder nor
    where it was during preparation or training. `enrolment` is the file of an enrolled speaker, as
    `Predictor.enrolment.save` wrote it. `channel` is the channel of recordings that is predicted,
    from 1; None is the mean of all.
    """
    check_windows(window, hop)
    check_channel(channel)
    model = read_model(folder)
    speaker = load_enrolment(enrolment, model) if enrolment else None
    encoder = find_encoder(folder, model.metadata, upstream)
    check_network(folder, model, encoder)
    predictor = Predictor(model, window, hop, encoder, channel)
    return predictor.with_enrolment(speaker)
