"""Tests of sweeps that predict ratings, over a corpus whose best concordance is known."""

import csv
import json
import signal

import numpy as np
import pytest
from helpers import rated_corpus, tiny_config

from data_pipelines.errors import UserError
from data_pipelines.storage import npz
from jaxser import distributed
from jaxser.analysis import concordance
from jaxser.training import experiment

RATINGS = ('arousal', 'valence')
RATED = {'task': 'ratings', 'data.ratings': RATINGS, 'method': 'dann', 'train.epochs': 2}


def make_config(data, **changes):
    """Returns the tiny configuration for the corpus in `data`, without augmentation."""
    config = tiny_config.get_config()
    for key in ('dropout', 'time_mask', 'band_mask'):
        config.sweep[key] = (0.0,)
    config.update_from_flattened_dict(
        {'data.dir': str(data), 'data.frames': rated_corpus.FRAMES, **changes}
    )
    return config


def sweep(data, path, **changes) -> dict:
    """Runs a sweep of ratings; returns results.json."""
    return experiment.run_experiment(make_config(data, **RATED | changes), path)


@pytest.fixture(scope='module')
def data(once):
    """The folder of a corpus of six speakers."""
    return once('rated', rated_corpus.write_rated_corpus)


@pytest.fixture(scope='module')
def plain(data, once):
    """The workdir of a sweep of ratings: two coefficients on three folds."""
    return once('rated_sweep', lambda path: sweep(data, path))


def read_rows(path) -> list[dict]:
    """Returns the rows of predictions.csv."""
    with (path / 'predictions.csv').open() as file:
        return list(csv.DictReader(file))


def rating_columns(path) -> np.ndarray:
    """Returns the predicted ratings of all rows, x_NxA."""
    return np.array([[float(row[name]) for name in RATINGS] for row in read_rows(path)])


def test_results_and_predictions_have_ratings_and_no_classes(plain):
    """The figures of a run are those of its rows; unrated utterances are counted."""
    results = json.loads((plain / 'results.json').read_text())
    assert (results['task'], results['classes'], results['labels']) == ('ratings', [], None)
    assert results['ratings'] == list(RATINGS)
    assert results['selection'] == 'best dev CCC'
    assert results['left_out'] == {'without a rating': 6}
    rows = read_rows(plain)
    columns = ['run', 'fold', 'utterance', 'speaker']
    for name in RATINGS:
        columns += [f'truth_{name}', name]
    assert list(rows[0]) == columns
    run = results['runs'][0]
    own_rows = []
    for row in rows:
        if row['fold'] == '0' and row['run'].startswith('lam=0 '):
            own_rows.append(row)
    for name, figures in run['test']['ratings'].items():
        truth_N = np.array([float(row[f'truth_{name}']) for row in own_rows])
        predicted_N = np.array([float(row[name]) for row in own_rows])
        expected = concordance.concordance(truth_N, predicted_N)
        assert figures['ccc'] == pytest.approx(expected, abs=1e-6)
    by_rating = [figures['ccc'] for figures in run['test']['ratings'].values()]
    assert run['test']['ccc'] == pytest.approx(np.mean(by_rating))
    assert run['test']['n'] == len(own_rows)
    assert 'uar' not in run['test']


def test_the_metrics_of_an_epoch_are_those_of_ratings(plain):
    """A line for each run and epoch, with the loss and the figures on dev."""
    lines = [json.loads(line) for line in (plain / 'metrics.jsonl').read_text().splitlines()]
    assert len(lines) == 2 * 3 * 2
    for line in lines:
        assert {'rating_loss', 'rating_ccc', 'dev_ccc', 'dev_pearson', 'dev_rmse'} <= line.keys()
        assert not {'emotion_loss', 'dev_uar'} & line.keys()
        assert line['rating_loss'] == pytest.approx(1 - line['rating_ccc'], abs=1e-6)


@pytest.mark.slow
def test_no_message_speaks_of_classes_that_are_not_predicted(data, tmp_path, capfd):
    """The plan names the ratings and how the epoch is selected."""
    sweep(data, tmp_path, method='erm', **{'sweep.lam': (), 'train.epochs': 1})
    out, progress = capfd.readouterr()
    assert 'ratings arousal, valence;' in out
    assert 'The epoch is selected by best dev CCC' in out
    assert 'Left out, without a rating that is predicted: 6.' in out
    assert 'the thirds of the scale of arousal: low, middle, high.' in out
    assert 'classes ' not in out.replace('UAR needs classes', '')
    assert 'dev CCC' in progress
    assert 'UAR' not in out.replace('UAR needs classes', '') + progress


def test_resuming_changes_no_bit(data, plain, tmp_path, monkeypatch):
    """After SIGTERM in the first epoch, the same command continues."""

    def is_requested(self, epoch):
        return epoch == 1

    with monkeypatch.context() as patch:
        patch.setattr(distributed.Termination, 'is_requested', is_requested)
        with pytest.raises(distributed.Preempted):
            sweep(data, tmp_path)
    sweep(data, tmp_path)
    assert signal.getsignal(signal.SIGTERM) is not None
    for name in ('predictions.csv', 'metrics.jsonl'):
        assert (tmp_path / name).read_bytes() == (plain / name).read_bytes()


