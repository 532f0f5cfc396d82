"""Tests that an .npz equals the shards that it was packed from, and needs no TensorFlow."""

import dataclasses
import functools
import itertools
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
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.storage import (
    builder,
    dataset,
    near_duplicates,
    preparation,
    schema,
    shards,
)
from data_pipelines.storage.npz import npz_path, read_columns
from data_pipelines.storage.prepared import RECORD_FILE

SPEC, BANDS = LogMel(bands=4), 4
ROOT = Path(__file__).parent.parent.parent


def make_example(n: int) -> dict:
    """Returns an utterance of noise."""
    mel_TxM = np.random.default_rng(n).normal(size=(50 + 10 * n, BANDS)).astype(np.float16)
    return {
        **dict.fromkeys(schema.TEXT_COLUMNS, 'x'),
        **dict.fromkeys(schema.RATING_COLUMNS, 0.5),
        schema.WINDOW_COLUMN: '',
        'utterance': f'é{n}',
        'speaker': f's{n % 3}',
        'emotion': 'sad' if n % 2 else 'angry',
        'mean_M': mel_TxM.mean(0, dtype=np.float32),
        'variance_M': mel_TxM.var(0, dtype=np.float32),
        'sha256': '',
        'signature_S': np.ones(SIGNATURE_SIZE, np.float16),
        'mel_TxM': mel_TxM,
        'frames': len(mel_TxM),
        **dict.fromkeys(schema.AUDIO_FACTS, 0.5 + n),
        schema.CODEC_COLUMN: f'WAV {n}',
        schema.VOTES_COLUMN: f'angry={n};sad=1' if n else '',
    }


@pytest.fixture(scope='module')
def prepared(tmp_path_factory) -> Path:
    """Returns data/ with twelve utterances by three speakers, as shards and as .npz."""
    data_dir = tmp_path_factory.mktemp('data')
    examples = [make_example(n) for n in range(12)]
    folder = builder.write_shards(corpora.load_corpus('folder'), SPEC, examples, data_dir)
    (folder / RECORD_FILE).write_text(json.dumps({'fingerprint': 'this one'}))
    pack.write_npz(folder, npz_path(data_dir, 'folder', SPEC))
    return data_dir


@pytest.fixture
def data(prepared, tmp_path) -> Path:
    """Returns a copy of the prepared data that a test may change."""
    return shutil.copytree(prepared, tmp_path / 'data')


def make_config(data: Path, resident: str = 'auto') -> ConfigDict:
    features = dataclasses.asdict(SPEC)
    return ConfigDict(
        {'dir': str(data), 'corpora': ('folder',), 'features': features, 'resident': resident}
    )


def npz_file(data: Path) -> Path:
    return data / 'folder' / SPEC.npz_name


def shard_folder(data: Path) -> Path:
    return next(data.rglob(RECORD_FILE)).parent


def test_npz_has_the_columns_and_features_of_the_shards(prepared):
    """They are equal to the bit and in the same order."""
    packed = read_columns(npz_file(prepared))
    sharded = shards.read_columns(shard_folder(prepared))
    assert packed.text.keys() == sharded.text.keys()
    for name, column in sharded.text.items():
        np.testing.assert_array_equal(packed.text[name], column)
    numbers = ('frames_N', 'rating_NxA', 'mean_NxM', 'variance_NxM', 'signature_NxS')
    for name in (*numbers, 'audio_facts_NxF'):
        np.testing.assert_array_equal(getattr(packed, name), getattr(sharded, name))
        assert getattr(packed, name).dtype == getattr(sharded, name).dtype
    assert packed.is_packed
    assert not sharded.is_packed
    mel_RxM = dataset.read_all_features(packed)
    assert mel_RxM.dtype == np.float16
    np.testing.assert_array_equal(mel_RxM, dataset.read_all_features(sharded))


def test_near_duplicates_are_stored_with_large_data(data, monkeypatch):
    """Beside the shards, and in the .npz; all twelve signatures are equal."""
    monkeypatch.setattr(near_duplicates, 'MAX_COMPARED', 11)
    folder = shard_folder(data)
    near_duplicates.write_beside_shards(folder)
    pack.write_npz(folder, npz_file(data))
    none = near_duplicates.NearDuplicates(np.zeros(0, np.uint64), np.zeros((0, 2), np.uint64))
    monkeypatch.setattr(near_duplicates, '_last_search', none)
    monkeypatch.setattr(near_duplicates, 'find_near_duplicates', None)  # never called
    for utterances in (shards.read_columns(folder), read_columns(npz_file(data))):
        pairs_Px2 = near_duplicates.find_stored_duplicates(utterances, np.arange(12))
        assert pairs_Px2.tolist() == [list(p) for p in itertools.combinations(range(12), 2)]


