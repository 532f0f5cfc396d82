"""Protects the Python interface: jaxser.train, jaxser.results and jaxser.prepare."""

import json
import multiprocessing.spawn
import shutil
from pathlib import Path

import pandas
import pytest
from helpers import tiny_config

import jaxser
from data_pipelines import prepare
from data_pipelines.errors import UserError
from jaxser import api

CONFIG = Path(tiny_config.__file__)
FRAME = pandas.DataFrame({'path': ['a.wav'], 'speaker': ['1'], 'emotion': ['angry']})


@pytest.fixture(scope='module')
def trained(swept, data, tmp_path_factory):
    """What `jaxser.train` returns for a copy of a sweep that is already trained."""
    workdir = tmp_path_factory.mktemp('api') / 'tiny'
    shutil.copytree(swept, workdir)
    return jaxser.train(CONFIG, workdir, {'data.dir': str(data), 'train.epochs': 2})


def test_a_trained_sweep_has_its_results_as_frames(trained):
    """A row for each run, a row for each setting, and the page."""
    stored = json.loads((trained.workdir / 'results.json').read_text())
    frame = trained.results
    assert frame[['lam', 'seed', 'fold']].values.tolist() == [
        [run['hyper'][key] for key in ('lam', 'seed', 'fold')] for run in stored['runs']
    ]
    assert frame['uar'].tolist() == [run['test']['uar'] for run in stored['runs']]
    assert frame['dev_uar'].tolist() == [run['dev']['uar'] for run in stored['runs']]
    assert frame.loc[frame['fold'] == 1, 'fold_name'].unique() == stored['folds'][1]
    assert trained.table['uar'].tolist() == [row['uar'] for row in stored['summary']]
    assert trained.report_path.exists()
    assert '<table' in trained._repr_html_()


def test_training_again_in_one_process_finds_the_finished_sweep(trained, data, capsys):
    """With a configuration as an object, too, which is not changed."""
    config = tiny_config.get_config()
    again = jaxser.train(config, trained.workdir, {'data.dir': str(data), 'train.epochs': 2})
    assert 'it is finished' in capsys.readouterr().out
    pandas.testing.assert_frame_equal(again.results, trained.results)
    assert config == tiny_config.get_config()


def test_a_row_has_the_leakage(tmp_path):
    """Recall of the strongest attacker, and chance; nothing for a run that diverged."""
    from jaxser.analysis import frames

    answer = {'strongest': 0.5, 'attacker': 'mlp', 'chance': 0.25, 'bits': 1.0, 'recall': {}}
    run = {
        'hyper': {'lam': 0.1, 'seed': 0, 'fold': 1},
        'status': 'ok',
        'epoch': 3,
        'dev': {'uar': 0.6, 'wa': 0.6, 'f1': 0.6, 'n': 9},
        'test': {'uar': 0.7, 'wa': 0.7, 'f1': 0.7, 'n': 8},
        'probe': {'speaker': answer, 'verification': {'eer': 0.4}},
        'adversary': {'verdict': 'inert'},
    }
    row = frames.run_row(run, ['a', 'b'])
    assert row['speaker_strongest'] == 0.5
    assert row['speaker_chance'] == 0.25
    assert row['verification_eer'] == 0.4
    assert row['adversary'] == 'inert'
    assert row['fold_name'] == 'b'
    earlier = run | {'probe': {'speaker': {'linear': 0.3, 'mlp': 0.6}, 'language': None}}
    assert frames.run_row(earlier, ['a', 'b'])['speaker_strongest'] == 0.6
    nothing = dict.fromkeys(('epoch', 'dev', 'test', 'selected'))
    diverged = {'hyper': run['hyper'], 'status': 'nonfinite', 'step': 3} | nothing
    assert frames.run_row(diverged, ['a', 'b'])['uar'] is None


@pytest.mark.parametrize(
    ('call', 'words'),
    [
        (lambda path: jaxser.train('configs/missing.py'), 'cannot be read: configs/missing.py'),
        (lambda path: jaxser.train(tiny_config.get_config()), 'Name a workdir'),
        (lambda path: jaxser.train(CONFIG, ''), 'The workdir is empty'),
        (lambda path: jaxser.results(path), 'contains no finished sweep'),
        (lambda path: jaxser.prepare([1], 'mine', path), 'is a list; expected a path, or a pandas'),
        (lambda path: jaxser.prepare(FRAME, 'emodb', path), 'is a DataFrame; expected a path for'),
        (lambda path: jaxser.prepare(FRAME, '../mine', path), 'expected a lower-case letter'),
        (lambda path: jaxser.prepare('x', 'emodb', path, 'emobox'), 'such as my_emodb, or leave'),
        (lambda path: jaxser.prepare('x', 'demo', path, speeed=3), '--speeed=3'),
        (lambda path: jaxser.prepare(path, 'emodb', path), 'Set --source to the folder'),
    ],
)
def test_a_mistake_is_a_user_error(call, words, tmp_path):
    with pytest.raises(UserError, match=words):
        call(tmp_path)
    assert not list(tmp_path.iterdir()), 'nothing is written'


def test_a_notebook_shows_a_user_error_without_a_stack_trace():
    assert UserError('Do this.')._render_traceback_() == ['UserError: Do this.']


def test_worker_processes_do_not_run_the_callers_script(tmp_path, monkeypatch):
    """Else a script without `if __name__ == '__main__'` would prepare again in each of them."""
    seen = []

    def record(arguments):
        seen.append(multiprocessing.spawn.get_preparation_data('worker'))

    monkeypatch.setattr(prepare, 'run', record)
    before = multiprocessing.spawn.get_preparation_data('worker')
    jaxser.prepare(tmp_path, 'emodb', tmp_path)
    assert not {'init_main_from_path', 'init_main_from_name'} & seen[0].keys()
    assert multiprocessing.spawn.get_preparation_data('worker') == before


def test_a_frame_is_prepared(data, tmp_path, monkeypatch):
    """Under its name; paths are relative to the current folder, and columns may be named so."""
    monkeypatch.chdir(data.parent)
    words = {'angry': 'grr', 'sad': 'oh'}
    rows = []
    for speaker in (0, 1):
        for emotion in ('angry', 'sad'):
            path = f'{speaker}_{emotion}_0.wav'
            rows.append({'file': path, 'speaker': speaker, 'emotion': words[emotion]})
    emotions = {'grr': 'angry', 'oh': 'sad'}
    frame = pandas.DataFrame(rows)
    folder = jaxser.prepare(frame, 'mine', tmp_path, emotions=emotions, workers=1)
    assert folder.is_relative_to(tmp_path / 'mine')
    prepared = pandas.read_csv(folder / 'utterances.csv')
    assert prepared['emotion'].tolist() == ['angry', 'sad'] * 2
    assert frame['file'].tolist() == [row['file'] for row in rows]


def test_only_the_paths_of_a_frame_become_absolute(tmp_path, monkeypatch):
    """Whatever files are in the current folder; addresses and missing values stay."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'angry').write_text('')
    paths = ['a.wav', 'file:///b.wav', '~/c.wav', None]
    frame = pandas.DataFrame({'Clip': paths, 'emotion': ['angry'] * 4})
    file = api._write_list(frame, tmp_path / 'list.csv', {'path': 'clip'})
    written = pandas.read_csv(file, keep_default_na=False)
    assert written['Clip'].tolist() == [str(tmp_path / 'a.wav'), *paths[1:3], '']
    assert written['emotion'].tolist() == ['angry'] * 4
