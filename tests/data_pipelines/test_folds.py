"""Folds share no speaker, and what a corpus cannot serve is refused."""

import dataclasses
import itertools

import numpy as np
import pytest
from made_up import utterances

from data_pipelines import folds
from data_pipelines.refusal import Refusal


def speakers(u, rows) -> set:
    return set(u.text['speaker'][rows])


@pytest.mark.parametrize(
    ('protocol', 'count'), [('speaker_folds', 4), ('leave_one_speaker_out', 8), ('leave_one_session_out', 4)]
)
def test_parts_of_a_fold_share_no_speaker_and_every_utterance_is_tested_once(protocol, count):
    """The three parts are disjoint by speaker; the test parts cover the corpus; dev is the next fold's test part."""
    u = utterances(speakers=8, sessions=1)
    made = folds.make(u, protocol, 4)
    assert [f.number for f in made] == list(range(count))
    for f in made:
        for a, b in itertools.combinations((f.train, f.dev, f.test), 2):
            assert not speakers(u, a) & speakers(u, b)
        assert len(f.train) + len(f.dev) + len(f.test) == len(u)
    np.testing.assert_array_equal(np.sort(np.concatenate([f.test for f in made])), np.arange(len(u)))
    for f, after in zip(made, made[1:] + made[:1]):
        np.testing.assert_array_equal(f.dev, after.test)


def test_speaker_folds_balance_the_sexes():
    """Eight speakers in four parts: a woman and a man in each."""
    u = utterances(speakers=8)
    for f in folds.make(u, 'speaker_folds', 4):
        assert (
            sorted({(s, x) for s, x in zip(u.text['speaker'][f.test], u.text['sex'][f.test])}, key=lambda p: p[1])[0][1]
            == 'female'
        )
        assert set(u.text['sex'][f.test]) == {'female', 'male'}


def test_a_session_shared_by_a_speaker_is_refused():
    """Leaving a session out would leave its speaker in."""
    u = utterances(speakers=8, sessions=1)
    u.text['session'][0] = 'Ses3'
    with pytest.raises(Refusal, match='share the speaker s00'):
        folds.make(u, 'leave_one_session_out', 0)


def test_a_class_missing_from_training_is_refused():
    """A class that only tested and dev speakers show cannot be learnt."""
    u = utterances(speakers=3, classes=('angry', 'sad'))
    u.text['emotion'][u.text['speaker'] == 's00'] = 'happy'
    with pytest.raises(Refusal, match='is happy'):
        folds.make(u, 'leave_one_speaker_out', 0)


@pytest.mark.parametrize(('count', 'k'), [(2, 3), (6, 7), (6, 2)])
def test_too_few_speakers_or_parts_are_refused(count, k):
    """Train, dev and test need a speaker each."""
    with pytest.raises(Refusal, match='3 or more'):
        folds.make(utterances(speakers=count), 'speaker_folds', k)


def test_the_hash_changes_with_label_speaker_and_part():
    """Equal hashes mean equal splits: any change of any utterance's place in it shows."""
    u = utterances()
    made = folds.make(u, 'speaker_folds', 3)
    seen = {folds.sha256(u, made), folds.sha256(u, folds.make(u, 'leave_one_speaker_out', 0)), folds.sha256(u, made[:2])}
    for column in ('emotion', 'speaker', 'utterance'):
        other = u[np.arange(len(u))]
        other.text[column] = other.text[column].copy()
        other.text[column][3] = 'zz'
        seen.add(folds.sha256(other, made))
    first, *others = made
    moved = dataclasses.replace(first, dev=np.append(first.dev, first.test[0]), test=first.test[1:])
    seen.add(folds.sha256(u, [moved, *others]))  # the same utterances in the same order, one of them in another part
    assert len(seen) == 7
    assert folds.sha256(u, folds.make(u, 'speaker_folds', 3)) in seen, 'and it is the same the next time'
