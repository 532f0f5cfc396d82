"""A damaged newest checkpoint: refused by the bundle, and trained on to the same bits."""

import contextlib
import shutil
from pathlib import Path

import pytest
from helpers import tiny_config

from data_pipelines.errors import UserError
from jaxser.serving import bundling
from jaxser.training import experiment
from jaxser.training.checkpoints import Checkpoints


def saved_parts(folder: Path) -> dict[int, set[str]]:
    """Returns the names of what each checkpoint has."""
    with contextlib.closing(Checkpoints(folder)) as checkpoints:
        manager = checkpoints.manager
        return {epoch: set(manager.restore(epoch)['arrays']) for epoch in manager.all_steps()}


def test_training_continues_from_the_checkpoint_before_to_the_same_bits(data, tmp_path, capsys):
    config = tiny_config.get_config()
    keys = {'data.dir': str(data), 'train.epochs': 2, 'train.checkpoint_seconds': 0}
    config.update_from_flattened_dict(keys)
    results = experiment.run_experiment(config, tmp_path)
    predictions = (tmp_path / 'predictions.csv').read_bytes()
    metrics = (tmp_path / 'metrics.jsonl').read_bytes()
    group = tmp_path / 'groups' / '0'
    # The state is three times as large as the selected parameters, which alone are needed later.
    assert saved_parts(group / 'checkpoints') == {1: {'best', 'state'}, 2: {'best'}}
    shutil.rmtree(group / 'checkpoints' / '2' / 'arrays' / 'd')

    with pytest.raises(UserError, match=r'checkpoints/2 is damaged.*remove results\.json'):
        bundling.bundle_model(tmp_path)

    (tmp_path / 'results.json').unlink()
    for outcome in tmp_path.glob('groups/*/outcome.json'):
        outcome.unlink()
    resumed = experiment.run_experiment(config, tmp_path)
    assert 'Resuming after epoch 1 of 2' in capsys.readouterr().out
    assert (group / 'damaged' / '2').is_dir()
    assert resumed['runs'] == results['runs']
    assert (tmp_path / 'predictions.csv').read_bytes() == predictions
    assert (tmp_path / 'metrics.jsonl').read_bytes() == metrics
    bundling.bundle_model(tmp_path)
