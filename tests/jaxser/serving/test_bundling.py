"""Which runs of a sweep become its model, by what temperature, and what is said of a model that cannot be read."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from data_pipelines.errors import UserError
from jaxser.analysis import calibration
from jaxser.serving import bundling
from jaxser.serving.model import read_model
from jaxser.training import restore
from jaxser.workdir import Workdir


def row(lam: float, dev_uar: float | None, uar: float | None) -> dict:
    return {'lam': lam, 'seeds': 2, 'dev_uar': dev_uar, 'uar': uar, 'probe': None}


def run(lam: float, seed: int, fold: int, status: str = 'ok') -> dict:
    return {'hyper': {'lam': lam, 'lr': 0.1, 'seed': seed, 'fold': fold}, 'status': status}


def test_dev_chooses_the_setting_and_test_never_does():
    """All runs of the row with the best dev UAR, whatever its test UAR, but for those that diverged."""
    every = [run(lam, seed, fold) for lam in (0.0, 0.3) for seed in (0, 1) for fold in (0, 1)]
    every.append(run(0.3, 2, 0, 'nonfinite'))
    best, runs = bundling.choose_setting(
        {'summary': [row(0.0, 0.5, 0.9), row(0.3, 0.6, 0.1)], 'runs': every}
    )
    assert best['lam'] == 0.3
    assert runs == [run(0.3, seed, fold)['hyper'] for seed in (0, 1) for fold in (0, 1)]


def test_where_every_seed_lost_a_fold_the_runs_that_are_left_are_taken():
    """No row has a dev UAR then; a model of fewer runs is better than none."""
    every = [
        run(0.0, 0, 0, 'nonfinite'),
        run(0.0, 0, 1, 'nonfinite'),
        run(0.3, 0, 0),
        run(0.3, 0, 1, 'nonfinite'),
    ]
    _, runs = bundling.choose_setting(
        {'summary': [row(0.0, None, None), row(0.3, None, None)], 'runs': every}
    )
    assert runs == [run(0.3, 0, 0)['hyper']]


def test_the_temperature_of_scores_three_times_too_large_is_three():
    """Where the truth is drawn from the softmax of scores, it undoes their scaling, and no decision changes."""
    random = np.random.default_rng(0)
    true_NxC = calibration.apply_temperature(np.exp(random.normal(size=(20_000, 4))), 1.0)
    truth_N = (random.random((20_000, 1)) > true_NxC.cumsum(1)).sum(1)
    sure_NxC = calibration.apply_temperature(true_NxC, 1 / 3)
    found = calibration.fit_temperature(sure_NxC, truth_N)
    assert found['temperature'] == pytest.approx(3, rel=0.03)
    assert found['nll'] < found['nll_before'] - 0.1
    calm_NxC = calibration.apply_temperature(sure_NxC, found['temperature'])
    assert found['nll'] == pytest.approx(calibration.negative_log_likelihood(calm_NxC, truth_N))
    np.testing.assert_array_equal(calm_NxC.argmax(1), sure_NxC.argmax(1))
    np.testing.assert_allclose(calm_NxC, true_NxC, atol=0.02)


@pytest.mark.parametrize('right', [True, False])
def test_the_temperature_is_bounded(right):
    """A dev part that is right throughout, or wrong throughout, would have one of 0 or none; without utterances it is 1."""
    p_NxC = np.tile([0.9, 0.1], (8, 1))
    found = calibration.fit_temperature(p_NxC, np.full(8, 0 if right else 1))
    assert calibration.MIN_TEMPERATURE <= found['temperature'] <= calibration.MAX_TEMPERATURE
    assert found['nll'] <= found['nll_before']
    assert calibration.fit_temperature(p_NxC[:0], np.zeros(0, int))['temperature'] == 1.0


def test_the_model_is_the_selected_parameters_with_their_folds_moments(swept):
    """Every fold's run of one setting, in the order of the sweep, to the bit; the temperature does not worsen dev."""
    model, results = read_model(swept), json.loads((swept / 'results.json').read_text())
    best = max(results['summary'], key=lambda r: r['dev_uar'])
    assert model.metadata['runs'] == [
        r['hyper'] for r in results['runs'] if r['hyper']['lam'] == best['lam']
    ]
    assert model.metadata['row']['uar'] == best['uar']
    assert model.metadata['classes'] == ['angry', 'sad']
    assert model.metadata['calibration']['nll'] <= model.metadata['calibration']['nll_before']
    n = 0
    for trainer, group, (params, _) in restore.restored_groups(Workdir.open(swept)):
        kernel_N = group.layout.collect(params['emotion']['layers_0']['kernel'])
        table = trainer.task.table
        for run, kernel, f in zip(group.runs, kernel_N, group.fold_N):
            if run in model.metadata['runs']:
                np.testing.assert_array_equal(
                    model.arrays['params']['emotion']['layers_0']['kernel'][n], kernel
                )
                np.testing.assert_array_equal(
                    model.arrays['mean'][n], table.mean[table.moments_index_FxN[f, 0]]
                )
                n += 1
    assert n == 3


