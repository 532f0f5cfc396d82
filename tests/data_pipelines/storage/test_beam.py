"""Apache Beam writes what the worker processes write: the same columns and features to the bit, in the same order."""

import csv
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import data_pipelines.storage
from data_pipelines.errors import UserError
from data_pipelines.features.log_mel import LogMel
from data_pipelines.storage import builder, dataset, preparation, prepared, schema, shards

pytestmark = pytest.mark.filterwarnings(
    'default'
)  # TensorFlow, TFDS and Beam have deprecations of their own
SPEC = LogMel()
HERE = [
    'direct_running_mode=in_memory',
    'direct_num_workers=1',
]  # within this process, which starts sooner


@pytest.fixture
def tree(tmp_path) -> Path:
    """EMO-DB in small: 18 utterances, an empty file and a name that is no UTF-8."""
    folder, random = tmp_path / 'wav', np.random.default_rng(0)
    folder.mkdir()
    names = [
        f'{s}{t}{e}' for s in ('03', '08', '11') for t in ('a01', 'b02') for e in ('Wa', 'Fb', 'Nc')
    ]
    for n, name in enumerate(names):
        soundfile.write(folder / f'{name}.wav', random.uniform(-0.5, 0.5, 8_000 + 700 * n), 16_000)
    (folder / '08b10Wb.wav').write_bytes(b'')
    return folder


def lists(home: Path) -> list[list[dict]]:
    """The rows of both lists."""
    both = []
    for name in ('utterances.csv', 'rejected.csv'):
        with open(home / name, newline='') as file:
            both.append(list(csv.DictReader(file)))
    return both


@pytest.mark.parametrize('words', [HERE, pytest.param([], marks=pytest.mark.slow, id='processes')])
def test_beam_gives_what_the_worker_processes_give(tree, tmp_path, monkeypatch, words):
    """Shards of a few utterances each, so that the order over several is seen."""
    pytest.importorskip('apache_beam')
    from tensorflow_datasets.core.utils import shard_utils

    monkeypatch.setattr(shard_utils.ShardConfig, 'min_shard_size', 1 << 13)
    monkeypatch.setattr(shard_utils.ShardConfig, 'max_shard_size', 1 << 14)
    one = preparation.prepare_corpus(
        'emodb', tree, tmp_path / 'one', SPEC, allow_partial=True, workers=1
    )
    two = preparation.prepare_corpus(
        'emodb', tree, tmp_path / 'two', SPEC, allow_partial=True, workers=2, beam=words
    )
    assert lists(one) == lists(two)
    assert [len(rows) for rows in lists(two)] == [18, 1]
    assert json.loads((one / prepared.RECORD_FILE).read_text()) == json.loads(
        (two / prepared.RECORD_FILE).read_text()
    )
    a, b = shards.read_columns(one), shards.read_columns(two)
    assert len(b.files) > 1
    assert a.text.keys() == b.text.keys()
    for key, column in a.text.items():
        np.testing.assert_array_equal(column, b.text[key])
    for key in ('rating_NxA', 'frames_N', 'mean_NxM', 'variance_NxM', 'signature_NxS'):
        np.testing.assert_array_equal(getattr(a, key), getattr(b, key))
    np.testing.assert_array_equal(dataset.read_all_features(a), dataset.read_all_features(b))
    assert sorted(p.name for p in (tmp_path / 'two').iterdir()) == ['emodb']
    assert sorted(p.suffix for p in two.iterdir() if 'tfrecord' not in p.name) == [
        '.csv',
        '.csv',
        '.json',
        '.json',
        '.json',
    ]


def test_a_corpus_of_which_nothing_can_be_used_is_refused(tmp_path):
    """As without Beam."""
    pytest.importorskip('apache_beam')
    (tmp_path / '03a01Fa.wav').write_bytes(b'')
    with pytest.raises(
        UserError,
        match=r'None of the 1 utterances can be used; the first, .*03a01Fa\.wav, is empty',
    ):
        preparation.prepare_corpus(
            'emodb', tmp_path, tmp_path / 'data', SPEC, allow_partial=True, beam=HERE
        )
    assert list((tmp_path / 'data').iterdir()) == []


def test_an_unknown_runner_is_refused(tree, tmp_path):
    """Before anything is decoded."""
    pytest.importorskip('apache_beam')
    with pytest.raises(UserError, match='Beam cannot run with runner=Nonesuch'):
        preparation.prepare_corpus(
            'emodb', tree, tmp_path / 'data', SPEC, allow_partial=True, beam=['runner=Nonesuch']
        )
    assert not (tmp_path / 'data').exists()


def test_without_beam_the_extra_is_named(tree, tmp_path, monkeypatch):
    """Whether it is installed or not."""
    monkeypatch.setitem(sys.modules, 'apache_beam', None)
    monkeypatch.delitem(sys.modules, 'data_pipelines.storage.beam', raising=False)
    monkeypatch.delattr(data_pipelines.storage, 'beam', raising=False)
    with pytest.raises(UserError, match=r"pip install -e '\.\[beam\]'"):
        preparation.prepare_corpus(
            'emodb', tree, tmp_path / 'data', SPEC, allow_partial=True, beam=[]
        )


def test_more_than_fits_into_memory_is_written_in_order(tmp_path, monkeypatch):
    """TFDS then goes through files, which the keys have to fill evenly."""
    from tensorflow_datasets.core import shuffle

    from data_pipelines import corpora
    from data_pipelines.features import signature

    opened = set()
    monkeypatch.setattr(shuffle, 'MAX_MEM_BUFFER_SIZE', 1 << 16)
    monkeypatch.setattr(builder, 'MAX_UTTERANCES', 64)
    add = shuffle._Bucket.add
    monkeypatch.setattr(
        shuffle._Bucket,
        'add',
        lambda self, *data: (opened.add(os.fspath(self._path)), add(self, *data)),
    )
    u = corpora.Utterance('', tmp_path, 's', 'sad', 'en', 'c')
    mel_TxM = np.zeros((50, SPEC.bands), np.float16)
    one = {
        'mel_TxM': mel_TxM,
        'frames': 50,
        'seconds': 0.5,
        'sha256': '',
        'signature_S': np.zeros(signature.SIGNATURE_SIZE, np.float16),
    }
    one |= dict.fromkeys(('mean_M', 'variance_M'), np.zeros(SPEC.bands, np.float32))
    examples = [schema.label_columns(u) | one | {'utterance': str(n)} for n in range(60)]
    place = builder.write_shards(corpora.load_corpus('folder'), SPEC, examples, tmp_path)
    assert shards.read_columns(place).text['utterance'].tolist() == [str(n) for n in range(60)]
    assert len(opened) == 60