def test_data_of_earlier_versions_are_read_without_what_they_lack(data):
    """Shards and .npz without level, silence, rate, codec and votes; both without the window."""
    added = ('source_rate', 'level_db', 'leading_silence', 'source_codec', 'window', 'votes')
    folder = shard_folder(data)
    features = json.loads((folder / 'features.json').read_text())
    fields = features['featuresDict']['features']
    for name in added:
        del fields[name]
    (folder / 'features.json').write_text(json.dumps(features))
    utterances = shards.read_columns(folder)
    assert utterances.audio_facts_NxF[:, 0].tolist() == [0.5 + n for n in range(12)]
    assert np.isnan(utterances.audio_facts_NxF[:, 1:]).all()
    with np.load(npz_file(data)) as content:
        columns = dict(content)
    del columns['audio_facts_NxF'], columns['text_source_codec'], columns['text_votes']
    np.savez(npz_file(data), **columns)
    packed = read_columns(npz_file(data))
    assert np.isnan(packed.audio_facts_NxF).all()
    for found in (utterances, packed):
        assert set(found.text['source_codec']) == {''}
        assert set(found.text['votes']) == {''}


def test_an_npz_without_the_votes_of_the_shards_is_not_used(data):
    """As after a corpus was prepared again by a version that reads votes."""
    assert find_paths(data) == (npz_file(data),)
    (record_file,) = data.rglob(RECORD_FILE)
    record = {'fingerprint': 'this one', 'votes_fingerprint': 'votes'}
    record_file.write_text(json.dumps(record))
    assert find_paths(data) == (shard_folder(data),)
    pack.write_npz(shard_folder(data), npz_file(data))
    assert find_paths(data) == (npz_file(data),)


def test_selected_utterances_of_an_npz_have_the_features_of_the_shards(prepared):
    """As when the label space leaves utterances out, or several corpora are read."""
    packed = read_columns(npz_file(prepared))
    sharded = shards.read_columns(shard_folder(prepared))
    rows = [7, 2, 11]
    selected_RxM = dataset.read_all_features(sharded[rows])
    np.testing.assert_array_equal(dataset.read_all_features(packed[rows]), selected_RxM)
    both = schema.concatenate_datasets([sharded, packed[rows]])
    np.testing.assert_array_equal(
        dataset.read_all_features(both),
        np.concatenate([dataset.read_all_features(sharded), selected_RxM]),
    )


def find_paths(data, resident: str = 'auto') -> tuple[Path, ...]:
    """Where a configuration finds the corpus."""
    return dataset.find_prepared_data(make_config(data, resident)).paths


def test_npz_is_preferred_to_shards_unless_features_are_streamed(prepared):
    assert find_paths(prepared) == (npz_file(prepared),)
    assert find_paths(prepared, 'off') == (shard_folder(prepared),)
    data = dataset.find_prepared_data(make_config(prepared))
    assert dataset.read_utterances(data).is_packed


def test_npz_alone_is_enough_but_cannot_be_streamed(data):
    """As on a machine to which only the .npz has been copied."""
    before = dataset.find_prepared_data(make_config(data))
    shutil.rmtree(shard_folder(data))
    alone = dataset.find_prepared_data(make_config(data))
    assert alone.fingerprints == before.fingerprints
    assert dataset.read_existing_fingerprints(make_config(data)) == before.fingerprints
    assert len(dataset.read_utterances(alone)) == 12
    with pytest.raises(UserError, match=r'npz cannot be streamed.*config\.data\.resident'):
        dataset.find_prepared_data(make_config(data, resident='off'))


def test_npz_of_other_data_is_not_used(data):
    """The corpus was prepared again after it was packed, so that the fingerprints differ."""
    record = shard_folder(data) / RECORD_FILE
    record.write_text(json.dumps(json.loads(record.read_text()) | {'fingerprint': 'other'}))
    assert find_paths(data) == (shard_folder(data),)
    assert dataset.find_prepared_data(make_config(data)).fingerprints == {'folder': 'other'}
    assert dataset.read_existing_fingerprints(make_config(data)) == {'folder': 'other'}


def test_a_new_preparation_says_that_the_npz_is_of_an_earlier_one(data, capsys):
    """Copied to another machine, the .npz would be used without a word."""
    preparation.print_outdated_pack(npz_file(data), shard_folder(data))
    assert not capsys.readouterr().out
    record = shard_folder(data) / RECORD_FILE
    record.write_text(json.dumps(json.loads(record.read_text()) | {'fingerprint': 'other'}))
    preparation.print_outdated_pack(npz_file(data), shard_folder(data))
    printed = ' '.join(capsys.readouterr().out.split())
    assert 'was packed from an earlier preparation' in printed
    assert f'python -m data_pipelines.pack folder --dir {data}' in printed


