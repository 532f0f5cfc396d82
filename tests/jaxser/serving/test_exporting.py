"""The exported folder: its files, and that it is a model itself."""

import json
import shutil
import sys
from pathlib import Path

import soundfile
from helpers.exports import predict_speech

import jaxser
from jaxser.serving.card_usage import PROGRAM_FILE
from jaxser.serving.exporting import export_model
from jaxser.serving.model import MODEL_FILES, read_model

ROOT = Path(__file__).parents[3]


def test_the_folder_is_a_model_for_jaxser(shared_export, swept):
    """Its files are those of the sweep to the byte, and its answers to the bit."""
    for name in MODEL_FILES:
        assert (shared_export / name).read_bytes() == (swept / 'model' / name).read_bytes()
    wave, rate = soundfile.read(shared_export / 'speech.wav')
    expected = jaxser.load(swept).predict(wave, rate)['posterior']
    assert predict_speech(shared_export) == expected


def test_no_file_contains_paths_of_the_machine_that_made_it(shared_export, data):
    """Neither of the source, whose paths JAX writes into programs, nor of the corpus."""
    private_paths = [str(path).encode() for path in (ROOT, data, Path(sys.prefix))]
    for file in shared_export.rglob('*'):
        if file.is_file():
            content = file.read_bytes()
            for path in private_paths:
                assert path not in content, file


def test_an_export_can_be_exported_again_into_an_empty_folder(shared_export, tmp_path):
    """JAX reads its programs for half a year: the model makes a new one."""
    (tmp_path / 'again').mkdir()
    again = export_model(shared_export, tmp_path / 'again')
    names = sorted(path.name for path in again.iterdir())
    assert names == ['README.md', 'model.json', 'model.safetensors', PROGRAM_FILE]
    assert (again / PROGRAM_FILE).read_bytes() == (shared_export / PROGRAM_FILE).read_bytes()


def test_the_folder_names_no_path_and_no_speaker(swept, tmp_path):
    """Neither of the configuration, nor of the command, nor of the groups with the lowest UAR."""
    workdir = tmp_path / 'w'
    shutil.copytree(swept, workdir, ignore=shutil.ignore_patterns('groups', 'tensorboard'))
    for name in ('config.json', 'results.json', 'model/model.json'):
        text = (workdir / name).read_text()
        content = json.loads(text)
        if 'command' in content:
            content['command'] = (
                'python -m jaxser.main --config=/home/me/c.py --config.data.dir=/home/me/d '
                '--workdir /home/me/w --config.data.only=speaker=anna'
            )
        if 'config' in content:
            content['config']['data']['only'] = 'speaker=anna'
            content['config']['model']['upstream'] = '/home/me/whisper'
        content.pop('facts_sha256', None)
        (workdir / name).write_text(json.dumps(content))
    (workdir / 'checksums.json').unlink()
    export_model(workdir, tmp_path / 'out')
    for file in (tmp_path / 'out').rglob('*'):
        content = file.read_bytes()
        for private in (b'/home/me', b'anna', b'speaker=', bytes(tmp_path)):
            assert private not in content, (file.name, private)
    assert read_model(tmp_path / 'out').metadata['config']['data']['only'] == 'SPEAKERS'
