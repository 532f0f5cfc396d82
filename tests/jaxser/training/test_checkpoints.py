import contextlib
import itertools
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from etils import epath

from data_pipelines.errors import UserError
from jaxser.training import checkpoints as checkpoints_module
from jaxser.training.checkpoints import Checkpoints, digest_rows
from jaxser.training.parallel import Layout

RECORD = {'best_epoch': [2, 1], 'dev': [{'uar': 0.5}, None], 'seconds': 1.5}


@pytest.fixture(scope='module')
def layout():
    return Layout(2, jax.devices()[:1])


def make_arrays(epoch: int) -> dict:
    random = np.random.default_rng(epoch)
    return {
        'state': {'kernel': random.normal(size=(1, 2, 8, 4)).astype(np.float32)},
        'best': (np.full((1, 2, 3), epoch, np.int32), np.ones((1, 2), bool)),
    }


@pytest.fixture(scope='module')
def saved(layout, tmp_path_factory) -> Path:
    """The folder of two checkpoints."""
    folder = tmp_path_factory.mktemp('saved') / 'groups' / '0' / 'checkpoints'
    with contextlib.closing(Checkpoints(epath.Path(folder))) as checkpoints:
        for epoch in (3, 4):
            arrays = layout.put_runs_on_devices(make_arrays(epoch))
            checkpoints.save(epoch, arrays, RECORD | {'epoch': epoch}, layout)
    return folder


@pytest.fixture
def folder(saved, tmp_path) -> epath.Path:
    """A copy of the two checkpoints."""
    shutil.copytree(saved, tmp_path / 'checkpoints')
    return epath.Path(tmp_path / 'checkpoints')


def restore(folder, layout):
    with contextlib.closing(Checkpoints(folder)) as checkpoints:
        return checkpoints.restore(make_arrays(0), layout)


def assert_is_saved(restored, epoch: int) -> None:
    assert restored.epoch == epoch
    assert restored.record == RECORD | {'epoch': epoch}
    jax.tree.map(np.testing.assert_array_equal, restored.arrays, make_arrays(epoch))


def flip_bit(file, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)


def test_the_newest_checkpoint_is_restored(folder, layout):
    assert_is_saved(restore(folder, layout), 4)


def test_a_checkpoint_without_the_state_is_restored_without_it(folder, layout):
    """That after the last epoch has the selected parameters only."""
    best = {'best': make_arrays(5)['best']}
    with contextlib.closing(Checkpoints(folder)) as checkpoints:
        checkpoints.save(5, layout.put_runs_on_devices(best), RECORD, layout)
    restored = restore(folder, layout)
    assert restored.epoch == 5
    jax.tree.map(np.testing.assert_array_equal, restored.arrays, best)


def test_the_next_api_of_orbax_reads_a_checkpoint(folder):
    """That of `experimental.v1`, which is to follow the API that writes them."""
    ocp = pytest.importorskip('orbax.checkpoint.experimental.v1')
    template = {'arrays': make_arrays(0), 'host': None}
    read = ocp.load_checkpointables(folder / '4', template)
    jax.tree.map(np.testing.assert_array_equal, read['arrays'], make_arrays(4))
    assert read['host']['record'] == RECORD | {'epoch': 4}


@pytest.mark.parametrize('seed', range(12))
def test_a_flipped_bit_is_found_and_the_checkpoint_before_is_restored(folder, layout, capsys, seed):
    """What is restored is always one of the two that were saved, to the bit."""
    random = np.random.default_rng(seed)
    files = sorted(path for path in (Path(folder) / '4').rglob('*') if path.is_file())
    for file in files:
        if file.stat().st_size and ('/d/' in str(file) or random.random() < 0.2):
            flip_bit(file, int(random.integers(8 * file.stat().st_size)))
    restored = restore(folder, layout)
    assert_is_saved(restored, restored.epoch)
    if restored.epoch == 3:
        assert f'{folder}/4 is damaged' in capsys.readouterr().out


@pytest.mark.parametrize('name', ['arrays', 'host', 'arrays/d', 'host/metadata'])
def test_missing_parts_are_found(folder, layout, name):
    if (folder / '4' / name).is_dir():
        (folder / '4' / name).rmtree()
    else:
        (folder / '4' / name).unlink()
    assert_is_saved(restore(folder, layout), 3)


@pytest.mark.parametrize('length', [0, 10])
def test_files_that_are_cut_off_are_found(folder, layout, length):
    for file in (Path(folder) / '4').rglob('*'):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:length])
    assert_is_saved(restore(folder, layout), 3)


def test_arrays_of_another_checkpoint_are_found(folder, layout):
    shutil.rmtree(folder / '4' / 'arrays')
    shutil.copytree(folder / '3' / 'arrays', folder / '4' / 'arrays')
    assert_is_saved(restore(folder, layout), 3)


def test_training_goes_on_from_the_checkpoint_before(folder, layout):
    """Orbax saves nothing that is older than the newest step."""
    shutil.rmtree(folder / '4' / 'arrays')
    with contextlib.closing(Checkpoints(folder)) as checkpoints:
        restored = checkpoints.restore(make_arrays(0), layout)
        checkpoints.set_aside(restored.epoch)
        assert checkpoints.newest_epoch() == 3
        arrays = layout.put_runs_on_devices(make_arrays(4))
        checkpoints.save(4, arrays, RECORD | {'epoch': 4}, layout)
    assert_is_saved(restore(folder, layout), 4)
    assert (folder.parent / 'damaged' / '4').is_dir()


def test_training_does_not_start_again_in_silence(folder, layout):
    for epoch in ('3', '4'):
        shutil.rmtree(folder / epoch / 'arrays')
    with pytest.raises(UserError, match='All checkpoints'):
        restore(folder, layout)


def test_checkpoints_of_earlier_versions_are_restored(tmp_path, layout, monkeypatch):
    """They have no SHA-256."""
    monkeypatch.setattr(checkpoints_module, 'hash_json', lambda value: None)
    with contextlib.closing(Checkpoints(epath.Path(tmp_path))) as checkpoints:
        host = {'lead': [1, 2], 'record': RECORD | {'epoch': 4}}
        arrays = layout.put_runs_on_devices(make_arrays(4))
        args = checkpoints.args
        content = args.Composite(arrays=args.StandardSave(arrays), host=args.JsonSave(host))
        checkpoints.manager.save(4, args=content)
    monkeypatch.undo()
    assert_is_saved(restore(epath.Path(tmp_path), layout), 4)


def test_the_digest_depends_on_every_value_name_and_shape():
    arrays = make_arrays(1)
    changed = make_arrays(1)
    changed['state']['kernel'][0, 1, 7, 3] += 1e-6
    flat = make_arrays(1)
    flat['state']['kernel'] = flat['state']['kernel'].reshape(1, 2, 32)
    renamed = {'State': arrays['state'], 'best': arrays['best']}
    digests = [digest_rows(tree) for tree in (arrays, changed, flat, renamed)]
    assert digest_rows(make_arrays(1)) == digests[0]
    for one, other in itertools.combinations(digests, 2):
        assert one != other
