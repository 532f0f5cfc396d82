"""The test bench: who its speakers are, and what the dial turns."""

import numpy as np
import pytest

from data_pipelines.corpora import demo, testbed
from data_pipelines.errors import UserError


def test_the_parts_are_balanced_and_share_neither_speaker_nor_voice():
    """24, 8 and 16 speakers, as many women as men, every voice twice and in one part."""
    parts = {part: testbed.make_speakers(part, 1) for part in testbed.VOICES}
    assert {part: len(those) for part, those in parts.items()} == {
        'train': 24,
        'dev': 8,
        'test': 16,
    }
    for those in parts.values():
        assert [s.sex for s in those] == ['female', 'male'] * (len(those) // 2)
        assert all(sum(o.variant == s.variant for o in those) == 2 for s in those)
    everybody = [s for those in parts.values() for s in those]
    assert len({s.name for s in everybody}) == 48
    assert len({s.variant for s in everybody}) == 24


def test_the_dial_scales_what_is_drawn_and_nothing_else():
    """At 0 speakers have no habits and one tract; at 2 twice those of 1, in the same voice."""
    for part in testbed.VOICES:
        for none, once, twice in zip(*(testbed.make_speakers(part, s) for s in testbed.SPREADS)):
            assert (
                (none.name, none.variant)
                == (once.name, once.variant)
                == (twice.name, twice.variant)
            )
            assert (none.tract, set(none.habit)) == (1.0, {0.0})
            np.testing.assert_allclose(twice.habit, 2 * np.array(once.habit))
            assert np.log(twice.tract) == pytest.approx(2 * np.log(once.tract))
            assert np.all(np.abs(once.habit) <= testbed.HABIT_RANGE)
    assert len({s.tract for s in testbed.make_speakers('train', 1)}) == 24


def test_names_are_parsed_and_strays_refused(tmp_path):
    """The part of the split and the spread come from the path; what is not the bench's is named."""
    path = tmp_path / 'spread2' / 'en' / 'dev02' / 'dev02_s3_sad.flac'
    path.parent.mkdir(parents=True)
    path.touch()
    (found,) = testbed.walk(tmp_path)
    assert (found.name, found.speaker, found.emotion, found.sex) == (
        'spread2_dev02_s3_sad',
        'dev02',
        'sad',
        'male',
    )
    assert (found.style, found.split, found.sentence, found.language) == (
        'spread2',
        'dev',
        'en_s3',
        'en',
    )
    path.rename(path.with_name('dev09_s3_sad.flac'))
    with pytest.raises(UserError, match='dev09_s3_sad'):
        testbed.walk(tmp_path)


def test_espeak_has_its_voices():
    """ESpeak speaks an unknown variant as its default voice without a word."""
    loader = pytest.importorskip('espeakng_loader')
    variants = demo.Path(loader.get_data_path(), 'voices', '!v')
    assert all(
        (variants / v).is_file()
        for sexes in testbed.VOICES.values()
        for those in sexes.values()
        for v in those
    )
