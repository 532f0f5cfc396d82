"""The synthetic corpus: whole or absent, the same bits everywhere, and with the prosody that its rules promise."""

import collections
import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from data_pipelines import corpora
from data_pipelines.corpora import demo
from data_pipelines.errors import UserError


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    pytest.importorskip('espeakng_loader')
    root = tmp_path_factory.mktemp('demo') / 'demo'
    demo.synthesise_in_subprocess(root)
    return root


def pitch(wave, rate):
    """Semitones above 1 Hz, by the autocorrelation of the first 1.5 s between 70 and 350 Hz."""
    power = np.abs(np.fft.rfft(wave, 2**15)) ** 2
    correlation = np.fft.irfft(power)[rate // 350 : rate // 70]
    return 12 * np.log2(rate / (rate // 350 + np.argmax(correlation)))


def test_the_corpus_is_complete_and_balanced(root):
    """The counts are those that the corpus promises, and each language has as many women as men."""
    utterances = demo.walk(root)
    demo.CORPUS.check_counts(utterances)
    assert len(utterances) == 384
    assert len({u.name for u in utterances}) == 384
    speakers = {(u.language, u.sex, u.speaker) for u in utterances}
    assert len(speakers) == demo.CORPUS.speakers == 16
    assert collections.Counter(s[:2] for s in speakers) == {
        (l, s): 4 for l in ('en', 'fr') for s in ('female', 'male')
    }


def test_names_are_parsed(root):
    """Everything about an utterance comes from its file's name and the table of speakers."""
    found = next(u for u in demo.walk(root) if u.name == 'fr03_s2_angry')
    assert found == corpora.Utterance(
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


def test_a_file_that_is_not_the_corpus_s_is_refused(tmp_path):
    """A stray recording is named rather than mislabelled or left out in silence."""
    stray = tmp_path / 'en' / 'en99' / 'en99_s1_angry.flac'
    stray.parent.mkdir(parents=True)
    stray.touch()
    with pytest.raises(UserError, match='en99_s1_angry'):
        demo.walk(tmp_path)


def test_the_audio_is_plain_speech(root):
    """Every file is 16-bit mono of 0.7 to 3.5 s that neither clips nor holds digital silence."""
    for utterance in demo.walk(root):
        info = soundfile.info(utterance.path)
        assert (info.channels, info.subtype, info.samplerate) == (1, 'PCM_16', 22050), (
            utterance.name
        )
        assert 0.7 < info.duration < 3.5, utterance.name
        samples = soundfile.read(utterance.path, dtype='int16')[0].astype(int)
        assert abs(samples).max() < 32767, utterance.name
        assert abs(samples[-220:]).max() > 0, utterance.name


def test_emotions_follow_the_rules(root):
    """Averaged over speakers and sentences, pitch, duration and level move from neutral as `RULES` says."""
    measured = collections.defaultdict(list)
    for utterance in demo.walk(root):
        wave, rate = soundfile.read(utterance.path)
        level = 10 * np.log10(np.mean(wave**2))
        measured[utterance.emotion].append((pitch(wave, rate), -np.log(len(wave) / rate), level))
    mean = {emotion: np.mean(values, axis=0) for emotion, values in measured.items()}
    for emotion, rule in demo.EMOTION_CUES.items():
        moved = mean[emotion] - mean['neutral']
        assert np.all(abs(moved - (rule.pitch, rule.rate, rule.level)) < (1.2, 0.05, 0.6)), (
            emotion,
            moved,
        )


def test_a_fresh_process_repeats_the_corpus_bit_for_bit(root, tmp_path):
    """A second synthesis, of the first three speakers (the third breathes at random), gives the very files of `make`."""
    code = 'import sys; from data_pipelines.corpora.demo import *; synthesise(sys.argv[1], {"en": SPEAKERS["en"][:3]})'
    subprocess.run(
        [sys.executable, '-c', code, str(tmp_path)],
        check=True,
        cwd=demo.__file__.rsplit('data_pipelines', 1)[0],
    )
    again = sorted(tmp_path.glob('*/*/*'))
    assert len(again) == 72
    for path in again:
        assert path.read_bytes() == (root / path.relative_to(tmp_path)).read_bytes(), path.name


def test_a_finished_corpus_is_left_alone(root, monkeypatch):
    """Asking for a corpus that is there synthesises nothing, and needs no eSpeak."""
    monkeypatch.setitem(sys.modules, 'espeakng_loader', None)
    monkeypatch.setattr(subprocess, 'run', lambda *a, **k: pytest.fail('synthesised again'))
    demo.synthesise_in_subprocess(root)
    demo.CORPUS.check_counts(demo.walk(root))


def test_a_broken_synthesis_leaves_nothing_that_looks_whole(tmp_path, monkeypatch):
    """Until the last file is written there is no folder of the corpus's name, nor any remains after a failure."""
    root = tmp_path / 'new' / 'demo'

    def fail(command, **_):
        folder = demo.Path(command[-1])
        folder.mkdir()
        (folder / 'half').touch()
        assert not root.exists()
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(demo.importlib.util, 'find_spec', lambda name: object())
    monkeypatch.setattr(subprocess, 'run', fail)
    with pytest.raises(subprocess.CalledProcessError):
        demo.synthesise_in_subprocess(root)
    assert list(root.parent.iterdir()) == []


def test_without_espeak_the_refusal_says_what_to_install(tmp_path, monkeypatch):
    """Whoever lacks the optional package is told the command that installs it, and no folder is made."""
    monkeypatch.setitem(sys.modules, 'espeakng_loader', None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[demo\]'"):
        demo.synthesise_in_subprocess(tmp_path / 'demo')
    assert list(tmp_path.iterdir()) == []


def test_speakers_are_distinct_voices_that_espeak_has():
    """ESpeak speaks an unknown variant as its default voice without a word, so the table is held against its data."""
    loader = pytest.importorskip('espeakng_loader')
    variants = demo.Path(loader.get_data_path(), 'voices', '!v')
    for language, speakers in demo.SPEAKERS.items():
        assert all((variants / s.variant).is_file() for s in speakers)
        assert all(s.name.startswith(language) for s in speakers)
        assert len({s.variant for s in speakers}) == len(speakers)


def test_an_unknown_voice_is_refused():
    """A language that eSpeak lacks is an error rather than the voice before it."""
    pytest.importorskip('espeakng_loader')
    with pytest.raises(UserError, match=r'xx\+f1'):
        demo.Espeak().say('Hello.', 'xx+f1', demo.EMOTION_CUES['neutral'])


def test_shape_scales_tilts_and_sets_the_level():
    """Tones an octave apart move by the tract's factor and come out the tilt apart, at the level asked for."""
    rate, seconds = 22050, 2
    time = np.arange(rate * seconds) / rate
    wave = demo.shape_spectrum(
        np.sin(2 * np.pi * 500 * time) + np.sin(2 * np.pi * 1000 * time),
        rate,
        tract=1.25,
        level=4,
        tilt=-3,
    )
    assert len(wave) == pytest.approx(rate * seconds / 1.25, abs=1)
    assert 10 * np.log10(np.mean(wave**2)) == pytest.approx(-30)
    spectrum = np.abs(np.fft.rfft(wave))
    hertz = np.fft.rfftfreq(len(wave), 1 / rate)
    low, high = (spectrum[np.argmin(abs(hertz - f))] for f in (625, 1250))
    assert 20 * np.log10(high / low) == pytest.approx(-3, abs=0.01)


def test_a_tract_changes_the_timbre_only(tmp_path):
    """A speaker with a shorter vocal tract speaks as high and as fast as before, with a brighter spectrum."""
    pytest.importorskip('espeakng_loader')
    measured = {}
    for tract in (0.9, 1.1):
        speaker = dataclasses.replace(demo.SPEAKERS['en'][3], tract=tract)
        demo.synthesise(tmp_path / str(tract), {'en': (speaker,)})
        rows = []
        for utterance in demo.walk(tmp_path / str(tract)):
            wave, rate = soundfile.read(utterance.path)
            spectrum = np.abs(np.fft.rfft(wave))
            centroid = np.average(np.fft.rfftfreq(len(wave), 1 / rate), weights=spectrum)
            rows.append((pitch(wave, rate), np.log(len(wave)), np.log(centroid)))
        measured[tract] = np.mean(rows, axis=0)
    higher, longer, brighter = measured[1.1] - measured[0.9]
    assert abs(higher) < 0.5
    assert abs(longer) < 0.04
    assert brighter > 0.5 * np.log(1.1 / 0.9)
