"""Tests that Apache Beam writes the same data set as the worker processes, to the bit."""

import csv
import itertools
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import data_pipelines.storage
from data_pipelines import corpora
from data_pipelines.errors import UserError
from data_pipelines.features import signature
from data_pipelines.features.log_mel import LogMel
from data_pipelines.features.upstream import EncoderInput
from data_pipelines.storage import builder, dataset, preparation, prepared, schema, shards

# TensorFlow, TFDS and Beam give deprecation warnings.
pytestmark = pytest.mark.filterwarnings('default')

SPEC = LogMel()

# Beam in this process, which starts sooner than processes of its own.
IN_MEMORY = ['direct_running_mode=in_memory', 'direct_num_workers=1']


@pytest.fixture
def tree(tmp_path) -> Path:
    """A small EMO-DB: 18 utterances and an empty file."""
    folder = tmp_path / 'wav'
    folder.mkdir()
    random = np.random.default_rng(0)
    parts = itertools.product(('03', '08', '11'), ('a01', 'b02'), ('Wa', 'Fb', 'Nc'))
    for n, part in enumerate(parts):
        samples = random.uniform(-0.5, 0.5, 8_000 + 700 * n)
        soundfile.write(folder / f'{"".join(part)}.wav', samples, 16_000)
    (folder / '08b10Wb.wav').write_bytes(b'')
    return folder


def read_rows(file: Path) -> list[dict]:
    with open(file, newline='') as stream:
        return list(csv.DictReader(stream))


def suffixes(folder: Path) -> list[str]:
    """Returns the sorted suffixes of all files but the shards."""
    return sorted(p.suffix for p in folder.iterdir() if 'tfrecord' not in p.name)


PROCESSES = pytest.param([], marks=pytest.mark.slow, id='processes')


@pytest.mark.parametrize('options', [IN_MEMORY, PROCESSES])
def test_beam_writes_what_the_worker_processes_write(tree, tmp_path, monkeypatch, options):
    """The shards have a few utterances each, so that the order over several is tested.

    `out` is a relative path.
    """
    pytest.importorskip('apache_beam')
    from tensorflow_datasets.core.utils import shard_utils

    monkeypatch.setattr(shard_utils.ShardConfig, 'min_shard_size', 1 << 13)
    monkeypatch.setattr(shard_utils.ShardConfig, 'max_shard_size', 1 << 14)
    by_processes = preparation.prepare_corpus(
        'emodb', tree, tmp_path / 'processes', SPEC, allow_partial=True, workers=1
    )
    monkeypatch.chdir(tmp_path)
    by_beam = preparation.prepare_corpus(
        'emodb', tree, 'beam', SPEC, allow_partial=True, workers=2, beam=options
    )
    assert by_beam.parent.parent == Path('beam', 'emodb')
    for name, count in (('utterances.csv', 18), ('rejected.csv', 1)):
        rows = read_rows(by_beam / name)
        assert rows == read_rows(by_processes / name)
        assert len(rows) == count
    assert prepared.read_record(by_beam) == prepared.read_record(by_processes)
    expected = shards.read_columns(by_processes)
    columns = shards.read_columns(by_beam)
    assert len(columns.files) > 1
    assert columns.text.keys() == expected.text.keys()
    for key, column in expected.text.items():
        np.testing.assert_array_equal(columns.text[key], column)
    for key in ('rating_NxA', 'frames_N', 'mean_NxM', 'variance_NxM', 'signature_NxS'):
        np.testing.assert_array_equal(getattr(columns, key), getattr(expected, key))
    np.testing.assert_array_equal(
        dataset.read_all_features(columns), dataset.read_all_features(expected)
    )
    assert [p.name for p in (tmp_path / 'beam').iterdir()] == ['emodb']
    assert suffixes(by_beam) == ['.csv', '.csv', '.json', '.json', '.json', '.npz']


def test_beam_computes_the_input_of_an_encoder(tree, tmp_path):
    """As the worker processes do; it must not compute log-mel instead."""
    pytest.importorskip('apache_beam')
    spec = EncoderInput('wave', 160)
    by_processes = preparation.prepare_corpus(
        'emodb', tree, tmp_path / 'processes', spec, allow_partial=True, workers=1
    )
    by_beam = preparation.prepare_corpus(
        'emodb', tree, tmp_path / 'beam', spec, allow_partial=True, beam=IN_MEMORY
    )
    expected = dataset.read_all_features(shards.read_columns(by_processes))
    features = dataset.read_all_features(shards.read_columns(by_beam))
    np.testing.assert_array_equal(features, expected)


