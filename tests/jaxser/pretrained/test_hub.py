"""Tests that an encoder is found by its name, in a cache that the test makes, without a network."""

import dataclasses
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from configs import base
from data_pipelines.errors import UserError
from jaxser.configuration import resolve
from jaxser.pretrained import extractor, hub
from jaxser.pretrained.checkpoint import WEIGHTS_FILE
from jaxser.serving import bundling
from jaxser.training import outputs

NAME = 'tiny/whisper'
COMMIT = '0123456789abcdef0123456789abcdef01234567'
OLDER = 'f' * 40

huggingface_hub = pytest.importorskip('huggingface_hub')


def write_snapshot(cache: Path, source: Path, commit: str, files: list[str]) -> Path:
    """Writes a revision as huggingface_hub does: files are links to blobs, named by a hash."""
    root = cache / 'models--tiny--whisper'
    snapshot = root / 'snapshots' / commit
    snapshot.mkdir(parents=True)
    (root / 'blobs').mkdir(exist_ok=True)
    for number, name in enumerate(files):
        blob = root / 'blobs' / f'{commit[:8]}{number}'
        blob.write_bytes((source / name).read_bytes())
        (snapshot / name).symlink_to(os.path.relpath(blob, snapshot))
    return snapshot


@pytest.fixture
def cache(whisper, tmp_path, monkeypatch) -> Path:
    """Returns an offline cache in which main is COMMIT, and OLDER has no weights."""
    folder = tmp_path / 'cache'
    write_snapshot(folder, whisper, COMMIT, [WEIGHTS_FILE, 'config.json'])
    write_snapshot(folder, whisper, OLDER, ['config.json'])
    refs = folder / 'models--tiny--whisper' / 'refs'
    refs.mkdir()
    (refs / 'main').write_text(COMMIT)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(folder))
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    return folder


@pytest.mark.parametrize('text', [NAME, f'{NAME}@main', f'{NAME}@{COMMIT}'])
def test_states_record_name_and_commit(text, cache, whisper):
    states = extractor.states_from_folder(text, 'pooled')
    expected = extractor.states_from_folder(whisper, 'pooled')
    assert states == expected
    record = states.record_fields()['upstream']
    assert (record['hub_name'], record['revision']) == (NAME, COMMIT)
    assert record['sha256'] == expected.sha256
    assert Path(record['folder']) == cache / 'models--tiny--whisper' / 'snapshots' / COMMIT
    assert (expected.hub_name, expected.revision) == ('', '')
    assert extractor.input_from_folder(text) == extractor.input_from_folder(whisper)


def test_a_folder_of_that_path_wins(cache, tmp_path, monkeypatch):
    (tmp_path / 'here' / NAME).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / 'here')
    assert hub.locate_encoder(NAME) == hub.LocatedEncoder(Path(NAME))


@pytest.mark.parametrize('text', ['missing', './tiny/whisper', '/tiny/whisper', 'a/b/c', '../a'])
def test_other_texts_are_folders(text, monkeypatch):
    """Nothing is asked of the Hub."""
    monkeypatch.setattr(hub, '_fetch', None)
    assert hub.locate_encoder(text) == hub.LocatedEncoder(Path(text))


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('tiny/hubert', 'HF_HUB_OFFLINE is set. Unset it'),
        (f'{NAME}@other', f'{NAME}@other is not a folder; in the cache .* it is not there'),
        (f'{NAME}@{OLDER}', rf'no \*.safetensors at the revision {OLDER}'),
    ],
)
def test_what_is_not_in_the_cache_is_said(text, words, cache):
    with pytest.raises(UserError, match=words):
        hub.locate_encoder(text)


def test_a_half_downloaded_encoder_is_refused(cache):
    """The list of the revision's files, which a download stores, says what is missing."""
    tree_cache = pytest.importorskip('huggingface_hub._tree_cache')
    trees = cache / 'models--tiny--whisper' / 'trees'
    trees.mkdir()
    entry = dict.fromkeys(('lfs_sha256', 'lfs_size', 'xet_hash')) | {'size': 1, 'blob_id': 'a'}
    files = {name: entry for name in ('config.json', WEIGHTS_FILE, 'second.safetensors')}
    entries = {name: tree_cache.TreeCacheEntry(**fields) for name, fields in files.items()}
    tree_cache.write_tree_cache(str(trees.parent), COMMIT, entries)
    with pytest.raises(UserError, match='it is there in part only'):
        hub.locate_encoder(NAME)


