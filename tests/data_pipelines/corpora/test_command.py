"""Tests the command that prints the table of corpora."""

import subprocess
import sys
from pathlib import Path

from helpers import corpus_trees

from data_pipelines import corpora

ROOT = Path(__file__).parents[3]


def run_command(*arguments: str, columns: int = 80) -> str:
    """Returns what the command prints on a terminal of `columns` columns."""
    environment = {
        'COLUMNS': str(columns),
        'PATH': '',
        'PYTHONIOENCODING': 'utf-8',
        'PYTHONPATH': str(ROOT),
    }
    command = [sys.executable, '-m', 'data_pipelines.corpora', *arguments]
    process = subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment, encoding='utf-8'
    )
    return process.stdout


def test_the_table_fits_80_columns_and_breaks_no_web_address(tmp_path):
    prepared = [
        'emodb/logmel64-0123abcd/1.0.0/prepared.json',
        'emodb/logmel64-0123abcd.npz',
        'tess/logmel40-0123abcd.npz',
        'esd/logmel64-0/1.0.0/other.json',
    ]
    corpus_trees.write_empty_files(tmp_path, prepared)
    text = run_command('--dir', str(tmp_path))
    cells_by_corpus = {}
    for line in text.splitlines():
        if '│' in line:
            assert len(line) <= 80
            _, corpus, *cells, _ = line.split('│')
            cells_by_corpus[corpus.strip()] = [cell.strip() for cell in cells]
    assert list(cells_by_corpus) == corpora.corpus_names()
    assert cells_by_corpus['emodb'] == ['de', '10', '535', '7', 'shards, .npz']
    assert cells_by_corpus['iemocap'] == ['en', '10', '10,039', '9', '']
    assert cells_by_corpus['esd'] == ['zh en', '20', '35,000', '5', '']
    assert cells_by_corpus['tess'][-1] == '.npz'
    assert cells_by_corpus['msp_podcast'] == ['en', '', '', '', '']
    for name in corpora.corpus_names():
        corpus = corpora.load_corpus(name)
        assert f'{corpus.name:12} {corpus.homepage}\n' in text
        assert corpus.licence in text


def test_the_command_imports_nothing_slow():
    script = (
        'import runpy, sys\n'
        'sys.argv = ["corpora"]\n'
        'runpy.run_module("data_pipelines.corpora", run_name="__main__")\n'
        'assert not {"tensorflow", "librosa", "jax", "matplotlib"} & {*sys.modules}'
    )
    command = [sys.executable, '-c', script]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
