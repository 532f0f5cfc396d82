"""200 flipped bits in checkpoints, shards and models: found, or without any effect."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from drills import damage
from drills.drill import Difference, Drill
from helpers import tiny_config

pytestmark = [pytest.mark.drill, pytest.mark.filterwarnings('default')]
EPOCHS = 4


class Killed(BaseException):
    """In place of a kill."""


def flip_any(folder: Path, random: np.random.Generator) -> str:
    """Inverts a bit of one of the files of a folder: in a large one as likely as in a small one."""
    files = sorted(path for path in folder.rglob('*') if path.is_file() and path.stat().st_size)
    file = files[random.integers(len(files))]
    damage.flip(file, random)
    return str(file.relative_to(folder))


def train(workdir: Path, data: Path) -> tuple[bytes, str]:
    """Trains or continues; returns the predictions and the results of the runs."""
    from jaxser.training import experiment

    config = tiny_config.get_config()
    config.update_from_flattened_dict({'data.dir': str(data), 'train.epochs': EPOCHS})
    results = experiment.run_experiment(config, workdir)
    return (workdir / 'predictions.csv').read_bytes(), json.dumps(results['runs'])


@pytest.fixture(scope='module')
def interrupted(data, tmp_path_factory) -> Path:
    """Returns the workdir of a sweep with two checkpoints, killed before the last one."""
    from jaxser.training.checkpoints import Checkpoints

    save = Checkpoints.save

    def save_until_killed(self, epoch, *arguments):
        if epoch == EPOCHS:
            raise Killed
        save(self, epoch, *arguments)

    workdir = tmp_path_factory.mktemp('interrupted') / 'sweep'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, 'save', save_until_killed)
        with pytest.raises(Killed):
            train(workdir, data)
    return workdir


def test_flipped_bits_of_checkpoints_do_not_change_the_results(interrupted, data, tmp_path):
    drill = Drill('flipped bits of checkpoints')
    workdir = tmp_path / 'sweep'
    right = train(tmp_path / 'whole', data)
    for number, random in drill.cases(80):
        damage.replace_by_copy(interrupted, workdir)
        file = flip_any(workdir / 'groups' / '0' / 'checkpoints', random)

        def run():
            if train(workdir, data) != right:
                raise Difference('the predictions or results')

        drill.attempt(f'case {number}: {file}', run)
    drill.fail_if_any()


def read_data(folder: Path) -> dict[str, np.ndarray]:
    """Returns all columns and features of a data set."""
    from data_pipelines.storage import dataset

    config = tiny_config.get_config()
    config.update_from_flattened_dict({'data.dir': str(folder)})
    utterances = dataset.read_utterances(dataset.find_prepared_data(config.data))
    arrays = dict(utterances.text)
    for field in dataclasses.fields(utterances):
        value = getattr(utterances, field.name)
        if isinstance(value, np.ndarray):
            arrays[field.name] = value
    return arrays | {'features': dataset.read_all_features(utterances)}


def check_same_data(folder: Path, right: dict[str, np.ndarray]) -> None:
    """Raises Difference if an array is not as it was."""
    arrays = read_data(folder)
    for name, array in right.items():
        is_float = array.dtype.kind == 'f'
        if not np.array_equal(arrays[name], array, equal_nan=is_float):
            raise Difference(name)


def test_flipped_bits_of_prepared_data_are_found_or_harmless(data, tmp_path):
    from data_pipelines import pack
    from data_pipelines.features.log_mel import LogMel

    packed = tmp_path / 'packed'
    file = packed / 'folder' / LogMel().npz_name
    file.parent.mkdir(parents=True)
    pack.write_npz(next(data.rglob('prepared.json')).parent, file)
    drill = Drill('flipped bits of shards and npz')
    right = {source: read_data(source) for source in (data, packed)}
    for number, random in drill.cases(70):
        source = (data, data, packed)[random.integers(3)]
        folder = damage.replace_by_copy(source, tmp_path / 'data')
        for name in ('rejected.csv', 'utterances.csv'):  # for people, read by no command
            for listing in folder.rglob(name):
                listing.unlink()
        # A bit of the shards rather than of a description.
        is_shard = source == data and random.random() < 0.5
        if is_shard:
            shard = next(folder.rglob('*.tfrecord*'))
            damage.flip(shard, random)
        flipped = shard.name if is_shard else flip_any(folder, random)

        def run(folder=folder, right=right[source]):
            check_same_data(folder, right)

        drill.attempt(f'case {number}: {flipped}', run)
    drill.fail_if_any()


def test_flipped_bits_of_models_are_found_or_harmless(swept, tmp_path):
    import jaxser

    wave = np.random.default_rng(0).uniform(-0.3, 0.3, 8_000).astype(np.float32)

    def answer(folder: Path) -> dict:
        return jaxser.load(folder).predict(wave, 16_000)

    drill = Drill('flipped bits of models')
    right = answer(swept / 'model')
    for number, random in drill.cases(70):
        folder = damage.replace_by_copy(swept / 'model', tmp_path / 'model')
        file = flip_any(folder, random)

        def run(folder=folder):
            if answer(folder) != right:
                raise Difference('the posterior')

        drill.attempt(f'case {number}: {file}', run)
    drill.fail_if_any()
