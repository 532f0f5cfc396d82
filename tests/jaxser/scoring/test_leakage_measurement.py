"""Tests of the attackers of scikit-learn and of the questions that they are asked."""

import numpy as np
import pytest
from helpers.scored_systems import utterances, write_split
from helpers.synthetic_utterances import make_utterances

from data_pipelines.batching.table import ExampleTable
from data_pipelines.errors import UserError
from data_pipelines.protocols.folds import make_folds
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.protocols.split_file import read_split_file, write_split_file
from data_pipelines.protocols.withholding import reserve_attacker_test
from jaxser.analysis.leakage import ATTACKERS
from jaxser.probing.questions import make_questions
from jaxser.scoring import attackers
from jaxser.scoring.leakage_measurement import measure_leakage
from jaxser.scoring.representations import make_split_table, read_representations
from jaxser.scoring.truth import read_truth


@pytest.fixture(autouse=True)
def few_settings(monkeypatch):
    """Lets attackers try few settings: all of them take a minute on a busy machine."""
    monkeypatch.setattr(attackers, 'INVERSE_PENALTIES', (0.1, 3.0))
    monkeypatch.setattr(attackers, 'NEIGHBOURS', (1, 5))
    monkeypatch.setattr(attackers, 'BANDWIDTHS', (1.5,))
    monkeypatch.setattr(attackers, 'RIDGES', (1e-2, 1e-1))
    monkeypatch.setattr(attackers, 'WEIGHT_DECAYS', (1e-1,))
    monkeypatch.setattr(attackers, 'MAX_ITERATIONS', 40)


def permuted_utterances():
    """Returns utterances of ten speakers in a random order, as a corpus may have them."""
    own = make_utterances(speakers=10, per_class=5, classes=('A', 'B', 'C'))
    return own[np.random.default_rng(1).permutation(len(own))]


def named_questions(table, folds):
    """Returns the names of the rows of the questions about speakers, by fold and question."""
    name_N = table.utterances.text['utterance']
    rows = {}
    for fold in folds:
        for question in make_questions(table, fold, 0):
            if question.name in ('speaker', 'unseen_speaker'):
                parts = (question.fit_rows, question.validation_rows, question.test_rows)
                names = [name_N[part].tolist() for part in parts]
                flags = (question.is_withheld, question.unseen_speakers, question.is_crossed)
                rows[fold.number, question.name] = (*names, flags, question.classes.tolist())
    return rows


@pytest.mark.parametrize('withhold', [0.0, 0.2])
def test_attackers_are_fitted_and_tested_on_the_rows_of_a_sweep(tmp_path, withhold):
    own = permuted_utterances()
    protocol = Protocol('speaker_folds', folds=5, withhold=withhold)
    folds = [reserve_attacker_test(own, fold, withhold, 0) for fold in make_folds(own, protocol)]
    write_split_file(tmp_path / 'split.csv', own, folds)
    table = make_split_table(read_split_file(tmp_path / 'split.csv'))
    expected = named_questions(ExampleTable(own, folds, 'global', True), folds)
    found = named_questions(table, table.folds)
    assert len(found) == 10
    assert found == expected


def measure(tmp_path, z_NxD, names=None, **arrays):
    """Returns the leakage of representations of the small split."""
    truth = read_truth(write_split(tmp_path))
    table = make_split_table(truth.rows)
    names = [row['utterance'] for row in utterances()] if names is None else names
    file = tmp_path / 'representations.npz'
    np.savez(file, utterance=np.array(names), z=z_NxD, **arrays)
    return measure_leakage('a', table, read_representations(file, truth, table).by_fold)


def test_random_representations_leak_no_more_than_chance(tmp_path):
    z_NxD = np.random.default_rng(0).normal(size=(72, 4))
    averages = measure(tmp_path, z_NxD).averages
    assert averages['speaker']['chance'] == pytest.approx(1 / 4)
    assert averages['unseen_speaker']['chance'] == pytest.approx(1 / 4)
    for answer in averages.values():
        low, high = answer['ci95']
        assert low < answer['chance'] < high
        for attacker in ATTACKERS:
            assert abs(answer[attacker] - answer['chance']) < 0.25  # 3 standard errors or more


def test_the_speaker_in_the_representation_is_recognised(tmp_path):
    speaker_N = np.array([int(row['speaker'][1:]) for row in utterances()])
    z_NxD = np.random.default_rng(0).normal(size=(72, 8)) + 8 * np.eye(8)[speaker_N]
    leakage = measure(tmp_path, z_NxD)
    assert leakage.notes == []
    trained, unseen = leakage.averages['speaker'], leakage.averages['unseen_speaker']
    for attacker in ATTACKERS:
        assert trained[attacker] > 0.95
        assert unseen[attacker] > 0.95
    assert not trained['withheld']
    assert not trained['strangers']  # biased low: tested on utterances that training used
    assert unseen['strangers']
    assert trained['probed_speakers'] == 8


