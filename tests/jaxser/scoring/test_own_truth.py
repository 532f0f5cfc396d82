"""Tests of truth files of the user's own."""

import numpy as np
import pytest
from helpers.html_page import skip_drawing
from helpers.scored_systems import run_score, system_of

from data_pipelines.errors import UserError
from jaxser.scoring.truth import read_truth


def write(tmp_path, text):
    file = tmp_path / 'truth.csv'
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    'header',
    [
        'utterance,speaker,emotion,sex',
        'utt_id;spk;label;gender',
        'ID,Speaker ID,Class,Sex',
        'file,actor,target,gender',
    ],
)
def test_columns_may_have_other_names(tmp_path, header):
    mark = ';' if ';' in header else ','
    lines = [header.replace(',', mark), 'a,s1,sad,f', 'b,s2,angry,m']
    truth = read_truth(write(tmp_path, '\n'.join(lines).replace(',', mark)))
    assert truth.column('utterance').tolist() == ['a', 'b']
    assert truth.column('speaker').tolist() == ['s1', 's2']
    assert truth.classes == ('angry', 'sad')
    assert truth.class_N.tolist() == [1, 0]
    assert truth.column('sex').tolist() == ['female', 'male']
    assert truth.split_sha256 is None


def test_only_the_part_test_is_scored(tmp_path):
    text = 'utterance,speaker,emotion,split\na,s,x,train\nb,t,y,validation\nc,u,z,test\n'
    truth = read_truth(write(tmp_path, text))
    assert truth.column('utterance').tolist() == ['c']
    assert truth.classes == ('x', 'y', 'z')


def test_votes_are_the_truth_by_majority_and_as_a_distribution(tmp_path, monkeypatch):
    """KL to the votes: 0 for the same distribution, log 2 for (1/2, 1/2) of votes for one class."""
    skip_drawing(monkeypatch)
    text = 'utterance,speaker,angry,sad\na,s,3,1\nb,s,0,2\nc,s,1,1\n'
    file = write(tmp_path, text)
    truth = read_truth(file)
    assert truth.column('emotion').tolist() == ['angry', 'sad']  # c has no majority
    predictions = 'utterance,angry,sad\na,0.75,0.25\nb,0.5,0.5\nc,1,0\n'
    (tmp_path / 'a.csv').write_text(predictions)
    results = run_score(file, tmp_path / 'a.csv', out=tmp_path / 'out')
    system = system_of(results, 'a')
    assert system['vote_kl'] == pytest.approx(np.log(2) / 2)
    assert results['utterances'] == 2
    assert system['wa'] == 0.5  # of equal posteriors, the first class is taken


def test_ratings_may_be_on_any_scale(tmp_path, monkeypatch):
    """With y = x + 1, CCC is 2 var / (2 var + 1), where var is the population variance."""
    skip_drawing(monkeypatch)
    x_N = np.array([1.0, 2, 4, 5, 3])
    rows = ''.join(f'u{n},s{n},{x}\n' for n, x in enumerate(x_N))
    file = write(tmp_path, f'utterance,speaker,activation\n{rows}')
    predicted = ''.join(f'u{n},{x + 1}\n' for n, x in enumerate(x_N))
    (tmp_path / 'a.csv').write_text(f'utterance,arousal\n{predicted}')
    system = system_of(run_score(file, tmp_path / 'a.csv', out=tmp_path / 'out'), 'a')
    assert system['ccc'] == pytest.approx(2 * x_N.var() / (2 * x_N.var() + 1))
    assert system['pearson'] == pytest.approx(1)
    assert system['rmse'] == pytest.approx(1)
    assert system['uar_ci95' if 'uar_ci95' in system else 'ccc_ci95'] is None  # five speakers


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('utterance,emotion\na,x\n', 'no column speaker'),
        ('speaker,emotion\na,x\n', 'no column utterance'),
        ('utterance,speaker\na,s\n', 'no truth'),
        ('utterance,speaker,emotion\na,s,x\na,s,x\n', '1 utterance more than once'),
        ('utterance,speaker,emotion,part\na,s,x,train\na,s,x,test\n', 'test and train'),
        ('utterance,speaker,emotion,part\na,s,x,train\n', 'no row of the part test'),
        ('utterance,speaker,emotion,part\na,s,x,exam\n', "part 'exam'"),
        ('utterance,speaker,emotion\n,s,x\n', 'without the name'),
        ('utterance,speaker,arousal\na,s,high\n', "arousal 'high'"),
        ('utterance,speaker,emotion,label\na,s,x,x\n', 'two columns'),
        ('x,y\n1,2\n', 'no rows'),
    ],
)
def test_what_cannot_be_the_truth_is_refused(tmp_path, text, words):
    with pytest.raises(UserError, match=words):
        read_truth(write(tmp_path, text))


def test_a_file_that_does_not_exist(tmp_path):
    with pytest.raises(UserError, match='is missing'):
        read_truth(tmp_path / 'none.csv')
