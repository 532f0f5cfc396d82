"""Tests of what predicts the emotion besides speech: it is found, and chance is not."""

import json
import warnings

import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances

from data_pipelines.protocols import audit, audit_report, shortcuts
from data_pipelines.protocols.folds import make_folds
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.storage.schema import AUDIO_FACTS

CLASSES = ('angry', 'happy', 'neutral', 'sad')
MEASURED = {
    'length': 'seconds',
    'level': 'level_db',
    'leading silence': 'leading_silence',
    'sampling rate': 'source_rate',
}


def make_corpus(speakers: int = 8, per_class: int = 6):
    """Returns utterances of four classes whose audio facts are independent of them."""
    utterances = make_utterances(speakers, per_class, CLASSES)
    numbers = np.random.default_rng(1).integers(0, 5, len(utterances))
    utterances.text['sentence'] = np.char.add('s', numbers.astype(str))
    return utterances


def find(utterances, **protocol) -> dict[str, dict]:
    """Returns the findings by feature."""
    protocol = Protocol(**({'folds': 4} | protocol))
    found = shortcuts.find_shortcuts(utterances, make_folds(utterances, protocol))
    return {shortcut['feature']: shortcut for shortcut in found['shortcuts']}


def class_numbers(utterances) -> np.ndarray:
    """Returns the number of each utterance's class."""
    return np.searchsorted(CLASSES, utterances.text['emotion'])


def set_feature(utterances, feature: str, number_N: np.ndarray) -> None:
    """Replaces a feature by numbers, or by texts made of them."""
    if feature in MEASURED:
        column = AUDIO_FACTS.index(MEASURED[feature])
        utterances.audio_facts_NxF[:, column] = number_N
    else:
        column = 'sentence' if feature == 'sentence' else 'source_codec'
        utterances.text[column] = np.char.add('v', number_N.astype(str))


@pytest.mark.parametrize('feature', shortcuts.FEATURES)
def test_each_feature_that_predicts_the_emotion_is_clear(feature):
    """It is the only one. UAR is 1, and the bits are those of the emotion, less chance."""
    utterances = make_corpus()
    set_feature(utterances, feature, 10 + class_numbers(utterances))
    found = find(utterances)
    assert list(found) == list(shortcuts.FEATURES)
    statuses = {name: shortcut['status'] for name, shortcut in found.items()}
    assert statuses == dict.fromkeys(shortcuts.FEATURES, 'none') | {feature: 'clear'}
    assert found[feature]['uar'] == 1
    assert found[feature]['chance'] == 0.25
    assert found[feature]['of'] == 2
    assert 1.9 < found[feature]['bits'] < 2


def test_a_weak_shortcut_is_called_weak():
    """A third of a standard deviation from class to class, as of the level of RAVDESS."""
    utterances = make_corpus(speakers=20, per_class=10)
    noise = np.random.default_rng(2).normal(size=len(utterances))
    set_feature(utterances, 'level', 0.4 * class_numbers(utterances) + noise)
    found = find(utterances)['level']
    assert found['status'] == 'weak'
    assert 0.3 < found['uar'] < 0.45


def test_what_predicts_for_known_speakers_only_is_no_shortcut_to_unseen_ones():
    """Each speaker has a level of their own for each emotion; a protocol may share speakers."""
    utterances = make_corpus(speakers=12)
    random = np.random.default_rng(3)
    speaker_N = np.unique(utterances.text['speaker'], return_inverse=True)[1]
    level_KxC = random.permutation(np.arange(48.0)).reshape(12, 4)
    set_feature(utterances, 'level', level_KxC[speaker_N, class_numbers(utterances)])
    assert find(utterances)['level']['status'] == 'none'
    assert find(utterances, name='speaker_dependent')['level']['status'] == 'clear'


@pytest.mark.parametrize(('speakers', 'per_class'), [(8, 6), (4, 3)])
def test_permuted_labels_are_no_shortcut_in_95_percent_of_trials(speakers, per_class):
    """All features of a trial must be 'none', whatever the number of folds and utterances."""
    random = np.random.default_rng(4)
    trials = 100
    false_alarms = 0
    utterances = make_corpus(speakers, per_class)
    for trial in range(trials):
        utterances.text['emotion'] = random.permutation(utterances.text['emotion'])
        name = ('speaker_folds', 'leave_one_speaker_out')[trial % 2]
        found = find(utterances, name=name)
        false_alarms += any([shortcut['status'] != 'none' for shortcut in found.values()])
    assert false_alarms <= 0.05 * trials


