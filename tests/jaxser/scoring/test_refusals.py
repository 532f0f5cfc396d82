"""Tests that predictions which do not fit the task are refused, with names and counts."""

import re

import numpy as np
import pytest
from helpers.html_page import skip_drawing
from helpers.scored_systems import (
    CLASSES,
    fold_of,
    prediction_rows,
    run_score,
    utterances,
    write_predictions,
    write_split,
)

from data_pipelines import csv_files
from data_pipelines.errors import UserError
from jaxser.scoring.predictions_file import read_predictions
from jaxser.scoring.systems import SystemFiles, choose_reference, find_systems
from jaxser.scoring.truth import read_truth


@pytest.fixture
def truth(tmp_path):
    return read_truth(write_split(tmp_path))


def read(tmp_path, truth, rows):
    """Reads predictions as a system's."""
    file = write_predictions(tmp_path / 'predictions.csv', rows)
    return read_predictions(SystemFiles('a', file), truth)


def refuse(tmp_path, truth, rows, *words):
    """Asserts that predictions are refused with a message that has all these words."""
    with pytest.raises(UserError) as error:
        read(tmp_path, truth, rows)
    message = str(error.value)
    for word in words:
        assert word in message
    assert message.startswith(str(tmp_path))
    return message


def with_scores(rows, scores):
    """Returns the rows with other numbers for the classes, (R, 3) of them."""
    return [row | dict(zip(CLASSES, own)) for row, own in zip(rows, scores.tolist())]


def test_complete_predictions_are_matched_by_name_not_by_order(tmp_path, truth):
    rows = prediction_rows()
    own = read(tmp_path, truth, rows[::-1])
    expected = {row['utterance']: max(CLASSES, key=row.get) for row in rows}
    names = truth.column('utterance').tolist()
    assert [CLASSES[n] for n in own.predicted_ZxN[0]] == [expected[name] for name in names]


def test_missing_utterances(tmp_path, truth):
    rows = prediction_rows()
    del rows[3], rows[40]
    refuse(tmp_path, truth, rows, '2 of 72 tested utterances', rows[2]['utterance'][:2])


def test_missing_folds_are_named(tmp_path, truth):
    folds = {row['utterance']: fold_of(row) for row in utterances()}
    rows = [row for row in prediction_rows() if folds[row['utterance']] != 2]
    refuse(tmp_path, truth, rows, '1 fold of 4', '2 (part 2)')


def test_a_seed_with_fewer_utterances(tmp_path, truth):
    rows = prediction_rows(seeds=('0', '1'))
    refuse(tmp_path, truth, rows[:-1], 'seed 1', '1 of 72', 'Other seeds have them')


def test_doubled_utterances(tmp_path, truth):
    rows = prediction_rows()
    refuse(tmp_path, truth, [*rows, *rows[:2]], '2 utterances more than once', 'u0_0')


def test_unknown_utterances(tmp_path, truth):
    rows = prediction_rows()
    refuse(tmp_path, truth, [*rows, rows[0] | {'utterance': 'x'}], '1 utterance', ': x.')


def test_names_that_differ_in_folder_and_ending_only(tmp_path, truth):
    rows = [row | {'utterance': f'd/{row["utterance"]}.wav'} for row in prediction_rows()]
    refuse(tmp_path, truth, rows, '72 utterances', 'Without folders and endings', "'u0_0'")


def test_predictions_of_another_corpus_are_called_so_before_their_classes(tmp_path, truth):
    rows = [{'utterance': f'x{n}', 'calm': 0.5, 'bored': 0.5} for n in range(3)]
    refuse(tmp_path, truth, rows, 'no utterance in common', "'x0'", "'u0_0'")


def test_a_column_of_files_may_have_the_names_of_utterances(tmp_path, truth):
    rows = []
    for row in prediction_rows():
        rows.append({'file': row['utterance']} | {name: row[name] for name in CLASSES})
    expected = read(tmp_path, truth, prediction_rows()).p_ZxNxC
    np.testing.assert_array_equal(read(tmp_path, truth, rows).p_ZxNxC, expected)


def test_predictions_of_another_part(tmp_path, truth):
    rows = [row | {'fold': 1} for row in prediction_rows()]
    refuse(tmp_path, truth, rows, 'in another part or fold', '54 utterances')


def test_folds_that_begin_with_1(tmp_path, truth):
    folds = {row['utterance']: fold_of(row) for row in utterances()}
    rows = [row | {'fold': folds[row['utterance']] + 1} for row in prediction_rows()]
    refuse(tmp_path, truth, rows, "fold '4'", 'subtract 1')


