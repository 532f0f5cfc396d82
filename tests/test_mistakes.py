"""Tests of the errors about mistakes in the command line, before any data is read."""

import multiprocessing
import os
import sys
from pathlib import Path

import pytest
from test_main import ROOT, TINY, assert_user_error

from jaxser import main

MISTAKES = {
    'no configuration': ([], '--config is missing.'),
    'an unknown configuration': (['--config=configs/dan_demo.py'], 'configs/dann_demo.py'),
    'a key without a configuration': (['--config.train.epochs=2'], '--config is missing.'),
    'a misspelt flag': (['--confg=configs/dann_demo.py'], 'Did you mean: config ?\n'),
    'no for False': (
        [TINY, '--config.probe=no'],
        "config.probe is 'no'; expected True or False.",
    ),
    'a misspelt key': ([TINY, '--config.model.widht=3'], "Did you mean 'width'"),
    'a misspelt hyper-parameter': ([TINY, '--config.sweep.lma=0'], "Did you mean 'lam'"),
    'a key in the wrong place': (
        [TINY, '--config.train.time_mask=0'],
        'Did you mean config.sweep.time_mask?',
    ),
    'a key of another section that resembles one of this': (
        [TINY, '--config.model.batch=3'],  # like config.model.batch_norm
        'Did you mean config.data.batch?',
    ),
    'a key of no section': (
        [TINY, '--config.train.method=erm'],
        'Did you mean config.method or config.sweep.method?',
    ),
    'a misspelt task': (['--config=configs/table.py:emobd'], 'ravdess_emodb, emodb+ravdess_urdu\n'),
    'a value of the wrong type': ([TINY, '--config.model.width=wide'], 'wide'),
    'text for a count': (
        [TINY, '--config.train.epochs=three'],
        "expected a whole number, found 'three'",
    ),
    'text for a hyper-parameter': (
        [TINY, '--config.sweep.lam=much'],
        "'much' is not a number",
    ),
    'the same value twice': ([TINY, '--config.sweep.lam=0.1,0.1'], 'twice'),
    'a misspelt method': ([TINY, '--config.method=dan'], 'dann, didan, erm'),
    'a misspelt model': ([TINY, '--config.model.name=tdnn'], 'tdnn_lstm'),
    'a hyper-parameter of another method': ([TINY, '--config.method=erm'], 'config.sweep.lam'),
    'a misspelt method in a sweep': ([TINY, '--config.sweep.method=erm,dan'], 'dann, didan, erm'),
    'a misspelt key in a listed run': (
        [TINY, "--config.sweep.runs=({'lamb': 1},)"],
        "Did you mean 'lam'",
    ),
    'a misspelt domain': ([TINY, '--config.sweep.domain=speaker,nation'], 'nation'),
    'a width of 0': ([TINY, '--config.sweep.model.width=0,8'], '1 or more'),
    'a width of a billion': ([TINY, '--config.model.width=1000000000'], 'at most 65536'),
    'a size of another encoder': (
        [TINY, '--config.model.name=cnn', '--config.sweep.model.width=8,16'],
        'cnn has no such size',
    ),
    'a list for a name': ([TINY, "--config.sweep.runs=({'method': ['erm']},)"], 'neither a name'),
    'a misspelt selection': ([TINY, '--config.train.select=test'], 'best dev UAR'),
    'a misspelt protocol': ([TINY, '--config.protocol.name=loso'], 'leave_one_speaker_out'),
    'a source without a target': (
        [TINY, '--config.protocol.name=source_target', '--config.protocol.source=emodb'],
        'needs a source and a target',
    ),
    'a misspelt target': (
        [
            TINY,
            '--config.protocol.name=source_target',
            '--config.protocol.source=emodb',
            '--config.protocol.target=urd',
        ],
        "no corpus 'urd'",
    ),
    'a misspelt label space': ([TINY, '--config.data.labels=five'], 'emodb_casia'),
    'a misspelt normalisation': ([TINY, '--config.data.normalise=no'], 'global'),
    'a misspelt normalisation with enrolment': (
        [TINY, '--config.data.normalise=speaker_enrol', '--config.protocol.enrol=4'],
        "config.data.normalise is 'speaker_enrol'; expected one of utterance,",
    ),
    'no epochs': ([TINY, '--config.train.epochs=0'], 'from 1 to'),
    'selection after the end': (
        [TINY, '--config.train.select_from=1.5'],
        'config.train.select_from is 1.5; expected a number from 0 to 1.',
    ),
    'a seed beyond 32 bits': (
        [TINY, '--config.sweep.seed=2147483648'],
        'config.sweep.seed: 2147483648 is not an integer from 0 to 2147483647.',
    ),
    'an unknown corpus': ([TINY, '--config.data.corpora=emo_db'], "Did you mean 'emodb'?"),
    'a corpus that is not prepared': (
        ['--config=configs/dann_iemocap.py'],
        'data_pipelines.prepare iemocap',
    ),
    'an empty workdir': ([TINY, '--workdir='], '--workdir is empty'),
    'an argument that is not a flag': ([TINY, 'now'], "'now'"),
}


@pytest.fixture(scope='module')
def fork_server():
    """Forks processes from one that has imported JAX and Orbax, which saves their imports."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['jaxser.main', 'jaxser.probe', 'tensorstore'])
    return context


def run_main(arguments: list[str], file: Path) -> None:
    """Runs jaxser.main in this process; its output goes to the file."""
    with open(file, 'wb') as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.argv = ['jaxser.main', *arguments]
    main.main()


@pytest.mark.parametrize('mistake', MISTAKES)
def test_a_mistake_ends_with_a_message(mistake, fork_server, tmp_path, monkeypatch):
    """Before any data is read, and without a workdir left behind."""
    arguments, expected = MISTAKES[mistake]
    workdir = tmp_path / 'run'
    if arguments:
        arguments = [*arguments, f'--config.data.dir={tmp_path}']
    arguments = [f'--workdir={workdir}', *arguments]
    monkeypatch.chdir(ROOT)
    process = fork_server.Process(target=run_main, args=(arguments, tmp_path / 'output'))
    process.start()
    process.join(300)
    assert_user_error(process.exitcode, (tmp_path / 'output').read_text(), expected)
    assert not workdir.exists()


def test_a_wrong_value_in_a_configuration_file_names_the_file(fork_server, tmp_path, monkeypatch):
    file = tmp_path / 'mine.py'
    file.write_text(
        'from configs import base\n\n\n'
        'def get_config():\n'
        '    config = base.get_config()\n'
        "    config.data.corpora = 'emodb'\n"
        '    return config\n'
    )
    monkeypatch.chdir(ROOT)
    arguments = ([f'--config={file}'], tmp_path / 'output')
    process = fork_server.Process(target=run_main, args=arguments)
    process.start()
    process.join(300)
    expected = f"{file} cannot be loaded: 'corpora' is the text 'emodb'; expected a tuple."
    assert_user_error(process.exitcode, (tmp_path / 'output').read_text(), expected)
