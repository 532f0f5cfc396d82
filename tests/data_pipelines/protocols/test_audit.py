"""Tests that leaks between the parts of a fold are refused, and confounding is measured."""

import dataclasses
import json

import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances

from data_pipelines.errors import UserError
from data_pipelines.protocols import audit, audit_report
from data_pipelines.protocols.confounding import measure_confounding
from data_pipelines.protocols.enrolment import reserve_enrolment
from data_pipelines.protocols.folds import Fold, make_folds
from data_pipelines.protocols.protocol import Protocol, parse_allowed_leaks
from data_pipelines.protocols.recordings import format_pair
from data_pipelines.protocols.withholding import reserve_attacker_test

PART_PAIRS = [
    ('train', 'dev'),
    ('train', 'test'),
    ('dev', 'test'),
    ('adapt', 'dev'),
    ('adapt', 'test'),
    ('identity', 'dev'),
    ('identity', 'test'),
    ('withheld', 'dev'),
    ('withheld', 'test'),
]


def utterances_and_fold() -> tuple:
    """Returns utterances of six speakers and a fold: two train, two are dev, two are tested."""
    utterances = make_utterances()
    return utterances, make_folds(utterances, Protocol(folds=3))[0]


def find(utterances, folds: list[Fold], **protocol) -> dict:
    """Returns the findings of the audit under a protocol."""
    return audit.audit_folds(utterances, folds, Protocol(**protocol))


def copy_recording(utterances, row: int, original: int) -> None:
    """Makes `row` the same recording as `original`, to the bit."""
    utterances.text['sha256'] = utterances.text['sha256'].astype('U64')
    utterances.text['sha256'][[row, original]] = 'a' * 64
    utterances.signature_NxS[row] = utterances.signature_NxS[original]


def with_part(utterances, fold: Fold, part: str) -> Fold:
    """Returns a fold in which adapt or identity has a training speaker of its own.

    Or one that withholds half of the training utterances.
    """
    if part == 'withheld':
        return reserve_attacker_test(utterances, fold, 0.5, 0)
    if part not in ('adapt', 'identity'):
        return fold
    speaker = utterances.text['speaker'][fold.train]
    first_speaker = speaker == speaker[0]
    changes = {part: fold.train[first_speaker], 'train': fold.train[~first_speaker]}
    return dataclasses.replace(fold, **changes)


def summary(findings: dict) -> str:
    """Returns the first line of the summary."""
    return audit_report.summary_lines(findings)[0]


def test_a_split_without_leaks_passes():
    """Every finding can be written as JSON."""
    utterances, _ = utterances_and_fold()
    findings = find(utterances, make_folds(utterances, Protocol(folds=3)))
    assert findings['leaks'] == []
    assert findings['speaker'] == {'count': 0, 'in_folds': 0, 'examples': [], 'unknown': 0}
    assert findings['audio'] == {'exact': 0, 'near': 0, 'in_folds': 0, 'examples': []}
    assert findings['duplicates'] == {'exact': 0, 'near': 0, 'examples': []}
    assert json.loads(json.dumps(findings)) == findings


def test_withheld_utterances_are_counted_and_near_copies_in_training_are_named():
    """A near copy in training is no leak of the test part; the audit says that there is one."""
    utterances, fold = utterances_and_fold()
    assert 'withheld' not in ' '.join(audit_report.summary_lines(find(utterances, [fold])))
    reserved = reserve_attacker_test(utterances, fold, 0.2, 0)
    findings = find(utterances, [reserved], withhold=0.2)
    assert findings['withheld'] == {'utterances': [4], 'near': 0}
    expected = '4 utterances of training speakers in each fold, on which attackers are tested'
    assert dict(audit_report.describe_findings(findings))['withheld'] == expected
    copy_recording(utterances, reserved.withheld[0], reserved.train[0])
    utterances.text['sha256'][reserved.withheld[0]] = 'b' * 64
    findings = find(utterances, [reserved], withhold=0.2)
    assert findings['withheld']['near'] == 1
    assert findings['leaks'] == []
    described = dict(audit_report.describe_findings(findings))['withheld']
    assert '1 pair of nearly identical audio, one withheld and one in training' in described