WITHOUT_TENSORFLOW = """
import json, sys
# Importing these fails.
sys.modules |= dict.fromkeys(('tensorflow', 'tensorflow_datasets', 'librosa'))
import numpy as np
from ml_collections import ConfigDict
from data_pipelines.batching import feeds, plan, table
from data_pipelines.protocols import folds, split
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.storage import dataset

config = ConfigDict(json.loads(sys.argv[1]))
utterances, _ = split.keep_labelled(
    dataset.read_utterances(dataset.find_prepared_data(config)), 'native'
)
three_folds = folds.make_folds(utterances, Protocol(folds=3))
examples = table.ExampleTable(utterances, three_folds, 'global', True)
items = plan.evaluation_items(three_folds, np.array([[0, 1, 2]]), utterances, 'test', 0, 2)
(_, batch), *_ = feeds.resident_feed(examples, items)
np.savez(sys.argv[2], mel_RxM=dataset.read_all_features(utterances), **batch)
"""


def test_batches_from_an_npz_are_those_of_the_shards_without_tensorflow(data, tmp_path):
    utterances = shards.read_columns(shard_folder(data))
    three_folds = folds.make_folds(utterances, Protocol(folds=3))
    items = plan.evaluation_items(three_folds, np.array([[0, 1, 2]]), utterances, 'test', 0, 2)
    examples = table.ExampleTable(utterances, three_folds, 'global', True)
    (_, expected), *_ = feeds.resident_feed(examples, items)
    expected['mel_RxM'] = dataset.read_all_features(utterances)
    shutil.rmtree(shard_folder(data))
    options = make_config(data).to_json()
    subprocess.run(
        [sys.executable, '-c', WITHOUT_TENSORFLOW, options, tmp_path / 'batch.npz'],
        cwd=ROOT,
        check=True,
    )
    with np.load(tmp_path / 'batch.npz') as batch:
        assert set(batch) == set(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(batch[name], array)


def rewrite(file: Path, **changes) -> None:
    """Replaces arrays of an .npz, or removes those that are None."""
    with np.load(file) as content:
        arrays = dict(content) | changes
    for name, array in changes.items():
        if array is None:
            del arrays[name]
    np.savez(file, **arrays)


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def clear(file: Path) -> None:
    file.write_bytes(b'')


def replace_by_text(file: Path) -> None:
    file.write_text('not an .npz')


def remove_arrays(file: Path) -> None:
    rewrite(file, mel_RxM=None, frames_N=None)


def put_pickles(file: Path) -> None:
    objects = np.array([print], object)
    rewrite(file, frames_N=objects, mel_RxM=objects)


def flip_bit(file: Path, name: str) -> None:
    """Changes a bit in the middle of an array."""
    content = bytearray(file.read_bytes())
    with np.load(file) as arrays:
        array = arrays[name]
    content[content.find(array.tobytes()) + array.nbytes // 2] ^= 1
    file.write_bytes(content)


DAMAGE = {
    'cut off': halve,
    'empty': clear,
    'something else': replace_by_text,
    'an array missing': remove_arrays,
    'another bit in a column': functools.partial(flip_bit, name='mean_NxM'),
    'another bit in the features': functools.partial(flip_bit, name='mel_RxM'),
    'pickled objects': put_pickles,
}


@pytest.mark.parametrize('damage', DAMAGE.values(), ids=DAMAGE)
def test_damaged_npz_is_refused_by_name_and_nothing_is_unpickled(data, damage):
    damage(npz_file(data))
    message = r'\.npz is damaged, or was not written by data_pipelines\.pack'

    def read_features():
        prepared_data = dataset.find_prepared_data(make_config(data))
        dataset.read_all_features(dataset.read_utterances(prepared_data))

    with pytest.raises(UserError, match=message):
        read_features()


def test_npz_contains_numbers_and_text_only(prepared):
    """NumPy reads them with allow_pickle=False."""
    with np.load(npz_file(prepared), allow_pickle=False) as content:
        assert {content[name].dtype.kind for name in content} == {'U', 'f', 'i'}


def test_failed_packing_leaves_the_earlier_npz(data, monkeypatch):
    def write_half(file, **arrays):
        file.write(b'half')
        raise RuntimeError('disk failure')

    before = npz_file(data).read_bytes()
    monkeypatch.setattr(np, 'savez', write_half)
    with pytest.raises(RuntimeError, match='disk failure'):
        pack.write_npz(shard_folder(data), npz_file(data))
    assert npz_file(data).read_bytes() == before


def test_command_packs_a_prepared_corpus_and_prints_the_file(data, monkeypatch, capsys):
    """A corpus that is not prepared is a UserError."""
    npz_file(data).unlink()
    monkeypatch.setattr(sys, 'argv', ['pack', 'folder', '--dir', str(data), '--bands', '4'])
    pack.main()
    assert str(npz_file(data)) in capsys.readouterr().out
    assert len(read_columns(npz_file(data))) == 12
    monkeypatch.setattr(sys, 'argv', ['pack', 'emodb', '--dir', str(data)])
    with pytest.raises(SystemExit, match='2'):
        pack.main()
    assert 'emodb is not prepared' in capsys.readouterr().err
