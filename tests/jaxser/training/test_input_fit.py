"""Tests of a sweep of a method that is fitted to its input before training."""

import csv
from pathlib import Path

import numpy as np
import pytest
from helpers import tiny_config

import jaxser
from jaxser import distributed
from jaxser.analysis import calibration
from jaxser.methods import projection
from jaxser.serving import bundling
from jaxser.serving.model import read_model
from jaxser.training import experiment


def sweep(data: Path, path: Path, **changes) -> dict:
    """Runs two epochs on two folds; returns results.json."""
    config = tiny_config.get_config()
    keys = {'data.dir': str(data), 'train.epochs': 2, 'method': 'projection', 'sweep.lam': ()}
    config.update_from_flattened_dict(keys | {'sweep.fold': (0, 2)} | changes)
    return experiment.run_experiment(config, path)


@pytest.fixture(scope='module')
def projected(data, tmp_path_factory):
    """results.json and workdir of a sweep, and the arguments and the basis of each run's fit."""
    path = tmp_path_factory.mktemp('projected')
    fits = []
    fit_basis = projection.fit_basis

    def record_and_fit(x_NxM, index):
        fits.append((x_NxM, index, fit_basis(x_NxM, index)))
        return fits[-1][-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(projection, 'fit_basis', record_and_fit)
        results = sweep(data, path)
    bundling.bundle_model(path)
    return results, path, fits


def test_the_projection_is_fitted_to_the_training_utterances_of_its_fold(projected):
    """Without those on which attackers are tested; the parameters are saved as they were fitted."""
    results, path, fits = projected
    bases = read_model(path).arrays['params']['projection']['basis']
    assert len(bases) == len(fits) == 2
    for run, basis_MxR, (x_NxM, index, fitted_MxR) in zip(results['runs'], bases, fits):
        assert list(index) == ['speaker']
        # Two of six speakers train, with eight utterances each; attackers are tested on two.
        assert np.bincount(index['speaker'], minlength=6).tolist().count(6) == 2
        assert len(x_NxM) == 12
        np.testing.assert_allclose(x_NxM.mean(0), 0, atol=0.5)  # they are normalised
        assert fitted_MxR.shape[1] == 1
        np.testing.assert_array_equal(basis_MxR[:, :1], np.float32(fitted_MxR))
        assert not basis_MxR[:, 1:].any()
        assert run['hyper']['fold'] in (0, 2)


def test_a_resumed_sweep_is_not_fitted_again_and_gives_the_same_bits(
    data, projected, tmp_path, monkeypatch
):
    """The checkpoint has the projection."""
    with monkeypatch.context() as patch:
        patch.setattr(distributed.Termination, 'is_requested', lambda self, epoch: epoch == 1)
        with pytest.raises(distributed.Preempted):
            sweep(data, tmp_path)
    monkeypatch.setattr(projection, 'fit_basis', lambda *_: pytest.fail('it was fitted'))
    sweep(data, tmp_path)
    expected = (projected[1] / 'predictions.csv').read_text()
    assert (tmp_path / 'predictions.csv').read_text() == expected


@pytest.mark.parametrize(
    'method', [pytest.param('projection', marks=pytest.mark.slow), 'similarity']
)
def test_the_model_predicts_what_the_sweep_predicted(method, data, tmp_path):
    """To 1e-6, up to the temperature: the projection is part of the model."""
    sweep(data, tmp_path, **{'method': method, 'sweep.fold': (0,)})
    bundling.bundle_model(tmp_path)
    model = jaxser.load(tmp_path)
    temperature = read_model(tmp_path).metadata['calibration']['temperature']
    with open(tmp_path / 'predictions.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    answers = model.predict_files([data.parent / row['utterance'] for row in rows])
    for row, answer in zip(rows, answers, strict=True):
        p_C = np.array([float(row[name]) for name in model.classes])
        expected_C = calibration.apply_temperature(p_C, temperature)
        actual_C = [answer['posterior'][name] for name in model.classes]
        np.testing.assert_allclose(actual_C, expected_C, atol=1e-6)