@pytest.mark.parametrize('parts', PART_PAIRS)
def test_a_shared_speaker_is_refused_by_name(parts):
    """The message names the fold, the parts, the speaker and an utterance of each part."""
    utterances, fold = utterances_and_fold()
    fold = with_part(utterances, fold, parts[0])
    row, other = getattr(fold, parts[0])[0], getattr(fold, parts[1])[0]
    speaker_N = utterances.text['speaker']
    speaker_N[row] = speaker_N[other]
    with pytest.raises(UserError, match='Speaker leak') as error:
        find(utterances, [fold])
    message = str(error.value)
    assert fold.name in message
    assert ' and '.join(parts) in message
    assert utterances.text['utterance'][row] in message
    assert utterances.text['utterance'][other] in message
    assert speaker_N[other] in message
    assert '--allow_leak=speaker' in message
    assert 'Audio' not in message


@pytest.mark.parametrize('near', [False, True])
@pytest.mark.parametrize('parts', PART_PAIRS)
def test_a_shared_recording_is_refused_whatever_its_labels(parts, near):
    """For example one person under two names, a renamed file, or a re-encoded file."""
    utterances, fold = utterances_and_fold()
    fold = with_part(utterances, fold, parts[0])
    row, other = getattr(fold, parts[0])[0], getattr(fold, parts[1])[0]
    copy_recording(utterances, row, other)
    if near:
        utterances.text['sha256'][row] = 'b' * 64
        signature_S = utterances.signature_NxS[row]
        noise = 0.004 * np.sign(signature_S[::-1][:-1])
        utterances.signature_NxS[row, 0] *= 1.01
        utterances.signature_NxS[row, 1:] += noise
    with pytest.raises(UserError, match='Audio leak') as error:
        find(utterances, [fold])
    message = str(error.value)
    assert f'{utterances.text["utterance"][row]} {"~" if near else "="}' in message
    assert fold.name in message
    assert ' and '.join(parts) in message
    assert utterances.text['utterance'][other] in message
    assert 'different speaker' in message
    assert '--allow_leak=audio' in message
    findings = find(utterances, [fold], allow_leak='audio')
    assert (findings['audio']['exact'], findings['audio']['near']) == ((0, 1) if near else (1, 0))
    assert findings['duplicates']['examples'] == []


def test_both_kinds_of_leak_are_refused_at_once():
    """So that the second leak does not appear only after the first is corrected."""
    utterances, fold = utterances_and_fold()
    fold = dataclasses.replace(fold, test=np.append(fold.test, fold.train[0]))
    with pytest.raises(UserError, match=r'(?s)Speaker leak.*Audio leak'):
        find(utterances, [fold])


def test_at_most_ten_examples_are_named_and_all_are_counted():
    """16 recordings are in two parts."""
    utterances, fold = utterances_and_fold()
    fold = dataclasses.replace(fold, dev=fold.train)
    findings = find(utterances, [fold], allow_leak='speaker,audio')
    assert findings['audio']['exact'] == len(fold.train) == 16
    assert len(findings['audio']['examples']) == 10
    assert len(json.dumps(findings)) < 6_000


def test_an_allowed_leak_is_still_reported_as_a_leak():
    """Allowing one kind does not allow another, and an unknown kind is refused."""
    utterances, fold = utterances_and_fold()
    utterances.text['speaker'][fold.train[0]] = utterances.text['speaker'][fold.test[0]]
    findings = find(utterances, [fold], allow_leak='speaker')
    assert findings['leaks'] == findings['allowed'] == ['speaker']
    assert findings['speaker']['count'] == 1
    assert 'LEAK (allowed): 1 speaker shared in 1 of 1 fold' in summary(findings)
    with pytest.raises(UserError, match='Speaker leak'):
        find(utterances, [fold], allow_leak='audio')
    with pytest.raises(UserError, match=r"leak 'speakers'\. --allow_leak accepts speaker, audio"):
        find(utterances, [fold], allow_leak='speakers')
    assert parse_allowed_leaks(' speaker,audio,') == ('audio', 'speaker')


def test_a_protocol_that_shares_speakers_may_share_no_recording():
    """With speaker_dependent, shared speakers are reported; a recording in two parts is refused."""
    utterances = make_utterances()
    rows = np.arange(48)
    mixed = Fold(0, 'mixed', rows[::3], rows[1::3], rows[2::3])
    findings = find(utterances, [mixed], name='speaker_dependent')
    assert findings['leaks'] == []
    assert findings['speaker']['count'] == 6
    assert 'by design of the protocol' in summary(findings)
    copy_recording(utterances, 0, 1)
    with pytest.raises(UserError, match='Audio leak'):
        find(utterances, [mixed], name='speaker_dependent')


