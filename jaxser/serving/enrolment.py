"""Enrols a speaker: a few recordings without labels, by which a model normalises the speaker.

The estimate is that of data_pipelines/features/speaker_offset.py, for each run of the model. Only
models that were trained with config.data.normalise=speaker_enrolled have what it needs, the prior.
A result with enrolment is transductive: recordings of the tested speaker were used.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from data_pipelines.errors import UserError
from data_pipelines.features import decode, log_mel, speaker_offset
from data_pipelines.features.speaker_offset import Enrolment, SpeakerPrior
from data_pipelines.wording import pluralize
from jaxser.analysis.measure import main_measure
from jaxser.pretrained.extractor import StateExtractor
from jaxser.reporting.formats import format_interval, format_number
from jaxser.serving.frame_extractor import FrameExtractor
from jaxser.serving.model import Model
from jaxser.workdir_files import write_named

NORMALISATION = 'speaker_enrolled'
MIN_ENROLLED_SECONDS = 1.0  # a shorter utterance says too little of the speaker
FILE_FORMAT = 'jaxser speaker enrolment 1'
OFFSET_NAME = 'speaker_offset_RxP'
FILE_SUFFIX = '.safetensors'
TRANSDUCTIVE_NOTE = (
    'Answers with enrolment are transductive: unlabelled speech of the tested speaker is used.'
)
CHECKSUM_KEY = 'sha256'
HEADER_BYTES = 4096  # of a file, which contain FILE_FORMAT if it is a saved enrolment


class Rejected(NamedTuple):
    """A recording, or a part of it, that was not enrolled."""

    name: str
    reason: str


class SpeakerEnrolment(NamedTuple):
    """The offset of an enrolled speaker for each of R runs, and what it was estimated from."""

    speaker_offset_RxP: np.ndarray
    utterances: int
    seconds: float
    model_sha256: str
    rejected: tuple[Rejected, ...] = ()

    def __repr__(self) -> str:
        runs, values = np.shape(self.speaker_offset_RxP)
        return (
            f'SpeakerEnrolment({pluralize(self.utterances, "utterance")}, {self.seconds:.1f} s, '
            f'{len(self.rejected)} rejected, offset of {pluralize(runs, "run")} x {values} values)'
        )

    def save(self, path) -> None:
        """Writes the enrolment, without `rejected`, as a safetensors file."""
        facts = {
            'format': FILE_FORMAT,
            'utterances': str(self.utterances),
            'seconds': str(self.seconds),
            'model_sha256': self.model_sha256,
        }
        facts[CHECKSUM_KEY] = _hash_enrolment(facts, self.speaker_offset_RxP)
        arrays = {OFFSET_NAME: np.ascontiguousarray(self.speaker_offset_RxP)}
        write_named(path, safetensors.numpy.save(arrays, facts))


def _hash_enrolment(facts: dict[str, str], offset_RxP: np.ndarray) -> str:
    """Returns the SHA-256 of a saved enrolment: its facts, without a checksum, and the offset."""
    facts = {key: value for key, value in facts.items() if key != CHECKSUM_KEY}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(offset_RxP).tobytes())
    return digest.hexdigest()


def is_saved_enrolment(path) -> bool:
    """Returns whether `path` is a file that `SpeakerEnrolment.save` wrote."""
    if not os.path.isfile(path):  # Path.is_file raises an error for a name that is too long
        return False
    with open(path, 'rb') as file:
        return FILE_FORMAT.encode() in file.read(HEADER_BYTES)


def load_enrolment(path, model: Model) -> SpeakerEnrolment:
    """Returns a saved enrolment; UserError unless it is an undamaged one of this model."""
    check_can_enrol(model.metadata)
    if not is_saved_enrolment(path):
        found = 'is not a saved enrolment' if os.path.exists(path) else 'does not exist'
        raise UserError(
            f'{path} {found}; expected a file written by python -m jaxser.predict with '
            '--save_enrolment, or by predictor.enrolment.save.'
        )
    try:
        with safetensors.safe_open(path, 'numpy') as file:
            facts, offset_RxP = file.metadata(), file.get_tensor(OFFSET_NAME)
        saved = SpeakerEnrolment(
            offset_RxP, int(facts['utterances']), float(facts['seconds']), facts['model_sha256']
        )
    except (safetensors.SafetensorError, LookupError, TypeError, ValueError) as error:
        raise UserError(f'{path} is damaged ({error}). Enrol the speaker again.') from None
    expected = model.metadata.get('sha256', '')
    if saved.model_sha256 != expected:
        raise UserError(
            f'{path} was enrolled with another model, whose weights have the sha256 '
            f'{saved.model_sha256}; those of this model have {expected}. Enrol the speaker '
            'again with this model, or name the other model.'
        )
    _check_offset(path, saved.speaker_offset_RxP, offset_shape(model))
    # Files of earlier versions have no checksum.
    if facts.get(CHECKSUM_KEY) not in (None, _hash_enrolment(facts, offset_RxP)):
        raise UserError(
            f'{path} is damaged: its SHA-256 is not the one that was saved. Enrol the speaker '
            'again.'
        )
    return saved


def _check_offset(path, offset_RxP: np.ndarray, expected_shape: tuple[int, int]) -> None:
    """Raises UserError unless the offset in a file has the shape of the model's and is finite."""
    if offset_RxP.shape != expected_shape or offset_RxP.dtype != np.float32:
        raise UserError(
            f'{path} is damaged: {OFFSET_NAME} is {offset_RxP.dtype} of the shape '
            f'{offset_RxP.shape}; expected float32 of {expected_shape}. Enrol the speaker again.'
        )
    if not np.isfinite(offset_RxP).all():
        raise UserError(
            f'{path} is damaged: {OFFSET_NAME} has values that are not finite. Enrol the speaker '
            'again.'
        )