def test_the_error_of_the_score_counts_speakers_not_utterances():
    """40 utterances of a speaker that are all right or all wrong are little evidence."""
    class_N = np.tile(np.arange(2), 120)
    speaker_N = np.repeat(np.arange(6), 40).astype(str)
    credit_N = np.repeat([1.0, 1, 1, 1, 0, 0], 40)
    together = shortcuts.score_credits(class_N, credit_N, speaker_N)
    alone = shortcuts.score_credits(class_N, credit_N, np.full(240, ''))
    assert together.uar == alone.uar == pytest.approx(2 / 3)
    assert alone.p < 1e-6
    assert together.p > 0.1


@pytest.mark.parametrize(('tested', 'is_luck'), [(3, True), (40, False)])
def test_a_few_right_predictions_may_be_luck(tested, is_luck):
    """Without a wrong one they have no variance, but guesses have."""
    class_N = np.arange(tested) % 2
    score = shortcuts.score_credits(class_N, np.ones(tested), np.full(tested, ''))
    assert score.uar == 1
    assert score.p > 0.1 if is_luck else score.p < 1e-6


def test_a_feature_of_the_training_part_only_is_unmeasured():
    """As where the target corpus was prepared by an earlier version."""
    utterances = make_corpus()
    utterances.text['corpus'] = np.repeat(['a', 'b'], len(utterances) // 2)
    utterances.audio_facts_NxF[utterances.text['corpus'] == 'b'] = np.nan
    protocol = Protocol(name='source_target', source=('a',), target=('b',))
    found = shortcuts.find_shortcuts(utterances, make_folds(utterances, protocol))
    assert list(found['unmeasured']) == ['level', 'leading silence', 'sampling rate']


@pytest.mark.parametrize('exceptions', [0, 1])
def test_a_feature_that_is_nearly_the_same_everywhere_has_exactly_the_uar_of_chance(exceptions):
    """Though folds differ in how many utterances of each class they train on.

    One exception makes its class less likely where it is in training, but not by more than error.
    """
    utterances = make_corpus()[np.arange(0, 192) % 7 > 0]
    utterances.text['source_codec'][:exceptions] = 'MP3'
    found = find(utterances)['codec']
    assert (found['uar'], found['bits'], found['p']) == (found['chance'], 0, 1)


def test_data_of_earlier_versions_are_audited_without_what_they_lack():
    """The length is then the number of frames, unless states are pooled; the rest is said."""
    utterances = make_corpus()
    utterances.audio_facts_NxF[:] = np.nan
    utterances.text['source_codec'][:] = ''
    utterances.text['sentence'][:] = ''
    utterances.frames_N = 10 + class_numbers(utterances).astype(np.int32)
    protocol = Protocol(folds=4)
    folds = make_folds(utterances, protocol)
    findings = audit.audit_folds(utterances, folds, protocol)
    (length,) = findings['shortcuts']
    assert (length['feature'], length['status']) == ('length', 'clear')
    assert list(findings['unmeasured']) == [n for n in shortcuts.FEATURES if n != 'length']
    words = ' '.join([' '.join(line) for line in audit_report.describe_findings(findings)])
    assert 'level, leading silence, sampling rate, codec: prepared or packed by an earlier' in words
    utterances.frames_N[:] = 1
    assert not shortcuts.find_shortcuts(utterances, folds)['shortcuts']


def test_findings_are_json_and_the_start_of_training_warns():
    """Without a warning of NumPy, where a value or a class is missing in training."""
    utterances = make_corpus()
    set_feature(utterances, 'length', class_numbers(utterances))
    protocol = Protocol(folds=4)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        findings = audit.audit_folds(utterances, make_folds(utterances, protocol), protocol)
    json.dumps(findings, allow_nan=False)
    lines = audit_report.summary_lines(findings)
    assert lines[1].startswith(
        'Warning: length alone predicts the emotion of unseen speakers: UAR 1'
    )
    assert not [line for line in lines if 'shortcut: none' in line]
