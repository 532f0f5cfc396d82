"""Tests of a whole sweep whose names of speakers and utterances contain line breaks."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import tiny_config

from data_pipelines import csv_files
from data_pipelines.errors import UserError
from data_pipelines.features.log_mel import LogMel
from data_pipelines.storage.preparation import prepare_corpus
from jaxser.analysis import finished, predictions
from jaxser.training import experiment

BREAKS = ('\r', '\n', '\x0b', '\x0c', '\x1c', '\x1e', '\x85', '\u2028', '\u2029')
SEEDS = (20261128, 20261129)  # they share six digits


def make_config(folder: Path):
    """Returns two seeds on three folds, an epoch each."""
    config = tiny_config.get_config()
    config.data.dir = str(folder / 'data')
    config.train.epochs = 1
    config.sweep.lam = (0.0,)
    config.sweep.seed = SEEDS
    return config


@pytest.fixture(scope='module')
def corpus(tmp_path_factory) -> Path:
    """A prepared corpus with a speaker for each break and an utterance of each emotion.

    The last row of list.csv names a file that does not exist.
    """
    folder = tmp_path_factory.mktemp('breaks')
    random = np.random.default_rng(0)
    rows = []
    for number, line_break in enumerate(BREAKS):
        for emotion in ('angry', 'sad'):
            name = f'{number}{line_break}{emotion}.wav'
            soundfile.write(folder / name, random.uniform(-0.3, 0.3, 3_200), 8_000)
            rows.append({'path': name, 'speaker': f's{line_break}{number}', 'emotion': emotion})
    rows.append({'path': f'gone{"".join(BREAKS)}.wav', 'speaker': 's', 'emotion': 'sad'})
    csv_files.write_rows(folder / 'list.csv', rows)
    prepare_corpus('folder', folder / 'list.csv', folder / 'data', LogMel(), workers=1)
    return folder


@pytest.fixture(scope='module')
def trained(corpus, tmp_path_factory) -> Path:
    """The workdir of the finished sweep."""
    path = tmp_path_factory.mktemp('trained')
    experiment.run_experiment(make_config(corpus), path)
    return path


def read_list(corpus: Path) -> list[dict]:
    """Returns the rows of list.csv whose file exists."""
    with csv_files.open_rows(corpus / 'list.csv') as reader:
        return list(reader)[:-1]


def read_prediction_rows(workdir: Path) -> list[dict]:
    """Returns the rows of predictions.csv."""
    (block,) = predictions.open_predictions(workdir)
    return [dict(zip(block, cells)) for cells in zip(*block.values())]


def distinct(rows: list[dict], column: str) -> set[str]:
    """Returns the distinct values of a column."""
    return {row[column] for row in rows}


def test_the_lists_of_preparation_have_the_names(corpus):
    """Those of the accepted utterances, and of the rejected one."""
    (record,) = (corpus / 'data').rglob('prepared.json')
    with csv_files.open_rows(record.with_name('utterances.csv'), strict=True) as reader:
        utterances = list(reader)
    with csv_files.open_rows(record.with_name('rejected.csv'), strict=True) as reader:
        rejected = list(reader)
    listed = read_list(corpus)
    assert [row['utterance'] for row in utterances] == [row['path'] for row in listed]
    assert distinct(utterances, 'speaker') == distinct(listed, 'speaker')
    assert [row['utterance'] for row in rejected] == [f'gone{"".join(BREAKS)}.wav']


def test_every_utterance_is_predicted_under_its_name(corpus, trained):
    """Once for each seed, and read again by everything that reads predictions."""
    rows = read_prediction_rows(trained)
    listed = read_list(corpus)
    names = [(row['utterance'], row['speaker'], row['truth']) for row in rows]
    expected = [(row['path'], row['speaker'], row['emotion']) for row in listed]
    assert sorted(names) == sorted(expected * len(SEEDS))
    assert distinct(rows, 'run') == {f'lam=0 seed={seed}' for seed in SEEDS}
    by_run = finished.read_finished_sweep(trained).predictions
    assert set(by_run) == {(row['run'], int(row['fold'])) for row in rows}
    speakers = set()
    for run in by_run.values():
        speakers.update(run.speaker_N)
    assert speakers == distinct(listed, 'speaker')


def test_each_seed_has_results_of_its_own(trained):
    """The UAR of the summary is the mean over the seeds' predictions."""
    (summary,) = json.loads((trained / 'results.json').read_text())['summary']
    rows = read_prediction_rows(trained)
    recalls = []
    for seed in SEEDS:
        for emotion, other in (('angry', 'sad'), ('sad', 'angry')):
            is_correct = []
            for row in rows:
                if row['run'].endswith(str(seed)) and row['truth'] == emotion:
                    is_correct.append(float(row[emotion]) > float(row[other]))
            assert len(is_correct) == len(BREAKS)
            recalls.append(np.mean(is_correct))
    assert summary['seeds'] == 2
    assert summary['uar'] == pytest.approx(np.mean(recalls))


def test_damaged_predictions_are_made_again_as_the_message_says(corpus, trained, tmp_path):
    """From the checkpoints, without training."""
    copy = shutil.copytree(trained, tmp_path / 'copy')
    text = (copy / 'predictions.csv').read_bytes()
    (copy / 'predictions.csv').write_bytes(text.replace(b'"', b''))
    with pytest.raises(UserError, match=r'Remove results\.json and groups/\*/outcome\.json'):
        finished.read_finished_sweep(copy)
    for file in (copy / 'results.json', *copy.glob('groups/*/outcome.json')):
        file.unlink()
    experiment.run_experiment(make_config(corpus), copy)
    assert (copy / 'predictions.csv').read_bytes() == text
