"""A damaged newest checkpoint: refused by the bundle, and trained on to the same bits."""

import shutil

import pytest
from helpers import tiny_config

from data_pipelines.errors import UserError
from jaxser.serving import bundling
from jaxser.training import experiment


def test_training_continues_from_the_checkpoint_before_to_the_same_bits(data, tmp_path, capsys):
    config = tiny_config.get_config()
    keys = {'data.dir': str(data), 'train.epochs': 2, 'train.checkpoint_seconds': 0}
    config.update_from_flattened_dict(keys)
    results = experiment.run_experiment(config, tmp_path)
    predictions = (tmp_path / 'predictions.csv').read_bytes()
    metrics = (tmp_path / 'metrics.jsonl').read_bytes()
    group = tmp_path / 'groups' / '0'
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