@pytest.mark.slow
def test_pmap_predicts_the_same(data, plain, tmp_path):
    """To 1e-6."""
    sweep(data, tmp_path, parallel='pmap')
    np.testing.assert_allclose(rating_columns(tmp_path), rating_columns(plain), atol=1e-6)


@pytest.mark.slow
def test_both_tasks_at_once_train_the_emotions_as_alone_if_ratings_have_no_weight(data, tmp_path):
    """To 1e-6 on posteriors; both heads are in the results."""
    both = {'task': 'emotion+ratings', 'train.rating_weight': 0.0, 'method': 'erm'}
    results = sweep(data, tmp_path / 'both', **both, **{'sweep.lam': ()})
    alone = make_config(data, method='erm', **{'sweep.lam': (), 'train.epochs': 2})
    # The utterances without a rating are left out of both.
    alone.data.only = 'utterance!=' + ','.join(unrated_utterances(data))
    experiment.run_experiment(alone, tmp_path / 'alone')
    rows = read_rows(tmp_path / 'both')
    alone_rows = read_rows(tmp_path / 'alone')
    assert list(rows[0])[4:7] == ['truth', 'angry', 'sad']
    assert [row['utterance'] for row in rows] == [row['utterance'] for row in alone_rows]
    for name in ('angry', 'sad'):
        p_N = [float(row[name]) for row in rows]
        np.testing.assert_allclose(p_N, [float(row[name]) for row in alone_rows], atol=1e-6)
    assert {'uar', 'ccc', 'confusion', 'ratings'} <= results['runs'][0]['test'].keys()
    assert (results['classes'], results['ratings']) == (['angry', 'sad'], list(RATINGS))


def unrated_utterances(data) -> list[str]:
    """Returns the names of the utterances without ratings."""
    (file,) = data.glob('folder/*.npz')
    utterances = npz.read_columns(file)
    is_rated_N = ~np.isnan(utterances.rating_NxA[:, 0])
    return utterances.text['utterance'][~is_rated_N].tolist()


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'method': 'cdann'}, 'cdann needs the emotions as classes'),
        ({'method': 'didan'}, 'didan needs the emotions as classes'),
        ({'data.batch': 2}, 'a batch has 2 rated examples'),
        ({'data.ratings': ('arousal', 'joy')}, 'config.data.ratings is arousal, joy; expected'),
        ({'data.ratings': ()}, 'config.data.ratings is empty'),
        ({'data.ratings': ('dominance',)}, 'None of 66 utterances is rated for dominance'),
        ({'task': 'rating'}, "config.task is 'rating'; expected one of emotion, ratings"),
        ({'task': 'emotion', 'train.select': 'best dev CCC'}, 'predicts no ratings'),
        ({'train.rating_loss': 'mae'}, "config.train.rating_loss is 'mae'; expected one of ccc"),
    ],
)
def test_what_cannot_be_trained_is_refused(changes, message, data, tmp_path):
    """The message says which key is wrong."""
    with pytest.raises(UserError, match=message):
        sweep(data, tmp_path, **changes)


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['ccc', 'mse'])
def test_plain_training_reaches_the_planted_concordance(kind, tmp_path):
    """To 0.05, of two ratings: the CCC of the best prediction of the same utterances.

    The best prediction is r times the noisy value in the features, r the planted correlation. The
    squared error is least at r^2 times that value, where the CCC is lower: 2 r^2 / (1 + r^2).
    """
    rated_corpus.write_rated_corpus(tmp_path / 'data', speakers=12, utterances=80)
    changes = {
        'data.batch': 64,
        'method': 'erm',
        'model.batch_norm': 'none',
        'model.tdnn': ((1, 1, 1),),
        'protocol.folds': 6,
        'sweep.fold': 0,
        'sweep.lam': (),
        'train.checkpoint_seconds': 1000.0,
        'train.epochs': 30,
        'train.rating_loss': kind,
    }
    results = sweep(tmp_path / 'data', tmp_path / 'run', **changes)
    (row,) = results['summary']
    (file,) = (tmp_path / 'data').glob('folder/*.npz')
    utterances = npz.read_columns(file)
    tested = [row['utterance'] for row in read_rows(tmp_path / 'run')]
    is_tested_N = np.isin(utterances.text['utterance'], tested)
    for a, (name, r) in enumerate(rated_corpus.CORRELATIONS.items()):
        factor = r if kind == 'ccc' else r**2
        best_N = factor * utterances.mean_NxM[is_tested_N, a]
        best = concordance.concordance(utterances.rating_NxA[is_tested_N, a], best_N)
        assert row['ratings'][name]['ccc'] == pytest.approx(best, abs=0.05)