def test_questions_whose_utterances_have_no_representation_are_not_asked(tmp_path):
    """Fold 0 tests s0 and s4, dev is s1 and s5: without training speakers, one question is left."""
    own = [row for row in utterances() if row['speaker'] in ('s0', 's4', 's1', 's5')]
    names = [row['utterance'] for row in own]
    z_NxD = np.random.default_rng(0).normal(size=(len(names), 3))
    leakage = measure(tmp_path, z_NxD, names, fold_N=np.zeros(len(names), int))
    assert list(leakage.averages) == ['unseen_speaker']
    assert 'training speakers was not measured. Rep' in leakage.notes[0]
    assert '144 of train' in leakage.notes[0]
    assert 'was not measured in every fold' in leakage.notes[1]
    assert '54 of dev, 54 of test' in leakage.notes[1]


@pytest.mark.parametrize(
    ('z_NxD', 'names', 'words'),
    [
        (np.zeros((2, 3)), ['u0_0', 'x'], '1 utterance that'),
        (np.zeros((3, 3)), ['u0_0'] * 3, '1 utterance several times'),
        (np.full((2, 3), np.nan), ['u0_0', 'u0_1'], 'NaN'),
        (np.full((2, 3), 1e300), ['u0_0', 'u0_1'], 'huge'),
        (np.zeros((2, 3, 4)), ['u0_0', 'u0_1'], r'\(2, 3, 4\).*frames'),
        (np.zeros((3, 3)), ['u0_0', 'u0_1'], r'shape \(2,\); expected a name for each row'),
        (np.zeros((1, 1)), np.array(['u0_0'], object), 'utterance of .* numpy.asarray'),
        (np.array([[{}]], object), ['u0_0'], 'z of .* holds Python objects'),
    ],
)
def test_representations_that_do_not_fit_are_refused(tmp_path, z_NxD, names, words):
    with pytest.raises(UserError, match=words):
        measure(tmp_path, z_NxD, names)


def test_folds_of_another_shape_are_refused(tmp_path):
    with pytest.raises(UserError, match='fold of shape'):
        measure(tmp_path, np.zeros((2, 3)), ['u0_0', 'u0_1'], fold_N=np.zeros(1, int))


def test_a_damaged_file_is_refused(tmp_path):
    truth = read_truth(write_split(tmp_path))
    file = tmp_path / 'representations.npz'
    file.write_bytes(b'PK')
    with pytest.raises(UserError, match='no archive of arrays'):
        read_representations(file, truth, make_split_table(truth.rows))


def test_both_names_of_an_array_are_refused(tmp_path):
    with pytest.raises(UserError, match='utterance and utterance_N'):
        measure(tmp_path, np.zeros((1, 3)), ['u0_0'], utterance_N=np.array(['u0_0']))


def write_npy(file, names, z_NxD, fields=('utterance', 'z')):
    """Writes representations.npy with these names of its fields."""
    row = [(fields[0], 'U40'), (fields[1], 'f8', z_NxD.shape[1])]
    table_N = np.zeros(len(names), row)
    table_N[fields[0]], table_N[fields[1]] = names, z_NxD
    np.save(file, table_N)


def test_representations_of_an_npy_file_are_those_of_an_npz_file(tmp_path):
    z_NxD = np.random.default_rng(0).normal(size=(72, 3))
    names = [row['utterance'] for row in utterances()]
    truth = read_truth(write_split(tmp_path))
    table = make_split_table(truth.rows)
    write_npy(tmp_path / 'representations.npy', names, z_NxD)
    np.savez(tmp_path / 'representations.npz', utterance_N=np.array(names), z_NxD=z_NxD)
    found = []
    for suffix in ('npy', 'npz'):
        file = tmp_path / f'representations.{suffix}'
        representations = read_representations(file, truth, table)
        assert not representations.has_folds
        found.append(representations.by_fold)
    for fold, (rows, fold_z_NxD) in found[0].items():
        np.testing.assert_array_equal(rows, found[1][fold][0])
        np.testing.assert_array_equal(fold_z_NxD, found[1][fold][1])


def test_an_npy_file_that_is_no_table_is_refused(tmp_path):
    truth = read_truth(write_split(tmp_path))
    table = make_split_table(truth.rows)
    file = tmp_path / 'representations.npy'
    write_npy(file, ['u0_0'], np.zeros((1, 3)), ('name', 'vector'))
    with pytest.raises(UserError, match='has the fields name, vector, of shape'):
        read_representations(file, truth, table)
    np.save(file, np.zeros((2, 3)))
    with pytest.raises(UserError, match='without named fields'):
        read_representations(file, truth, table)
    np.save(file, np.array([{}], dtype=object))
    with pytest.raises(UserError, match='holds Python objects'):
        read_representations(file, truth, table)


def test_constant_dimensions_are_ignored():
    x_NxD = np.stack([np.full(6, 3.0), np.arange(6.0)], axis=1)
    label_N = np.array([0, 0, 0, 1, 1, 1])
    own = attackers.standardise(
        attackers.Examples(x_NxD, label_N, x_NxD[:0], label_N[:0], x_NxD, 2)
    )
    np.testing.assert_array_equal(own.fit_NxD[:, 0], 0)
    assert own.test_TxD[:, 1].std() == pytest.approx(1)