@dataclasses.dataclass
class Hub:
    """Stands for huggingface_hub.snapshot_download."""

    error: Exception | None = None
    folder: Path | None = None
    options: dict | None = None

    def __call__(self, name: str, **options) -> str:
        self.options = options
        if self.error:
            raise self.error
        return str(self.folder)


def http_error(name: str) -> Exception:
    """Returns an error of huggingface_hub, whose constructor needs an answer of the Hub."""
    kind = getattr(huggingface_hub.errors, name)
    return kind.__new__(kind)


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('GatedRepoError', 'only for users who accepted its terms'),
        ('RevisionNotFoundError', f'{NAME} has no revision v2'),
        ('RepositoryNotFoundError', 'neither a folder here nor a model'),
        ('HfHubHTTPError', 'could not be downloaded .*Run the command again'),
    ],
)
def test_what_the_hub_says_is_said_in_a_sentence(name, words, monkeypatch):
    monkeypatch.setattr(huggingface_hub, 'snapshot_download', Hub(http_error(name)))
    with pytest.raises(UserError, match=words):
        hub.locate_encoder(f'{NAME}@v2')


@pytest.mark.parametrize('kind', [OSError, Exception])
def test_a_broken_download_is_said_in_a_sentence(kind, monkeypatch):
    """The errors of httpx, as for a closed connection, are neither OSError nor ValueError."""
    monkeypatch.setattr(huggingface_hub, 'snapshot_download', Hub(kind('connection closed')))
    with pytest.raises(UserError, match=r'could not be downloaded \(connection closed\)'):
        hub.locate_encoder(NAME)


def test_a_finished_sweep_never_asks_the_hub(tmp_path, monkeypatch):
    """The relative folder of an encoder that is gone looks like a name on the Hub."""
    monkeypatch.setattr(hub, '_fetch', None)
    monkeypatch.chdir(tmp_path)
    config = base.get_config()
    config.model.name = 'fine_tuned'
    config.model.upstream = 'encoders/whisper'
    for describe in (outputs.encoder_notes, functools.partial(bundling._encoder_record, data=None)):
        with pytest.raises(UserError, match='encoders/whisper is not a folder'):
            describe(config)


def test_pickled_files_are_never_downloaded(whisper, monkeypatch):
    fake = Hub(folder=whisper)
    monkeypatch.setattr(huggingface_hub, 'snapshot_download', fake)
    hub.locate_encoder(f'{NAME}@refs/pr/3')
    assert fake.options['revision'] == 'refs/pr/3'
    assert fake.options['allow_patterns'] == ['*.safetensors', '*.json']


def test_without_huggingface_hub_its_installation_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(UserError, match='pip install huggingface_hub'):
        hub.locate_encoder(NAME)


def test_the_command_honours_the_cache_and_offline_of_the_environment(cache):
    """HF_HUB_CACHE and HF_HUB_OFFLINE, as they are set on clusters."""
    environment = os.environ | {'HF_HUB_CACHE': str(cache), 'HF_HUB_OFFLINE': '1'}
    command = (sys.executable, '-m', 'jaxser.upstream', NAME)
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert f'{NAME} at revision {COMMIT}' in done.stdout, done.stderr
    assert 'the encoder of whisper, 2 layers' in done.stdout


def test_prepared_data_say_which_revision(cache, data, tmp_path):
    """In prepared.json, and in the file that `pack` writes."""
    from data_pipelines import pack, prepare
    from data_pipelines.storage import npz, prepared

    source = next(data.parent.glob('*.csv'))
    arguments = ['folder', '--source', str(source), '--out', str(tmp_path / 'data')]
    arguments += ['--features', f'upstream:{NAME}', '--workers', '1']
    folder = prepare.run(prepare.make_parser().parse_args(arguments))
    record = prepared.read_record(folder)['upstream']
    assert (record['hub_name'], record['revision']) == (NAME, COMMIT)
    pack.write_npz(folder, tmp_path / 'packed.npz')
    assert npz.read_record(tmp_path / 'packed.npz')['upstream'] == json.loads(json.dumps(record))


def test_a_name_to_fine_tune_becomes_the_folder_of_its_revision(cache):
    """So that a sweep that is resumed has the weights that it began with."""
    config = base.get_config()
    config.model.name = 'fine_tuned'
    config.model.upstream = NAME
    config.data.normalise = 'none'
    resolve._resolve_encoder_input(config)
    assert Path(config.model.upstream) == (cache / 'models--tiny--whisper' / 'snapshots' / COMMIT)