def can_enrol(metadata: dict) -> bool:
    """Returns whether speakers can be enrolled in the model; `metadata` is model.json."""
    return metadata['normalisation'] == NORMALISATION


def check_can_enrol(metadata: dict) -> None:
    """Raises UserError if speakers cannot be enrolled in the model."""
    if not can_enrol(metadata):
        raise UserError(
            'No speaker can be enrolled in this model: it was trained with '
            f'config.data.normalise={metadata["normalisation"]}. Train a model that can: repeat '
            f'the command of jaxser.main with --config.data.normalise={NORMALISATION} '
            '--config.protocol.enrol=all and a new --workdir.'
        )


def offset_shape(model: Model) -> tuple[int, int] | None:
    """Returns the shape (R, P) of a speaker's offsets; None if the model has none."""
    if not can_enrol(model.metadata):
        return None
    return model.arrays['prior']['mean_P'].shape


class EnrolledUtterance(NamedTuple):
    """The statistics of an utterance, and its length."""

    y_1xP: np.ndarray
    seconds: float


class Sums(NamedTuple):
    """Sums over the enrolled utterances of a speaker."""

    utterances: int
    seconds: float
    sums_of_runs: tuple[Enrolment, ...]

    def without(self, others: 'Sums') -> 'Sums':
        """Returns these sums minus those over `others`, which are some of the utterances."""
        sums_of_runs = []
        for run, other in zip(self.sums_of_runs, others.sums_of_runs, strict=True):
            sums_of_runs.append(Enrolment(*[a - b for a, b in zip(run, other, strict=True)]))
        return Sums(
            self.utterances - others.utterances,
            self.seconds - others.seconds,
            tuple(sums_of_runs),
        )