def test_folds_by_name_and_number_are_the_same(tmp_path, truth):
    folds = {row['utterance']: fold_of(row) for row in utterances()}
    by_number = [row | {'fold': folds[row['utterance']]} for row in prediction_rows()]
    by_name = [row | {'fold': f'part {row["fold"]}'} for row in by_number]
    without = read(tmp_path, truth, prediction_rows())
    for rows in (by_number, by_name):
        own = read(tmp_path, truth, rows)
        np.testing.assert_array_equal(own.p_ZxNxC, without.p_ZxNxC)


def test_utterances_tested_in_several_folds_need_the_fold(tmp_path):
    split = tmp_path / 'truth.csv'
    split.write_text('fold,utterance,speaker,emotion\n0,a,s,x\n1,a,s,x\n0,b,t,y\n1,c,t,y\n')
    rows = [{'utterance': name, 'predicted': 'x'} for name in 'abc']
    refuse(tmp_path, read_truth(split), rows, '1 utterance', '(a)', 'Add a column fold')


def test_a_class_that_the_task_lacks(tmp_path, truth):
    rows = [row | {'angr': 0.0} for row in prediction_rows()]
    refuse(tmp_path, truth, rows, '1 column', 'angr', "'angry'", 'angry, happy, sad')


def test_a_class_that_the_file_lacks(tmp_path, truth):
    rows = prediction_rows()
    for row in rows:
        del row['sad']
    refuse(tmp_path, truth, rows, 'no column for', 'sad')


def test_a_predicted_word_that_is_no_class(tmp_path, truth):
    rows = [{'utterance': row['utterance'], 'predicted': 'anger'} for row in prediction_rows()]
    refuse(tmp_path, truth, rows, "'anger'", '72 rows', "'angry'")


@pytest.mark.parametrize(
    ('change', 'advice'),
    [
        (lambda p: np.log(p / (1 - p)), 'softmax'),
        (np.log, 'exp'),
        (lambda p: 100 * p, 'divide them by 100'),
        (lambda p: 10 * p, 'softmax'),
        (lambda p: p / 2, 'sigmoid'),
        (lambda p: np.full_like(p, 0.3), 'one digit'),
    ],
)
def test_numbers_that_are_no_posteriors(tmp_path, truth, change, advice):
    rows = prediction_rows()
    p = np.array([[row[name] for name in CLASSES] for row in rows])
    refuse(tmp_path, truth, with_scores(rows, change(p)), '72 of 72', advice)


def test_posteriors_of_two_digits_are_accepted(tmp_path, truth):
    rows = prediction_rows()
    p = np.array([[row[name] for name in CLASSES] for row in rows])
    read(tmp_path, truth, with_scores(rows, p.round(2)))


@pytest.mark.parametrize('cell', ['nan', '', 'inf'])
def test_numbers_that_are_not_finite(tmp_path, truth, cell):
    rows = prediction_rows()
    rows[5]['angry'] = cell
    refuse(tmp_path, truth, rows, '1 row', rows[5]['utterance'])


def test_a_word_where_a_number_belongs(tmp_path, truth):
    rows = prediction_rows()
    rows[5]['angry'] = 'high'
    refuse(tmp_path, truth, rows, "'high'", 'angry')


def test_predicted_and_posteriors_that_disagree(tmp_path, truth):
    rows = [row | {'predicted': max(CLASSES, key=row.get)} for row in prediction_rows()]
    read(tmp_path, truth, rows)
    rows[0]['predicted'] = min(CLASSES, key=rows[0].get)
    refuse(tmp_path, truth, rows, 'in 1 row')


def test_no_predictions_at_all(tmp_path, truth):
    rows = [{'utterance': row['utterance'], 'emotion': 'sad'} for row in prediction_rows()]
    refuse(tmp_path, truth, rows, 'no predictions', 'predicted')


def test_a_doubled_column(tmp_path, truth):
    file = tmp_path / 'predictions.csv'
    file.write_text('utterance,angry,angry\na,1,0\n')
    with pytest.raises(UserError, match="'angry' twice"):
        read_predictions(SystemFiles('a', file), truth)


def rated_truth(tmp_path):
    rows = []
    for n, row in enumerate(utterances()):
        rows.append({'utterance': row['utterance'], 'speaker': row['speaker']})
        rows[-1] |= {'arousal': -1 + 2 * n / 71, 'valence': 0.5}
    csv_files.write_rows(tmp_path / 'truth.csv', rows)
    return read_truth(tmp_path / 'truth.csv')