def test_only_a_transductive_protocol_may_adapt_to_the_test_part():
    """There it is reported; with other protocols it is refused."""
    utterances, fold = utterances_and_fold()
    fold = dataclasses.replace(fold, adapt=fold.test)
    findings = find(utterances, [fold], adapt='transductive')
    lines = ' '.join(audit_report.summary_lines(findings))
    assert 'training uses the test audio without its emotions' in lines
    with pytest.raises(UserError, match='adapt and test share'):
        find(utterances, [fold])


def test_identity_batches_may_not_contain_the_test_part_even_if_training_adapts_to_it():
    """The speakers of identity batches are used as labels."""
    utterances, fold = utterances_and_fold()
    fold = dataclasses.replace(fold, adapt=fold.test, identity=fold.test)
    with pytest.raises(UserError, match='identity and test share'):
        find(utterances, [fold], adapt='transductive')


def test_a_duplicate_within_a_part_is_reported_and_is_not_a_leak():
    """It is counted and named, with the labels that differ."""
    utterances, fold = utterances_and_fold()
    row, other = fold.train[:2]
    copy_recording(utterances, row, other)
    emotion_N = utterances.text['emotion']
    emotion_N[row] = 'sad' if emotion_N[other] == 'angry' else 'angry'
    findings = find(utterances, [fold])
    assert findings['duplicates']['exact'] == 1
    assert findings['duplicates']['examples'][0]['differ'] == ['emotion']
    assert '1 pair of identical audio within a part' in summary(findings)


@pytest.mark.parametrize(
    ('difference', 'sign'),
    [(0, '='), (1e-9, '~ (> 0.9999)'), (2e-2, '~ (0.9998)'), (0.03, '~ (0.9995)')],
)
def test_only_identical_recordings_are_equal(difference, sign, capsys):
    """However similar another recording is, its correlation is never rounded up to 1."""
    utterances, fold = utterances_and_fold()
    row, other = fold.train[:2]
    copy_recording(utterances, row, other)
    signature_S = np.zeros(utterances.signature_NxS.shape[1])
    signature_S[:2] = utterances.signature_NxS[other, 0], 1
    utterances.signature_NxS = utterances.signature_NxS.astype(float)
    utterances.signature_NxS[[row, other]] = signature_S
    utterances.signature_NxS[row, 1:3] = np.cos(difference), np.sin(difference)
    if difference:
        utterances.text['sha256'][row] = 'b' * 64
    findings = find(utterances, [fold])
    (pair,) = findings['duplicates']['examples']
    assert (pair['alike'] == 1) == (difference == 0)
    assert f' {sign} ' in format_pair(pair)
    kind = 'nearly identical' if difference else 'identical'
    assert f'1 pair of {kind} audio within a part' in summary(findings)
    audit_report.print_findings(findings)
    assert f' {sign} ' in capsys.readouterr().out


def test_unknown_speakers_are_counted_and_never_shared():
    """An unknown speaker is '', which is not a name."""
    utterances, fold = utterances_and_fold()
    utterances.text['speaker'][fold.train[:2]] = ''
    utterances.text['speaker'][fold.test[:2]] = ''
    findings = find(utterances, [fold])
    assert (findings['speaker']['count'], findings['speaker']['unknown']) == (0, 4)
    assert '4 utterances of unknown speakers' in summary(findings)


def test_sessions_in_several_parts_are_reported():
    """With two speakers a session, one is tested while the other is in train or dev."""
    utterances = make_utterances(sessions=1)
    by_speaker = make_folds(utterances, Protocol('leave_one_speaker_out'))
    session = find(utterances, by_speaker)['session']
    assert (session['count'], session['in_folds']) == (3, 6)
    assert session['examples'][0]['session'] == 'Ses0'
    by_session = make_folds(utterances, Protocol('leave_one_session_out'))
    assert find(utterances, by_session)['session']['count'] == 0


def test_sentences_of_the_test_part_that_are_in_training_are_counted():
    """Of 16 test utterances 12 have a known sentence, 8 one of the two (of four) in training."""
    utterances, fold = utterances_and_fold()
    utterances.text['sentence'] = np.full(len(utterances), '', 'U9')
    utterances.text['sentence'][fold.train[:2]] = 'a', 'b'
    utterances.text['sentence'][fold.test[:12]] = ['a', 'b', 'c', 'a', 'b', 'd'] * 2
    findings = find(utterances, [fold])
    assert findings['sentence'] == {'known': 12, 'heard': 8, 'sentences': 4, 'sentences_heard': 2}
    sentence = '2 of 4 sentences tested are in training too (67 % of the utterances)'
    assert sentence in summary(findings)