class OffsetEstimator:
    """Estimates the offset of a speaker for each run of a model."""

    def __init__(self, model: Model, extractor: FrameExtractor | StateExtractor, is_pooled: bool):
        check_can_enrol(model.metadata)
        self.model_sha256 = model.metadata.get('sha256', '')
        self.extractor = extractor
        self.is_pooled = is_pooled
        self.priors = []
        prior = model.arrays['prior']
        for r in range(len(prior['mean_P'])):
            fields = {name: np.float64(values_R[r]) for name, values_R in prior.items()}
            self.priors.append(SpeakerPrior(**fields))

    def describe_utterance(self, model_input: np.ndarray, seconds: float) -> EnrolledUtterance:
        """Returns the statistics of an utterance; `model_input` is as `extract_input` returns it.

        They are those that preparation stores of it.
        """
        mean_M, variance_M = log_mel.compute_moments(self._features(model_input))
        y_1xP = speaker_offset.utterance_statistics(mean_M[None], variance_M[None], self.is_pooled)
        return EnrolledUtterance(y_1xP, seconds)

    def _features(self, model_input: np.ndarray) -> np.ndarray:
        """Returns features_TxM: log-mel, or states, which are computed one utterance at a time."""
        extractor = self.extractor
        if not isinstance(extractor, StateExtractor):
            return model_input
        length = extractor.padded_length(model_input)
        batch, length_B = extractor.pad_batch([model_input], length, 1)
        states_1xTxM, frames_1 = extractor.compute_states(extractor.params, batch, length_B)
        return np.asarray(states_1xTxM)[0, : int(frames_1[0])]

    def sum_utterances(self, utterances: Iterable[EnrolledUtterance]) -> Sums:
        """Returns the sums over utterances, of which there may be none."""
        sums = Sums(0, 0.0, tuple(map(speaker_offset.no_enrolment, self.priors)))
        for utterance in utterances:
            sums = self.add(sums, utterance)
        return sums

    def add(self, sums: Sums, utterance: EnrolledUtterance) -> Sums:
        """Returns the sums with one more utterance."""
        sums_of_runs = []
        for prior, run in zip(self.priors, sums.sums_of_runs, strict=True):
            sums_of_runs.append(speaker_offset.enrol(prior, run, utterance.y_1xP))
        return Sums(sums.utterances + 1, sums.seconds + utterance.seconds, tuple(sums_of_runs))

    def estimate(self, sums: Sums, rejected: Iterable[Rejected] = ()) -> SpeakerEnrolment:
        """Returns the enrolment of the speaker; the offset is 0 if there is no utterance."""
        offsets = []
        for prior, run in zip(self.priors, sums.sums_of_runs, strict=True):
            offsets.append(speaker_offset.estimate_offset(prior, run))
        offset_RxP = np.stack(offsets).astype(np.float32)
        return SpeakerEnrolment(
            offset_RxP, sums.utterances, sums.seconds, self.model_sha256, tuple(rejected)
        )


