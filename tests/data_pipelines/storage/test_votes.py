"""Tests that votes are stored, and that data prepared without them stay usable."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_pipelines import csv_files
from data_pipelines.corpora import Utterance
from data_pipelines.corpora.folder import make_options
from data_pipelines.errors import UserError
from data_pipelines.features.log_mel import LogMel
from data_pipelines.storage import prepared, shards
from data_pipelines.storage.preparation import prepare_corpus

SPEC = LogMel(bands=8)
# Of the utterance below, by the version before votes were read.
EARLIER_FINGERPRINT = '16e910d35be4206d8872c7a8ea84b3b59ae351a6514eacfd018d40a6ac525694'
COUNTS = ((2, 1), (0, 0), (0, 3))


def write_list(folder: Path, counts=COUNTS) -> Path:
    """Writes three recordings and their list, with numbers of votes for angry and sad."""
    lines = ['path,speaker,emotion,angry,sad']
    for number, (angry, sad) in enumerate(counts):
        wave = np.random.default_rng(number).normal(0, 0.1, 4_000)
        soundfile.write(folder / f'{number}.wav', wave, 8_000)
        lines.append(f'{number}.wav,s{number},sad,{angry},{sad}')
    path = folder / 'list.csv'
    path.write_text('\n'.join(lines))
    return path


def prepare(source: Path, data_dir: Path, columns: str | None) -> Path:
    options = make_options('mine', columns=columns)
    return prepare_corpus('folder', source, data_dir, SPEC, workers=1, list_options=options)


def test_votes_are_in_the_shards_and_in_the_list_for_people(tmp_path):
    folder = prepare(write_list(tmp_path), tmp_path / 'data', 'votes=angry+sad')
    expected = ['angry=2;sad=1', '', 'sad=3']
    assert shards.read_columns(folder).text['votes'].tolist() == expected
    with csv_files.open_rows(folder / 'utterances.csv') as rows:
        assert [row['votes'] for row in rows] == expected


def test_other_votes_are_another_corpus(tmp_path):
    source = write_list(tmp_path)
    prepare(source, tmp_path / 'data', 'votes=angry+sad')
    write_list(tmp_path, counts=((3, 1), (0, 0), (0, 3)))
    with pytest.raises(UserError, match='lists other utterances, or other votes, now'):
        prepare(source, tmp_path / 'data', 'votes=angry+sad')


def test_data_prepared_without_votes_stay_in_use_when_the_corpus_has_votes_now(tmp_path, capsys):
    """As after an update that reads them. What to do for soft labels is said."""
    source = write_list(tmp_path)
    folder = prepare(source, tmp_path / 'data', None)
    assert 'votes_fingerprint' not in prepared.read_record(folder)
    capsys.readouterr()
    assert prepare(source, tmp_path / 'data', 'votes=angry+sad') == folder
    printed = capsys.readouterr().out
    assert 'without the votes of single raters, which these files have. To train on soft' in printed


def test_votes_do_not_change_the_fingerprint_of_earlier_versions():
    utterance = Utterance('u', Path('a.wav'), 's', 'sad', 'en', 'c')
    with_votes = dataclasses.replace(utterance, votes={'sad': 2})
    assert prepared.fingerprint_utterances([utterance]) == EARLIER_FINGERPRINT
    assert prepared.fingerprint_utterances([with_votes]) == EARLIER_FINGERPRINT
    assert prepared.fingerprint_votes([utterance]) == ''
    assert prepared.fingerprint_votes([with_votes]) != prepared.fingerprint_votes(
        [dataclasses.replace(with_votes, votes={'sad': 3})]
    )