@pytest.mark.parametrize('part', ['train', 'dev', 'test'])
def test_a_class_that_is_missing_from_a_part_is_reported(part):
    """The report names fold, part and class."""
    utterances, fold = utterances_and_fold()
    rows = getattr(fold, part)
    not_sad = rows[utterances.text['emotion'][rows] != 'sad']
    findings = find(utterances, [dataclasses.replace(fold, **{part: not_sad})])
    missing = {'fold': fold.name, 'part': part, 'classes': ['sad']}
    assert findings['missing'] == {'parts': 1, 'examples': [missing]}
    lines = ' '.join(audit_report.summary_lines(findings))
    assert f"classes: {part} of fold '{fold.name}' has no sad" in lines


def test_confounding_is_measured_against_chance():
    """Balanced speakers have none; speakers with one emotion each are wholly confounded."""
    utterances, fold = utterances_and_fold()
    findings = find(utterances, [fold])['tells']
    assert list(findings) == ['speaker']
    assert findings['speaker']['bits'] == 0
    assert (findings['speaker']['of'], findings['speaker']['word']) == (1, 'none')
    utterances.text['emotion'] = np.where(utterances.text['sex'] == 'male', 'angry', 'sad')
    confounded = find(utterances, [fold])['tells']['speaker']
    assert confounded['bits'] == confounded['of'] == 1
    assert (confounded['share'], confounded['word']) == (1, 'strong')


def test_corpora_and_languages_are_measured_where_there_are_several():
    """So are the speakers within each corpus; unknown speakers are left out."""
    utterances, fold = utterances_and_fold()
    text = utterances.text
    text['corpus'] = np.where(np.arange(len(utterances)) % 2, 'y', 'x')
    text['language'] = np.where(text['emotion'] == 'sad', 'de', 'en')
    text['speaker'][:3] = ''
    findings = find(utterances, [fold])['tells']
    names = ['speaker', 'speaker in x', 'speaker in y', 'corpus', 'language']
    assert list(findings) == names
    assert findings['language']['share'] == 1
    assert findings['corpus']['bits'] == 0
    known = np.sort(np.concatenate([fold.train, fold.dev, fold.test]))[3:]
    expected = measure_confounding(text['speaker'][known], text['emotion'][known])
    assert findings['speaker'] == expected


def test_what_is_set_aside_for_enrolment_is_explained_beside_the_parts(capsys):
    """Training speakers' rows are counted twice: in train and as set aside."""
    utterances, fold = utterances_and_fold()
    audit_report.print_parts(utterances, [fold])
    assert 'set aside' not in capsys.readouterr().out
    enrolled = reserve_enrolment(utterances, fold, Protocol(enrol='all'), 0)
    audit_report.print_parts(utterances, [enrolled])
    printed = capsys.readouterr().out
    heading = next(line for line in printed.splitlines() if 'fold' in line)
    assert 'set aside' in heading
    assert 'reserved' not in printed
    assert 'add up to more than all utterances' in ' '.join(printed.split())


def test_two_spellings_of_a_speaker_in_two_parts_are_one_speaker():
    """In data sets that earlier versions prepared; now prepare asks."""
    utterances, fold = utterances_and_fold()
    utterances.text['speaker'] = utterances.text['speaker'].astype('U16')
    utterances.text['speaker'][fold.train[0]] = '007'
    utterances.text['speaker'][fold.test[0]] = '7.0'
    with pytest.raises(UserError, match=r'share 1 speaker: 007 = 7\.0 .* in one way'):
        find(utterances, [fold])
    findings = find(utterances, [fold], allow_leak='speaker')
    assert findings['speaker']['examples'][0]['spellings'] == ['007', '7.0']
    for name in ('nan', ' N/A', '-', 'unknown'):
        utterances.text['speaker'][[fold.train[0], fold.test[0]]] = name
        assert not find(utterances, [fold])['speaker']['count']


def test_speakers_who_share_recordings_are_probably_one_person():
    utterances, fold = utterances_and_fold()
    speaker_N = utterances.text['speaker']
    utterances.text['sha256'] = utterances.text['sha256'].astype('U64')
    first, second = np.unique(speaker_N[fold.train])[:2]
    rows = fold.train[speaker_N[fold.train] == first][:3]
    others = fold.train[speaker_N[fold.train] == second][:3]
    for n in range(3):
        utterances.text['sha256'][[rows[n], others[n]]] = f'hash {n}'
    findings = find(utterances, [fold])
    assert findings['same_persons'] == [{'speakers': [first, second], 'identical': 3}]
    expected = f'{first} and {second} are probably one person: 3 identical recordings'
    assert expected in ' '.join(audit_report.summary_lines(findings))
    utterances.text['sha256'][rows[1:]] = ''
    words = ' '.join(audit_report.summary_lines(find(utterances, [fold])))
    assert 'are perhaps one person: 1 identical recording' in words