class RunningEnrolment:
    """The recordings of one speaker that are enrolled so far.

    Attributes:
      sums: over the enrolled utterances.
      rejected: what was not enrolled.
    """

    def __init__(self, estimator: OffsetEstimator, rate: int, window: float, max_seconds: float):
        """Starts without recordings.

        Args:
          estimator: that of the model.
          rate: of the waves, in Hz.
          window: seconds of an utterance that is cut out of a long recording.
          max_seconds: the length of the longest recording that is not cut.
        """
        self.estimator = estimator
        self.rate = rate
        self.window = window
        self.max_seconds = max(window, max_seconds)
        self.sums = estimator.sum_utterances(())
        self.rejected: list[Rejected] = []

    def add_recording(self, name: str, wave: np.ndarray) -> None:
        """Enrols the utterances of a wave."""
        self.add(self.describe_recording(name, wave))

    def add(self, utterances: Iterable[EnrolledUtterance]) -> None:
        """Enrols utterances."""
        for utterance in utterances:
            self.sums = self.estimator.add(self.sums, utterance)

    def describe_recording(self, name: str, wave: np.ndarray) -> list[EnrolledUtterance]:
        """Returns the utterances of a wave that can be enrolled; rejects the others.

        A long wave is cut into windows that do not overlap.
        """
        utterances = []
        for part, utterance in self._cut(name, wave):
            seconds = len(utterance) / self.rate
            if seconds < MIN_ENROLLED_SECONDS:
                self.reject(part, f'shorter than {MIN_ENROLLED_SECONDS:g} s: {seconds:.2f} s')
            elif np.ptp(utterance) < 2 * decode.SILENCE_AMPLITUDE:
                self.reject(part, 'silent: nothing above -80 dBFS')
            else:
                model_input = self.estimator.extractor.extract_input(utterance)
                utterances.append(self.estimator.describe_utterance(model_input, seconds))
        return utterances

    def _cut(self, name: str, wave: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Yields the name and the samples of each utterance of a wave."""
        if len(wave) <= self.max_seconds * self.rate:
            yield name, wave
            return
        window = round(self.window * self.rate)
        for start in range(0, len(wave), window):
            end = min(start + window, len(wave))
            yield f'{name}, {start / self.rate:.1f} to {end / self.rate:.1f} s', wave[start:end]

    def reject(self, name: str, reason: str) -> None:
        """Records that a recording is not enrolled."""
        self.rejected.append(Rejected(name, reason))

    def estimate(self) -> SpeakerEnrolment:
        """Returns the enrolment of the speaker so far."""
        return self.estimator.estimate(self.sums, self.rejected)


def check_enrolled(enrolment: SpeakerEnrolment) -> SpeakerEnrolment:
    """Returns the enrolment; UserError if no utterance is enrolled."""
    if enrolment.utterances:
        return enrolment
    reasons = '; '.join(f'{name}: {reason}' for name, reason in enrolment.rejected)
    raise UserError(
        f'Nothing could be enrolled ({reasons or "there was no recording"}). A speaker needs at '
        f'least one recording with sound, of {MIN_ENROLLED_SECONDS:g} s or more.'
    )


def enrolment_notes(metadata: dict, enrolment: SpeakerEnrolment | None) -> list[str]:
    """Returns sentences on the enrolled speaker and on what was not enrolled.

    [] for a model in which no speaker can be enrolled.
    """
    if not can_enrol(metadata):
        return []
    if enrolment is None or not enrolment.utterances:
        return [
            'No speaker is enrolled: features are normalised by the training data alone. '
            + describe_gain(metadata)
        ]
    utterances = pluralize(enrolment.utterances, 'utterance')
    notes = [f'One speaker is enrolled by {utterances}, {enrolment.seconds:.1f} s.']
    notes.append(TRANSDUCTIVE_NOTE)
    return notes + list(map(describe_rejected, enrolment.rejected))


def describe_rejected(rejected: Rejected) -> str:
    """Returns a sentence: what was not enrolled, and why."""
    return f'Not enrolled: {rejected.name} ({rejected.reason}).'


def describe_folders(files_by_folder: dict[Path, list[Path]]) -> str:
    """Returns a sentence on how many speakers are enrolled by folder, and how many by nothing."""
    count = len(files_by_folder)
    single_count = sum(len(set(files)) == 1 for files in files_by_folder.values())
    text = f'{pluralize(count, "folder")} = {pluralize(count, "speaker")}'
    if single_count:
        text += f'; {single_count} of them with a single file, so that nothing is enrolled'
    return f'{text}.'


def describe_gain(metadata: dict) -> str:
    """Returns a sentence: UAR or CCC on unseen speakers with 0, 8 and all utterances enrolled.

    With the differences to 0, their intervals, and whether they are clear.
    """
    rows = [row for row in metadata.get('enrolment', ()) if row['enrol_from'] == 'any']
    if not rows:
        return (
            'What enrolment gains was not measured; python -m jaxser.enrolment --workdir WORKDIR '
            'measures it.'
        )
    speakers = metadata.get('row', {}).get('tested_speakers')
    measure = main_measure(metadata.get('config', {}))
    measured = []
    for row in rows:
        value = row.get(measure.key)
        if row['enrol'] in (0, 8, 'all') and value is not None:
            text = f'{value:.3f} with {enrolled_count(row)}'
            difference = _describe_difference(row, measure.key, speakers)
            measured.append(f'{text} ({difference})' if difference else text)
    return f'{measure.title} on unseen speakers: {"; ".join(measured)}.'


def _describe_difference(row: dict, key: str, speakers: int | None) -> str:
    """Returns the difference of a row of the curve to none, and whether it is clear; '' for none.

    `key` is that of the measure, and `speakers` the number of tested speakers, if it is known.
    """
    if row.get(f'delta_{key}') is None:
        return ''
    text = f'difference to none {format_number(row[f"delta_{key}"], "+z.3f")}'
    if not row.get('delta_ci95'):
        return f'{text}, without an interval: too few speakers'
    text += f' {format_interval(row["delta_ci95"], "+z.3f")}'
    if not is_clear(row['delta_ci95']):
        text += ': not clear' + (f' with {pluralize(speakers, "speaker")}' if speakers else '')
    return text


def is_clear(ci95: tuple[float, float]) -> bool:
    """Returns whether the interval of a difference excludes 0."""
    low, high = ci95
    return low > 0 or high < 0


def enrolled_count(row: dict) -> str:
    """Returns how many utterances are enrolled in a row of the curve, in words."""
    if row['enrol'] == 0:
        return 'no enrolled utterance'
    if row['enrol'] == 'all':
        return f'all enrolled utterances ({row["utterances"]:.0f} on average)'
    return pluralize(row['enrol'], 'enrolled utterance')