def test_corpus_without_any_usable_utterance_is_refused(tmp_path):
    """The error is the one without Beam."""
    pytest.importorskip('apache_beam')
    (tmp_path / '03a01Fa.wav').write_bytes(b'')
    message = r'None of the 1 utterances can be used\. [^:]*:\n  .*03a01Fa\.wav: empty'
    with pytest.raises(UserError, match=message):
        preparation.prepare_corpus(
            'emodb', tmp_path, tmp_path / 'data', SPEC, allow_partial=True, beam=IN_MEMORY
        )
    assert list((tmp_path / 'data').iterdir()) == []


def test_unknown_runner_is_refused_before_anything_is_decoded(tree, tmp_path):
    pytest.importorskip('apache_beam')
    with pytest.raises(UserError, match='Beam cannot run with runner=Nonesuch'):
        preparation.prepare_corpus(
            'emodb', tree, tmp_path / 'data', SPEC, allow_partial=True, beam=['runner=Nonesuch']
        )
    assert not (tmp_path / 'data').exists()


def test_runner_that_mixes_outputs_is_refused(tree, tmp_path):
    """Beam's own for Dask, which would write wrong data."""
    pytest.importorskip('apache_beam')
    runner = 'runner=apache_beam.runners.dask.dask_runner.DaskRunner'
    with pytest.raises(UserError, match=r'DaskRunner cannot run .* --dask SCHEDULER'):
        preparation.prepare_corpus(
            'emodb', tree, tmp_path / 'data', SPEC, allow_partial=True, beam=[runner]
        )


def test_program_that_beam_cannot_download_is_a_sentence(tree, tmp_path, monkeypatch):
    """As of Flink, Spark and Prism where there is no internet."""
    beam = pytest.importorskip('apache_beam')

    def refuse(*arguments):
        raise RuntimeError('Unable to fetch remote job server jar at https://HOST/a.jar')

    monkeypatch.setattr(beam.Pipeline, 'run', refuse)
    with pytest.raises(UserError, match=r'https://HOST/a\.jar.*flink_job_server_jar=FILE'):
        preparation.prepare_corpus(
            'emodb', tree, tmp_path / 'data', SPEC, allow_partial=True, beam=IN_MEMORY
        )


def test_error_names_the_extra_where_beam_is_not_installed(tree, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'apache_beam', None)
    monkeypatch.delitem(sys.modules, 'data_pipelines.storage.beam', raising=False)
    monkeypatch.delattr(data_pipelines.storage, 'beam', raising=False)
    with pytest.raises(UserError, match=r"pip install -e '\.\[beam\]'"):
        preparation.prepare_corpus(
            'emodb', tree, tmp_path / 'data', SPEC, allow_partial=True, beam=[]
        )


def test_data_larger_than_the_memory_buffer_are_written_in_order(tmp_path, monkeypatch):
    """TFDS then sorts by means of files, which the keys must fill evenly."""
    from tensorflow_datasets.core import shuffle

    filled_files = set()
    add_to_bucket = shuffle._Bucket.add

    def record_file(self, *data):
        filled_files.add(os.fspath(self._path))
        add_to_bucket(self, *data)

    monkeypatch.setattr(shuffle, 'MAX_MEM_BUFFER_SIZE', 1 << 16)
    monkeypatch.setattr(builder, 'MAX_UTTERANCES', 64)
    monkeypatch.setattr(shuffle._Bucket, 'add', record_file)
    utterance = corpora.Utterance('', tmp_path, 's', 'sad', 'en', 'c')
    example = {
        **schema.label_columns(utterance),
        'mel_TxM': np.zeros((50, SPEC.bands), np.float16),
        'frames': 50,
        **dict.fromkeys(schema.AUDIO_FACTS, 0.5),
        schema.CODEC_COLUMN: 'WAV PCM_16',
        'mean_M': np.zeros(SPEC.bands, np.float32),
        'variance_M': np.zeros(SPEC.bands, np.float32),
        'sha256': '',
        'signature_S': np.zeros(signature.SIGNATURE_SIZE, np.float16),
    }
    names = [str(n) for n in range(60)]
    examples = [example | {'utterance': name} for name in names]
    folder = builder.write_shards(corpora.load_corpus('folder'), SPEC, examples, tmp_path)
    assert shards.read_columns(folder).text['utterance'].tolist() == names
    assert len(filled_files) == len(names)
