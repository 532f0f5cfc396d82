"""Tests of the writing of shards by TFDS."""

import tempfile

from data_pipelines.corpora import load_corpus
from data_pipelines.features.log_mel import LogMel
from data_pipelines.storage import builder


def test_tfds_leaves_nothing_among_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    made = builder._make_builder(load_corpus('emodb'), LogMel(), [], tmp_path / 'data')
    assert made.info.name == 'emodb'
    assert not list(tmp_path.iterdir())
