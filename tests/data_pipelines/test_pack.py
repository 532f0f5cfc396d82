"""A corpus in one .npz: the same columns and features, and no TensorFlow."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from data_pipelines import corpora, pack
from data_pipelines.batching import feeds, plan, table
from data_pipelines.errors import UserError
from data_pipelines.features.log_mel import LogMel
from data_pipelines.features.signature import SIGNATURE_SIZE
from data_pipelines.protocols import folds
from data_pipelines.storage import builder, dataset, schema, shards
from data_pipelines.storage.npz import npz_path, read_columns
from data_pipelines.storage.prepared import RECORD_FILE

SPEC, BANDS = LogMel(bands=4), 4
ROOT = Path(__file__).parent.parent.parent


def example(n: int) -> dict:
    """An utterance of noise."""
    mel_TxM = np.random.default_rng(n).normal(size=(50 + 10 * n, BANDS)).astype(np.float16)
    moments = {
        'mean_M': mel_TxM.mean(0, dtype=np.float32),
        'variance_M': mel_TxM.var(0, dtype=np.float32),
    }
    text = (
        dict.fromkeys(schema.TEXT_COLUMNS, 'x')
        | dict.fromkeys(schema.RATING_COLUMNS, 0.5)
        | {
            'utterance': f'é{n}',
            'speaker': f's{n % 3}',
            'emotion': 'sad' if n % 2 else 'angry',
        }
    )
    moments |= {'sha256': '', 'signature_S': np.ones(SIGNATURE_SIZE, np.float16)}
    return text | moments | {'mel_TxM': mel_TxM, 'frames': len(mel_TxM), 'seconds': 0.5}


@pytest.fixture(scope='module')
def prepared(tmp_path_factory) -> Path:
    """data/ with twelve utterances by three speakers, as shards and as .npz."""
    place = tmp_path_factory.mktemp('data')
    shard = builder.write_shards(
        corpora.load_corpus('folder'), SPEC, [example(n) for n in range(12)], place
    )
    (shard / RECORD_FILE).write_text(json.dumps({'fingerprint': 'this one'}))
    pack.write_npz(shard, npz_path(place, 'folder', SPEC))
    return place


@pytest.fixture
def data(prepared, tmp_path) -> Path:
    """A copy of it to be changed."""
    return shutil.copytree(prepared, tmp_path / 'data')


def config(data: Path, resident: str = 'auto') -> ConfigDict:
    features = dataclasses.asdict(SPEC)
    return ConfigDict(
        {'dir': str(data), 'corpora': ('folder',), 'features': features, 'resident': resident}
    )


def npz(data: Path) -> Path:
    return data / 'folder' / SPEC.npz_name


def folder(data: Path) -> Path:
    return next(data.rglob(RECORD_FILE)).parent


def test_columns_and_features_are_those_of_the_shards(prepared):
    """To the bit and in the same order."""
    packed, sharded = read_columns(npz(prepared)), shards.read_columns(folder(prepared))
    assert packed.text.keys() == sharded.text.keys()
    for name, column in sharded.text.items():
        np.testing.assert_array_equal(packed.text[name], column)
    for name in ('frames_N', 'rating_NxA', 'mean_NxM', 'variance_NxM', 'signature_NxS'):
        np.testing.assert_array_equal(getattr(packed, name), getattr(sharded, name))
        assert getattr(packed, name).dtype == getattr(sharded, name).dtype
    assert (packed.is_packed, sharded.is_packed) == (True, False)
    mel_RxM = dataset.read_all_features(packed)
    assert mel_RxM.dtype == np.float16
    np.testing.assert_array_equal(mel_RxM, dataset.read_all_features(sharded))


def test_some_utterances_of_an_npz_are_those_of_the_shards(prepared):
    """As where the label space leaves some out, or a corpus is one of several."""
    packed, sharded = read_columns(npz(prepared)), shards.read_columns(folder(prepared))
    some = [7, 2, 11]
    np.testing.assert_array_equal(
        dataset.read_all_features(packed[some]), dataset.read_all_features(sharded[some])
    )
    both = schema.concatenate_datasets([sharded, packed[some]])
    np.testing.assert_array_equal(
        dataset.read_all_features(both),
        np.concatenate(
            [dataset.read_all_features(sharded), dataset.read_all_features(sharded[some])]
        ),
    )


def test_the_npz_is_read_where_there_is_one(prepared):
    """With the shards beside it or not, unless features are to be streamed."""
    assert dataset.find_datasets(config(prepared)) == [npz(prepared)]
    assert dataset.find_datasets(config(prepared, resident='off')) == [folder(prepared)]
    assert dataset.read_utterances(config(prepared)).is_packed


def test_an_npz_alone_is_enough_and_cannot_be_streamed(data):
    """A machine to which nothing but the .npz has been copied."""
    before = dataset.read_fingerprints(config(data))
    shutil.rmtree(folder(data))
    assert dataset.read_fingerprints(config(data)) == before
    assert len(dataset.read_utterances(config(data))) == 12
    with pytest.raises(UserError, match=r'npz cannot be streamed.*config\.data\.resident'):
        dataset.read_utterances(config(data, resident='off'))


def test_an_npz_of_other_data_is_not_used(data):
    """The corpus has been prepared anew since it was packed: its fingerprint is another."""
    record = folder(data) / RECORD_FILE
    record.write_text(json.dumps(json.loads(record.read_text()) | {'fingerprint': 'other'}))
    assert dataset.find_datasets(config(data)) == [folder(data)]
    assert dataset.read_fingerprints(config(data)) == {'folder': 'other'}


WITHOUT_TENSORFLOW = """
import json, sys
sys.modules |= dict.fromkeys(('tensorflow', 'tensorflow_datasets', 'librosa'))  # importing them fails
import numpy as np
from ml_collections import ConfigDict
from data_pipelines import batches, folds, shards