@pytest.mark.parametrize(
    ('convert', 'advice'),
    [
        (lambda x: 3 + 2 * x, r'\(x - 3\) / 2'),
        (lambda x: 4 + 3 * x, r'\(x - 4\) / 3'),
        (lambda x: 50 + 50 * x, r'\(x - 50\) / 50'),
        (lambda x: 1000 * x, 'scale of the truth'),
    ],
)
def test_ratings_on_another_scale(tmp_path, convert, advice):
    truth = rated_truth(tmp_path)
    rows = []
    for name, rating in zip(truth.column('utterance'), truth.rating_NxA(['arousal'])[:, 0]):
        rows.append({'utterance': name, 'arousal': convert(rating)})
    message = refuse(tmp_path, truth, rows, 'arousal', 'from -1 to 1')
    assert re.search(advice, message)


def test_ratings_from_0_to_1_are_noted(tmp_path):
    truth = rated_truth(tmp_path)
    rows = []
    for name, rating in zip(truth.column('utterance'), truth.rating_NxA(['arousal'])[:, 0]):
        rows.append({'utterance': name, 'arousal': (rating + 1) / 2})
    own = read(tmp_path, truth, rows)
    assert '2 x - 1' in own.notes[0]


def test_a_rating_that_the_truth_lacks(tmp_path):
    rows = [{'utterance': row['utterance'], 'dominance': 0} for row in utterances()]
    refuse(tmp_path, rated_truth(tmp_path), rows, 'dominance', 'arousal, valence')


def test_systems_that_predict_different_things(tmp_path, monkeypatch):
    skip_drawing(monkeypatch)
    rows = []
    for n, row in enumerate(utterances()):
        facts = {key: row[key] for key in ('utterance', 'speaker', 'emotion')}
        rows.append(facts | {'arousal': n / 72})
    csv_files.write_rows(tmp_path / 'truth.csv', rows)
    write_predictions(tmp_path / 'a.csv', prediction_rows())
    rows = [{'utterance': row['utterance'], 'arousal': 0.1} for row in utterances()]
    write_predictions(tmp_path / 'b.csv', rows)
    with pytest.raises(UserError, match=r'a \(classes\); b \(arousal\)'):
        run_score(
            tmp_path / 'truth.csv', tmp_path / 'a.csv', tmp_path / 'b.csv', out=tmp_path / 'out'
        )


def test_systems_are_named_by_argument_card_folder_or_file(tmp_path):
    for name in ('one', 'two'):
        (tmp_path / name).mkdir()
        write_predictions(tmp_path / name / 'predictions.csv', prediction_rows())
    (tmp_path / 'two' / 'system.json').write_text('{"name": "Second"}')
    write_predictions(tmp_path / 'three.csv', prediction_rows())
    file = tmp_path / 'one' / 'predictions.csv'
    arguments = [f'Mine={file}', str(file), str(tmp_path / 'two'), str(tmp_path / 'three.csv')]
    systems = find_systems(arguments)
    assert [system.name for system in systems] == ['Mine', 'one', 'Second', 'three']
    assert choose_reference(systems, None) == 'Mine'
    with pytest.raises(UserError, match='Mine, one, Second, three'):
        choose_reference(systems, 'other')
    with pytest.raises(UserError, match=r"Two systems are called 'one'"):
        find_systems([str(file), str(tmp_path / 'one')])
    with pytest.raises(UserError, match='There is no file'):
        find_systems([str(tmp_path / 'none.csv')])


def test_a_split_that_is_not_the_tasks(tmp_path):
    split = write_split(tmp_path)
    file = write_predictions(tmp_path / 'a.csv', prediction_rows())
    with pytest.raises(UserError, match='is not the split of the task emodb_four'):
        run_score(split, file, out=tmp_path / 'out', task='emodb_four')
    assert not (tmp_path / 'out').exists()


def test_results_of_other_commands_are_not_replaced(tmp_path):
    (tmp_path / 'results.json').write_text('{"runs": []}')
    file = write_predictions(tmp_path / 'a.csv', prediction_rows())
    with pytest.raises(UserError, match='was not written by'):
        run_score(write_split(tmp_path), file, out=tmp_path)


@pytest.mark.parametrize('row', ['u0_0,1', 'u0_0,1,0,0,5'])
def test_rows_of_another_length(tmp_path, truth, row):
    file = tmp_path / 'predictions.csv'
    file.write_text(f'utterance,angry,happy,sad\n{row}\n')
    with pytest.raises(UserError, match='line 2, has not 4 cells'):
        read_predictions(SystemFiles('a', file), truth)
