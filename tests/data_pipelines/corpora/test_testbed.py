"""Tests the test bench: who its speakers are, and what the spread changes."""

import collections
from pathlib import Path

import numpy as np
import pytest
from helpers import corpus_trees

from data_pipelines.corpora import testbed
from data_pipelines.errors import UserError


@pytest.mark.parametrize(('part', 'count'), [('train', 24), ('dev', 8), ('test', 16)])
def test_a_part_has_as_many_women_as_men_and_every_voice_twice(part, count):
    speakers = testbed.make_speakers(part, spread=1)
    assert len(speakers) == count
    assert [s.sex for s in speakers] == ['female', 'male'] * (count // 2)
    assert set(collections.Counter(s.variant for s in speakers).values()) == {2}


def test_the_parts_share_neither_speaker_nor_voice():
    speakers = testbed.make_all_speakers(spread=1)
    assert len({s.name for s in speakers}) == 48
    assert len({s.variant for s in speakers}) == 24


@pytest.mark.parametrize('part', list(testbed.VOICES))
def test_the_spread_scales_habits_and_tract_and_nothing_else(part):
    """At 0, speakers have no habits and one tract; at 2, they have twice those at 1."""
    speakers_by_spread = [testbed.make_speakers(part, spread) for spread in testbed.SPREADS]
    for none, once, twice in zip(*speakers_by_spread):
        assert none.name == once.name == twice.name
        assert none.variant == once.variant == twice.variant
        assert (none.tract, set(none.habit)) == (1.0, {0.0})
        np.testing.assert_allclose(twice.habit, 2 * np.array(once.habit))
        assert np.log(twice.tract) == pytest.approx(2 * np.log(once.tract))
        assert np.all(np.abs(once.habit) <= testbed.HABIT_RANGE)


def test_every_speaker_has_a_tract_of_their_own():
    assert len({s.tract for s in testbed.make_speakers('train', spread=1)}) == 24


def test_the_path_gives_spread_split_speaker_sentence_and_emotion(tmp_path):
    corpus_trees.write_file(tmp_path / 'spread2/en/dev02/dev02_s3_sad.flac')
    (utterance,) = testbed.walk(tmp_path)
    assert (utterance.name, utterance.speaker) == ('spread2_dev02_s3_sad', 'dev02')
    assert (utterance.emotion, utterance.sex) == ('sad', 'male')
    assert (utterance.style, utterance.split) == ('spread2', 'dev')
    assert (utterance.sentence, utterance.language) == ('en_s3', 'en')


def test_a_file_with_another_name_is_refused(tmp_path):
    corpus_trees.write_file(tmp_path / 'spread2/en/dev02/dev09_s3_sad.flac')
    with pytest.raises(UserError, match='dev09_s3_sad'):
        testbed.walk(tmp_path)


def test_espeak_has_the_voices():
    """It would speak an unknown one with its default voice, without an error."""
    loader = pytest.importorskip('espeakng_loader')
    folder = Path(loader.get_data_path(), 'voices', '!v')
    for speaker in testbed.make_all_speakers(spread=0):
        assert (folder / speaker.variant).is_file()