def test_groups_without_a_chosen_run_are_not_restored(swept, monkeypatch):
    """A sweep of many groups costs no more than those that hold the model's runs."""
    monkeypatch.setattr(restore, '_restore_best', lambda *_: pytest.fail('restored'))
    assert list(restore.restored_groups(Workdir.open(swept), lambda run: False)) == []


def test_a_model_is_made_once(swept):
    """A second call computes nothing and writes nothing."""
    stamp = (swept / 'model' / 'model.json').stat().st_mtime_ns
    bundling.bundle_model(swept)
    assert (swept / 'model' / 'model.json').stat().st_mtime_ns == stamp


def changed(name: str, change) -> SimpleNamespace:
    return SimpleNamespace(name=name, change=change)


def facts_with(**keys):
    return lambda content: json.dumps(json.loads(content) | keys).encode()


@pytest.mark.parametrize(
    ('damage', 'said'),
    [
        (
            changed('model.safetensors', lambda c: c[:-1] + bytes([c[-1] ^ 1])),
            'model.safetensors is damaged.*checksum',
        ),
        (changed('model.safetensors', lambda c: c[:100]), 'model.safetensors is damaged'),
        (changed('model.safetensors', None), 'model.safetensors is missing'),
        (changed('model.json', lambda c: c[:200]), 'model.json is damaged'),
        (changed('model.json', lambda c: b'[]'), 'model.json is damaged'),
        (
            changed('model.json', lambda c: b'{"format": 1, "sha256": "", "log_mel": 3}'),
            'model.json is damaged.*lacks config',
        ),
        (changed('model.json', facts_with(format=99)), 'format 99'),
        (changed('model.json', facts_with(log_mel=2)), 'features of format 2'),
        (changed('model.json', None), 'holds no model'),
    ],
)
def test_a_damaged_model_is_refused_by_its_name(swept, tmp_path, damage, said):
    """A sentence that names the file and what to do, never a wrong answer or a stack trace."""
    shutil.copytree(swept / 'model', tmp_path / 'model')
    file = tmp_path / 'model' / damage.name
    file.write_bytes(damage.change(file.read_bytes())) if damage.change else file.unlink()
    with pytest.raises(UserError, match=said):
        read_model(tmp_path)


def test_a_sweep_without_a_model_is_told_the_command(swept, tmp_path):
    """Prediction does not have the corpus, so it cannot make the model itself."""
    shutil.copy(swept / 'config.json', tmp_path)
    with pytest.raises(UserError, match=r'python -m jaxser\.bundle --workdir'):
        read_model(tmp_path)
    with pytest.raises(UserError, match='no finished sweep'):
        bundling.bundle_model(tmp_path)