def spoken_sentences(speakers: int, sentences: int):
    """Returns utterances in which every speaker says every sentence with every emotion."""
    utterances = make_utterances(speakers, per_class=sentences)
    numbers = [name.split('_')[2] for name in utterances.text['utterance']]
    utterances.text['sentence'] = np.array([f't{number}' for number in numbers])
    return utterances


def test_folds_by_sentence_share_speakers_by_design():
    utterances = spoken_sentences(speakers=4, sentences=6)
    protocol = Protocol('sentence_folds', 3)
    findings = audit.audit_folds(utterances, make_folds(utterances, protocol), protocol)
    assert findings['leaks'] == []
    assert findings['shares_speakers']
    described = dict(audit_report.describe_findings(findings))
    assert described['speakers'] == '4 speakers shared in 3 of 3 folds, by design of the protocol'
    assert described['sentences'] == (
        '0 of 6 sentences tested are in training too, by design of the protocol'
    )
    assert 'in no part' not in described


def test_folds_by_speaker_and_sentence_say_what_is_in_no_part():
    """Each fold tests one speaker of four with one sentence of four, and has two in training."""
    utterances = spoken_sentences(speakers=4, sentences=4)
    protocol = Protocol('speaker_sentence_folds', 4)
    findings = audit.audit_folds(utterances, make_folds(utterances, protocol), protocol)
    assert findings['leaks'] == []
    assert findings['speaker']['count'] == 0
    assert findings['unused'] == [32 - 2 - 2 - 8] * 4
    assert dict(audit_report.describe_findings(findings))['in no part'] == (
        '20 utterances of each fold: speakers of one part with sentences of another'
    )


@pytest.mark.parametrize('name', ['sentence_folds', 'speaker_sentence_folds'])
@pytest.mark.parametrize('part', ['train', 'dev'])
def test_a_tested_sentence_in_another_part_is_a_leak(name, part):
    """It cannot be allowed: the protocol promises that there is none."""
    utterances = spoken_sentences(speakers=4, sentences=4)
    folds = make_folds(utterances, Protocol(name, 4))
    rows = getattr(folds[2], part)
    utterances.text['sentence'][rows[0]] = utterances.text['sentence'][folds[2].test[0]]
    with pytest.raises(UserError, match='Sentence leak: in fold') as error:
        find(utterances, [folds[2]], name=name, allow_leak='speaker,audio')
    names = utterances.text['utterance']
    assert f'{part} and test share the sentence' in str(error.value)
    assert 'please report it' in str(error.value)
    assert f'{names[rows[0]]} and {names[folds[2].test[0]]}' in str(error.value)


def test_shared_sentences_are_no_leak_where_the_protocol_does_not_separate_them():
    utterances = spoken_sentences(speakers=6, sentences=4)
    findings = find(utterances, make_folds(utterances, Protocol(folds=3)))
    assert findings['leaks'] == []
    assert findings['sentence']['heard'] == findings['sentence']['known'] == 48


def test_the_audit_of_ratings_says_thirds_of_the_scale_and_lists_them_by_size(capsys):
    utterances = make_utterances(classes=('high', 'low', 'middle'))
    folds = make_folds(utterances, Protocol(folds=3))
    emotion_N = utterances.text['emotion'].copy()
    emotion_N[folds[0].test] = 'middle'
    utterances.text['emotion'] = emotion_N
    findings = audit.inspect_folds(utterances, folds, Protocol(folds=3), rating='arousal')
    described = dict(audit_report.describe_findings(findings))
    assert 'arousal (thirds of its scale) from speaker' in described
    assert described['thirds'].endswith('has no low nor high')
    lines = ' '.join([*described, *audit_report.summary_lines(findings)])
    assert 'emotion' not in lines
    assert 'classes' not in described
    audit_report.print_class_priors(utterances)
    heading = capsys.readouterr().out.splitlines()[1:4]
    assert any(line.split() == ['speaker', 'all', 'low', 'middle', 'high'] for line in heading)
    without = audit.inspect_folds(utterances, folds, Protocol(folds=3))
    assert 'thirds_of' not in without
    assert 'emotion from speaker' in dict(audit_report.describe_findings(without))
