"""The model that is made of a finished sweep."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from data_pipelines.errors import UserError
from data_pipelines.protocols.subsets import Subset
from jaxser.analysis.finished import SweepAnalysis, read_finished_sweep
from jaxser.serving import bundling, model_card
from jaxser.serving.model import read_model
from jaxser.serving.setting import describe_setting
from jaxser.training import restore
from jaxser.workdir import Workdir


def test_the_model_has_the_selected_parameters_and_the_moments_of_their_folds(swept):
    """Every run of one setting, in the order of the sweep, to the bit."""
    model = read_model(swept)
    results = json.loads((swept / 'results.json').read_text())
    best = max(results['summary'], key=lambda row: row['dev_uar'])
    hypers = [run['hyper'] for run in results['runs']]
    runs = [hyper for hyper in hypers if hyper['lam'] == best['lam']]
    assert model.metadata['runs'] == runs
    assert model.metadata['row']['uar'] == best['uar']
    assert model.metadata['classes'] == ['angry', 'sad']
    kernels, means = [], []
    for trainer, group, (params, _) in restore.restored_groups(Workdir.open(swept)):
        kernel_N = group.layout.collect(params['emotion']['layers_0']['kernel'])
        table = trainer.task.table
        for run, kernel, fold_index in zip(group.runs, kernel_N, group.subset_fold_N):
            if run in runs:
                kernels.append(kernel)
                means.append(table.mean[table.moments_index_FxN[fold_index, 0]])
    assert len(kernels) == 3
    kernel_RxDxC = model.arrays['params']['emotion']['layers_0']['kernel']
    np.testing.assert_array_equal(kernel_RxDxC, np.stack(kernels))
    np.testing.assert_array_equal(model.arrays['mean'], np.stack(means))


def test_the_temperature_does_not_increase_the_loss_on_dev(swept):
    calibration = read_model(swept).metadata['calibration']
    assert calibration['nll'] <= calibration['nll_before']


def test_groups_without_a_chosen_run_are_not_restored(swept, monkeypatch):
    monkeypatch.setattr(restore, '_restore_best', lambda *_: pytest.fail('restored'))
    assert list(restore.restored_groups(Workdir.open(swept), lambda run: False)) == []


def test_a_model_is_made_once(swept):
    """A second call computes nothing and writes nothing."""
    stamp = (swept / 'model' / 'model.json').stat().st_mtime_ns
    bundling.bundle_model(swept)
    assert (swept / 'model' / 'model.json').stat().st_mtime_ns == stamp


def test_another_setting_can_be_saved(swept, tmp_path):
    """In place of the model; a setting that the sweep lacks is refused with the list of all."""
    workdir = shutil.copytree(swept, tmp_path / 'copy')
    saved = read_model(workdir).metadata['row']['lam']
    (other,) = {0.0, 0.5} - {saved}
    with pytest.raises(UserError, match=r'are: "dann, lam = 0", "dann, lam = 0\.5"\.'):
        bundling.bundle_model(workdir, setting='dann, lam = 7')
    bundling.bundle_model(workdir, setting=f'dann,lam={other:g}')
    model = read_model(workdir)
    assert (model.metadata['row']['lam'], model.metadata['chosen_by']) == (other, 'user')
    assert {run['lam'] for run in model.metadata['runs']} == {other}
    assert describe_setting(model.metadata).endswith('chosen with --setting, not by dev UAR.')
    analysis = SweepAnalysis(read_finished_sweep(workdir))
    assert 'chosen by a person' in model_card.data_section(model.metadata, analysis)
    bundling.bundle_model(workdir)
    assert read_model(workdir).metadata['row']['lam'] == other, 'it stays without --setting'
    bundling.bundle_model(workdir, setting=f'dann, lam = {saved:g}')
    metadata = read_model(workdir).metadata
    assert 'chosen_by' not in metadata
    assert describe_setting(metadata).endswith('chosen by dev UAR.')
    assert describe_setting(metadata, is_named=True).endswith('chosen with --setting.')


def test_a_sweep_that_is_not_finished_is_refused(swept, tmp_path):
    shutil.copy(swept / 'config.json', tmp_path)
    with pytest.raises(UserError, match='no finished sweep'):
        bundling.bundle_model(tmp_path)


def test_the_model_describes_its_data(swept):
    assert read_model(swept).metadata['data'] == {
        'folder': {
            'utterances': 48,
            'trained': 48,
            'speakers': 6,
            'languages': ['de', 'en'],
            'sexes': [],
            'styles': [],
        }
    }


def test_utterances_that_no_fold_uses_are_not_described():
    """Of the six utterances the third and the last are in no part."""
    text = {
        'corpus': np.array([*'aaabbc']),
        'speaker': np.array([*'xyyzwv']),
        'language': np.array(['de', 'de', 'fr', '', '', '']),
        'sex': np.array([*'fmmmmm']),
        'style': np.array(['acted', 'acted', 'natural', '', '', '']),
    }
    parts = {'train': [0], 'dev': [1], 'test': [3], 'adapt': [4], 'identity': []}
    fold = SimpleNamespace(**{name: np.array(rows, int) for name, rows in parts.items()})
    task = SimpleNamespace(utterances=SimpleNamespace(text=text), folds=[fold])
    assert bundling.describe_data(task) == {
        'a': {
            'utterances': 2,
            'trained': 1,
            'speakers': 2,
            'languages': ['de'],
            'sexes': ['f', 'm'],
            'styles': ['acted'],
        },
        'b': {
            'utterances': 2,
            'trained': 0,
            'speakers': 2,
            'languages': [],
            'sexes': ['m'],
            'styles': [],
        },
    }


def test_the_speakers_of_folds_that_were_not_run_may_be_in_no_training_data():
    """Of five speakers; fold n tests speaker n, and its dev part is the next speaker."""
    text = {'speaker': np.array([*'abcde'])}
    subset_folds = []
    for n in range(2):
        dev = (n + 1) % 5
        parts = dict.fromkeys(('train', 'adapt'), np.setdiff1d(np.arange(5), [n, dev]))
        subset_folds.append(
            SimpleNamespace(
                **parts, dev=[dev], test=[n], train_and_adapt=parts['train'], identity=[]
            )
        )
    task = SimpleNamespace(
        utterances=SimpleNamespace(text=text),
        folds=subset_folds,
        subset_folds=subset_folds,
        subset_fold_index={(n, Subset()): n for n in range(2)},
    )
    runs = [{'fold': 0}, {'fold': 1}]
    assert bundling.count_training_speakers(task, runs) == {'trained': 4, 'all': 5}
    assert bundling.count_training_speakers(task, runs[:1]) == {'trained': 3, 'all': 5}