config = ConfigDict(json.loads(sys.argv[1]))
utterances, _ = batches.labelled(batches.read(config), 'native')
made = folds.make(utterances, folds.Protocol(folds=3))
table = batches.Table(utterances, made, 'global', True)
items = batches.scoring(made, np.array([[0, 1, 2]]), utterances, 'test', 0, 2)
(_, batch), *_ = batches.resident(table, items)
np.savez(sys.argv[2], mel_RxM=shards.load(utterances), **batch)
"""


def test_training_data_are_made_of_an_npz_without_tensorflow(data, tmp_path):
    """Where it is not installed: the features and batches are those of the shards."""
    utterances = shards.read_columns(folder(data))
    made = folds.make_folds(utterances, folds.Protocol(folds=3))
    items = plan.evaluation_items(made, np.array([[0, 1, 2]]), utterances, 'test', 0, 2)
    (_, expected), *_ = feeds.resident_feed(
        table.ExampleTable(utterances, made, 'global', True), items
    )
    expected['mel_RxM'] = dataset.read_all_features(utterances)
    shutil.rmtree(folder(data))
    options = config(data).to_json()
    subprocess.run(
        [sys.executable, '-c', WITHOUT_TENSORFLOW, options, tmp_path / 'batch.npz'],
        cwd=ROOT,
        check=True,
    )
    with np.load(tmp_path / 'batch.npz') as found:
        assert set(found) == set(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)


def rewrite(file: Path, **changes) -> None:
    """Changes some arrays of an .npz; None leaves one out."""
    with np.load(file) as content:
        arrays = dict(content) | changes
    np.savez(file, **{k: v for k, v in arrays.items() if v is not None})


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(array: str):
    """Flips a bit in the middle of an array."""

    def change(file: Path) -> None:
        content = bytearray(file.read_bytes())
        with np.load(file) as arrays:
            at = content.find(arrays[array].tobytes())
            content[at + arrays[array].nbytes // 2] ^= 1
        file.write_bytes(content)

    return change


DAMAGE = {
    'cut off': halve,
    'empty': lambda file: file.write_bytes(b''),
    'something else': lambda file: file.write_text('none of ours'),
    'an array missing': lambda file: rewrite(file, mel_RxM=None, frames_N=None),
    'another bit in a column': flip('mean_NxM'),
    'another bit in the features': flip('mel_RxM'),
    'pickled objects': lambda file: rewrite(
        file, frames_N=np.array([print], object), mel_RxM=np.array([print], object)
    ),
}


@pytest.mark.parametrize('damage', DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_npz_is_refused_by_name(data, damage):
    """In a sentence, before it can do harm: nothing is ever unpickled."""
    damage(npz(data))
    with pytest.raises(UserError, match=r'\.npz is damaged or none of ours'):
        dataset.read_all_features(dataset.read_utterances(config(data)))


def test_an_npz_holds_no_pickle(prepared):
    """Numbers and text alone, which NumPy reads with allow_pickle=False."""
    with np.load(npz(prepared), allow_pickle=False) as content:
        assert {content[name].dtype.kind for name in content} == {'U', 'f', 'i'}


def test_a_pack_that_fails_leaves_the_one_before(data, monkeypatch):
    """The .npz is there whole or as it was."""
    before = npz(data).read_bytes()
    monkeypatch.setattr(np, 'savez', lambda file, **arrays: file.write(b'half') and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pack.write_npz(folder(data), npz(data))
    assert npz(data).read_bytes() == before


def test_the_command_packs_what_is_prepared_and_says_where(data, monkeypatch, capsys):
    """A corpus that is not prepared ends in a sentence."""
    npz(data).unlink()
    monkeypatch.setattr(sys, 'argv', ['pack', 'folder', '--dir', str(data), '--bands', '4'])
    pack.main()
    assert str(npz(data)) in capsys.readouterr().out
    assert len(read_columns(npz(data))) == 12
    monkeypatch.setattr(sys, 'argv', ['pack', 'emodb', '--dir', str(data)])
    with pytest.raises(SystemExit, match='2'):
        pack.main()
    assert 'emodb is not prepared' in capsys.readouterr().err
