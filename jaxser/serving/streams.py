"""Predicts a stream second by second, and enrols its speaker meanwhile."""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.features import decode
from data_pipelines.features.log_mel import LogMel
from jaxser.serving.enrolment import MIN_ENROLLED_SECONDS, RunningEnrolment
from jaxser.serving.pcm import read_seconds

# After this time a stream says how enrolment has changed its answer.
COMPARISON_SECONDS = 60.0


def predict_stream(
    predictor,
    file: BinaryIO,
    rate: int,
    encoding: str,
    channels: int,
    running: RunningEnrolment | None,
) -> Iterator[dict]:
    """Yields the predictions of raw PCM, as `Predictor.predict_stream` describes them."""
    length = predictor.compile_window()
    speaker, unknown = predictor, predictor
    stream = None
    if running:
        speaker = unknown = predictor.with_enrolment(None)
        stream = StreamEnrolment(running, rate, predictor.wave_spec, predictor.channel)
    window = round(predictor.window * rate)
    buffer_LxK = np.zeros((0, channels), np.float32)
    sample_count = 0
    is_compared = False
    error = 'empty: no sample arrived'  # '' after the first prediction
    for samples_LxK in read_seconds(file, rate, encoding, channels):
        buffer_LxK = np.concatenate([buffer_LxK, samples_LxK])[-window:]
        sample_count += len(samples_LxK)
        start, end = (sample_count - len(buffer_LxK)) / rate, sample_count / rate
        prediction = speaker.predict_window(buffer_LxK, rate, length)
        if error:
            error = prediction.get('note', '')
        if stream:
            prediction['enrolled'] = running.sums.utterances
            if not is_compared and _is_comparable(end, prediction):
                plain = unknown.predict_window(buffer_LxK, rate, length)
                prediction['not_enrolled'] = predictor.names.find_values(plain)
                is_compared = True
        yield {'start': start, 'end': end} | prediction
        if stream and stream.add(samples_LxK):
            speaker = predictor.with_enrolment(running.estimate())
    if error:
        yield {'file': '-', 'error': error}


def _is_comparable(seconds: float, prediction: dict) -> bool:
    """Returns whether a prediction of a stream shows what enrolment has changed."""
    has_enrolled = bool(prediction['enrolled'] and 'note' not in prediction)
    return has_enrolled and seconds >= COMPARISON_SECONDS


class StreamEnrolment:
    """Enrols each window of a stream that has sound; windows do not overlap."""

    def __init__(
        self, running: RunningEnrolment, rate: int, wave_spec: LogMel, channel: int | None = None
    ):
        """Starts before the first sample.

        Args:
          running: the enrolment that grows.
          rate: that of the stream, in Hz.
          wave_spec: has the rate of the waves that `running` takes.
          channel: which channel is enrolled, from 1; None is the mean of all.
        """
        if running.window < MIN_ENROLLED_SECONDS:
            raise UserError(
                f'The window is {running.window:g} s, and what is shorter than '
                f'{MIN_ENROLLED_SECONDS:g} s is not enrolled: choose a longer --window.'
            )
        self.running = running
        self.rate = rate
        self.wave_spec = wave_spec
        self.channel = channel
        self.blocks: list[np.ndarray] = []  # samples after the last window

    def add(self, samples_LxK: np.ndarray) -> bool:
        """Adds the next samples; returns whether the number of enrolled utterances has grown."""
        utterances_before = self.running.sums.utterances
        self.blocks.append(samples_LxK)
        window = round(self.running.window * self.rate)
        while sum(map(len, self.blocks)) >= window:
            samples_LxK = np.concatenate(self.blocks)
            self.blocks = [samples_LxK[window:]]
            self._add_window(samples_LxK[:window])
        return self.running.sums.utterances > utterances_before

    def _add_window(self, samples_LxK: np.ndarray) -> None:
        try:
            wave = decode.to_mono(samples_LxK, self.rate, self.wave_spec, self.channel)
        except decode.Rejection:  # silence, as a rule
            return
        self.running.add_recording('-', wave)
        self.running.rejected.clear()  # a stream of days would list very many
