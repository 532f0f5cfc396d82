"""A whole sweep whose speakers and utterances have names that hold what ends a line elsewhere."""

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
SEEDS = (20261128, 20261129)  # alike in six digits


def configuration(folder: Path):
    """Two seeds on three folds, an epoch each."""
    config = tiny_config.get_config()
    config.data.dir = str(folder / 'data')
    config.train.epochs = 1
    config.sweep.lam = (0.0,)
    config.sweep.seed = SEEDS
    return config


@pytest.fixture(scope='module')
def corpus(tmp_path_factory) -> Path:
    """A prepared corpus of a speaker for each break, with an utterance of each emotion."""
    folder, random, rows = tmp_path_factory.mktemp('breaks'), np.random.default_rng(0), []
    for number, character in enumerate(BREAKS):
        for emotion in ('angry', 'sad'):
            name = f'{number}{character}{emotion}.wav'
            soundfile.write(folder / name, random.uniform(-0.3, 0.3, 3_200), 8_000)
            rows.append({'path': name, 'speaker': f's{character}{number}', 'emotion': emotion})
    rows.append({'path': f'gone{"".join(BREAKS)}.wav', 'speaker': 's', 'emotion': 'sad'})
    csv_files.write_rows(folder / 'list.csv', rows)
    prepare_corpus('folder', folder / 'list.csv', folder / 'data', LogMel(), workers=1)
    return folder


@pytest.fixture(scope='module')
def trained(corpus, tmp_path_factory) -> Path:
    """The workdir of the finished sweep."""
    path = tmp_path_factory.mktemp('trained')
    experiment.run_experiment(configuration(corpus), path)
    return path


def names(rows: list[dict], column: str) -> set[str]:
    """The distinct values of a column."""
    return {row[column] for row in rows}


def test_the_lists_of_preparing_have_the_names(corpus):
    """Of what was accepted and of what was rejected."""
    (home,) = (corpus / 'data').rglob('prepared.json')
    found = {}
    for name in ('list', 'utterances', 'rejected'):
        path = corpus / 'list.csv' if name == 'list' else home.with_name(f'{name}.csv')
        with csv_files.open_rows(path, strict=True) as reader:
            found[name] = list(reader)
    assert [r['utterance'] for r in found['utterances']] == [r['path'] for r in found['list'][:-1]]
    assert names(found['utterances'], 'speaker') == names(found['list'][:-1], 'speaker')
    assert [r['utterance'] for r in found['rejected']] == [found['list'][-1]['path']]


def test_every_utterance_is_predicted_under_its_name(corpus, trained):
    """Once by each seed, and read again by everything that reads it."""
    rows = list(predictions.open_predictions(trained))
    with csv_files.open_rows(corpus / 'list.csv') as reader:
        listed = list(reader)[:-1]
    expected = sorted((r['path'], r['speaker'], r['emotion']) for r in listed for _ in SEEDS)
    assert sorted((r['utterance'], r['speaker'], r['truth']) for r in rows) == expected
    assert names(rows, 'run') == {f'lam=0 seed={seed}' for seed in SEEDS}
    predicted = finished.read_finished_sweep(trained).predictions
    assert set(predictions.read_predictions(rows, ['angry', 'sad'])) == set(predicted)
    assert {s for speaker_N, *_ in predicted.values() for s in speaker_N} == names(
        listed, 'speaker'
    )


def test_each_seed_has_a_result_of_its_own(trained):
    """The summary's UAR is the mean over seeds of what predictions.csv says of each."""
    (row,) = json.loads((trained / 'results.json').read_text())['summary']
    rows, recalls = list(predictions.open_predictions(trained)), []
    for seed in SEEDS:
        for emotion in ('angry', 'sad'):
            other = 'sad' if emotion == 'angry' else 'angry'
            mine = [r for r in rows if r['run'].endswith(str(seed)) and r['truth'] == emotion]
            assert len(mine) == len(BREAKS)
            recalls.append(np.mean([float(r[emotion]) > float(r[other]) for r in mine]))
    assert row['seeds'] == 2
    assert row['uar'] == pytest.approx(np.mean(recalls))


def test_damaged_predictions_are_made_again_as_the_message_says(corpus, trained, tmp_path):
    """From the checkpoints, without training."""
    copy = shutil.copytree(trained, tmp_path / 'copy')
    text = (copy / 'predictions.csv').read_bytes()
    (copy / 'predictions.csv').write_bytes(text.replace(b'"', b''))
    with pytest.raises(UserError, match=r'Remove results\.json and groups/\*/outcome\.json'):
        finished.read_finished_sweep(copy)
    for file in (copy / 'results.json', *copy.glob('groups/*/outcome.json')):
        file.unlink()
    experiment.run_experiment(configuration(corpus), copy)
    assert (copy / 'predictions.csv').read_bytes() == text
