"""Tests that the demo corpus is complete, the same to the bit, and has the prosody of its rules."""

import collections
import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import corpus_trees

from data_pipelines import corpora
from data_pipelines.corpora import demo
from data_pipelines.errors import UserError


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """The folder of the synthesised corpus."""
    pytest.importorskip('espeakng_loader')
    folder = tmp_path_factory.mktemp('demo') / 'demo'
    demo.synthesise_in_subprocess(folder)
    return folder


def measure_pitch(wave: np.ndarray, rate: int) -> float:
    """Returns semitones above 1 Hz, from 70 to 350 Hz, by autocorrelation of the first 1.5 s."""
    power = np.abs(np.fft.rfft(wave, 2**15)) ** 2
    correlation = np.fft.irfft(power)[rate // 350 : rate // 70]
    return 12 * np.log2(rate / (rate // 350 + np.argmax(correlation)))


def test_the_corpus_is_complete_and_balanced(root):
    """Each language has four women and four men."""
    utterances = demo.walk(root)
    demo.CORPUS.check_counts(utterances)
    assert len(utterances) == 384
    assert len({u.name for u in utterances}) == 384
    speakers = {(u.language, u.sex, u.speaker) for u in utterances}
    assert len(speakers) == demo.CORPUS.speakers == 16
    counts = collections.Counter((language, sex) for language, sex, _ in speakers)
    assert counts == dict.fromkeys(itertools.product(('en', 'fr'), ('female', 'male')), 4)


def test_an_utterance_is_described_by_its_file_name_and_the_table_of_speakers(root):
    utterances = {u.name: u for u in demo.walk(root)}
    assert utterances['fr03_s2_angry'] == corpora.Utterance(
        name='fr03_s2_angry',
        path=root / 'fr' / 'fr03' / 'fr03_s2_angry.flac',
        speaker='fr03',
        emotion='angry',
        language='fr',
        corpus='demo',
        sex='female',
        sentence='fr_s2',
        style='acted',
    )


def test_a_file_with_another_name_is_refused(tmp_path):
    """It is neither given a wrong label nor ignored without a message."""
    corpus_trees.write_file(tmp_path / 'en/en99/en99_s1_angry.flac')
    with pytest.raises(UserError, match='en99_s1_angry'):
        demo.walk(tmp_path)


def test_the_audio_has_the_expected_format_and_length(root):
    """Every file is 16-bit mono of 0.7 to 3.5 s, without clipping and digital silence."""
    for utterance in demo.walk(root):
        info = soundfile.info(utterance.path)
        assert (info.channels, info.subtype) == (1, 'PCM_16'), utterance.name
        assert info.samplerate == 22050, utterance.name
        assert 0.7 < info.duration < 3.5, utterance.name
        samples = soundfile.read(utterance.path, dtype='int16')[0].astype(int)
        assert abs(samples).max() < 32767, utterance.name
        assert abs(samples[-220:]).max() > 0, utterance.name


def test_emotions_have_the_prosody_of_their_cues(root):
    """Averaged over speakers and sentences, pitch, rate and level differ from neutral as stated."""
    measurements = collections.defaultdict(list)
    for utterance in demo.walk(root):
        wave, rate = soundfile.read(utterance.path)
        level = 10 * np.log10(np.mean(wave**2))
        speaking_rate = -np.log(len(wave) / rate)
        measurement = (measure_pitch(wave, rate), speaking_rate, level)
        measurements[utterance.emotion].append(measurement)
    neutral = np.mean(measurements['neutral'], axis=0)
    for emotion, cues in demo.EMOTION_CUES.items():
        difference = np.mean(measurements[emotion], axis=0) - neutral
        error = abs(difference - (cues.pitch, cues.rate, cues.level))
        assert np.all(error < (1.2, 0.05, 0.6)), (emotion, difference)


def test_a_fresh_process_repeats_the_corpus_bit_for_bit(root, tmp_path):
    """The first three speakers are synthesised again; the third one's breath is random noise."""
    code = (
        'import sys\n'
        'from data_pipelines.corpora import demo\n'
        'demo.synthesise(sys.argv[1], {"en": demo.SPEAKERS["en"][:3]})'
    )
    command = [sys.executable, '-c', code, str(tmp_path)]
    subprocess.run(command, check=True, cwd=Path(demo.__file__).parents[2])
    paths = sorted(tmp_path.glob('*/*/*'))
    assert len(paths) == 72
    for path in paths:
        assert path.read_bytes() == (root / path.relative_to(tmp_path)).read_bytes(), path.name


def test_a_complete_corpus_is_not_synthesised_again(root, monkeypatch):
    """The synthesiser need not be installed then."""

    def fail(*arguments, **options):
        pytest.fail('synthesised again')

    monkeypatch.setitem(sys.modules, 'espeakng_loader', None)
    monkeypatch.setattr(subprocess, 'run', fail)
    demo.synthesise_in_subprocess(root)
    demo.CORPUS.check_counts(demo.walk(root))


def test_an_interrupted_synthesis_leaves_nothing_that_looks_complete(tmp_path, monkeypatch):
    """The folder of the corpus appears after the last file; after a failure nothing remains."""
    root = tmp_path / 'new' / 'demo'

    def fail(command, **options):
        folder = Path(command[-1])
        folder.mkdir()
        (folder / 'half').touch()
        assert not root.exists()
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(demo.importlib.util, 'find_spec', lambda name: object())
    monkeypatch.setattr(subprocess, 'run', fail)
    with pytest.raises(UserError, match=r'could not be synthesised: .* ended with the status 1'):
        demo.synthesise_in_subprocess(root)
    assert list(root.parent.iterdir()) == []


def test_of_two_processes_at_once_the_first_provides_the_corpus(tmp_path, monkeypatch):
    def run(command, **options):
        for folder in (Path(command[-1]), tmp_path / 'demo'):
            folder.mkdir()
            (folder / 'u.flac').touch()

    monkeypatch.setattr(demo.importlib.util, 'find_spec', lambda name: object())
    monkeypatch.setattr(subprocess, 'run', run)
    demo.synthesise_in_subprocess(tmp_path / 'demo')
    assert [path.name for path in tmp_path.iterdir()] == ['demo']


def test_without_espeak_the_error_says_what_to_install(tmp_path, monkeypatch):
    """No folder is made."""
    monkeypatch.setitem(sys.modules, 'espeakng_loader', None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[demo\]'"):
        demo.synthesise_in_subprocess(tmp_path / 'demo')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('language', list(demo.SPEAKERS))
def test_speakers_have_different_voices_and_espeak_has_them(language):
    """It would speak an unknown one with its default voice, without an error."""
    loader = pytest.importorskip('espeakng_loader')
    folder = Path(loader.get_data_path(), 'voices', '!v')
    speakers = demo.SPEAKERS[language]
    for speaker in speakers:
        assert (folder / speaker.variant).is_file()
        assert speaker.name.startswith(language)
    assert len({speaker.variant for speaker in speakers}) == len(speakers)


def test_an_unknown_voice_is_refused():
    """It is an error, in place of speech by the voice before it."""
    pytest.importorskip('espeakng_loader')
    with pytest.raises(UserError, match=r'xx\+f1'):
        demo.Espeak().say('Hello.', 'xx+f1', demo.EMOTION_CUES['neutral'])


def test_the_spectrum_is_scaled_and_tilted_and_the_level_is_set():
    """Two tones an octave apart are shifted by the factor of the tract and differ by the tilt."""
    rate = 22050
    seconds = 2
    time = np.arange(rate * seconds) / rate
    tones = np.sin(2 * np.pi * 500 * time) + np.sin(2 * np.pi * 1000 * time)
    wave = demo.shape_spectrum(tones, rate, tract=1.25, level=4, tilt=-3)
    assert len(wave) == pytest.approx(rate * seconds / 1.25, abs=1)
    assert 10 * np.log10(np.mean(wave**2)) == pytest.approx(-30)
    spectrum = np.abs(np.fft.rfft(wave))
    hertz = np.fft.rfftfreq(len(wave), 1 / rate)
    low = spectrum[np.argmin(abs(hertz - 625))]
    high = spectrum[np.argmin(abs(hertz - 1250))]
    assert 20 * np.log10(high / low) == pytest.approx(-3, abs=0.01)


def measure_speaker(root: Path, tract: float) -> np.ndarray:
    """Synthesises a speaker with that tract and returns pitch, log length and log centroid."""
    speaker = dataclasses.replace(demo.SPEAKERS['en'][3], tract=tract)
    demo.synthesise(root, {'en': (speaker,)})
    measurements = []
    for utterance in demo.walk(root):
        wave, rate = soundfile.read(utterance.path)
        spectrum = np.abs(np.fft.rfft(wave))
        centroid = np.average(np.fft.rfftfreq(len(wave), 1 / rate), weights=spectrum)
        measurements.append((measure_pitch(wave, rate), np.log(len(wave)), np.log(centroid)))
    return np.mean(measurements, axis=0)


def test_the_tract_changes_the_timbre_and_not_pitch_and_rate(tmp_path):
    """A speaker with a shorter vocal tract has a brighter spectrum."""
    pytest.importorskip('espeakng_loader')
    long_tract = measure_speaker(tmp_path / 'long', tract=0.9)
    short_tract = measure_speaker(tmp_path / 'short', tract=1.1)
    pitch, length, brightness = short_tract - long_tract
    assert abs(pitch) < 0.5
    assert abs(length) < 0.04
    assert brightness > 0.5 * np.log(1.1 / 0.9)
