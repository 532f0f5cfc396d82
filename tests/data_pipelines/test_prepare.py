"""Tests that preparing loses no utterance, and that an incomplete data set is never used."""

import csv
import dataclasses
import errno
import hashlib
import importlib.metadata
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import threadpoolctl
from ml_collections import ConfigDict

from data_pipelines import corpora, pack, prepare, speed_copies
from data_pipelines.corpora.folder import make_options
from data_pipelines.errors import UserError
from data_pipelines.features import decode, log_mel
from data_pipelines.features.decode import Rejection
from data_pipelines.features.log_mel import LogMel
from data_pipelines.storage import (
    dataset,
    near_duplicates,
    npz,
    preparation,
    schema,
    shards,
    workers,
)
from data_pipelines.storage.prepared import (
    RECORD_FILE,
    find_dataset,
    fingerprint_utterances,
    read_record,
    resolve_feature_name,
)

# TensorFlow and TFDS give deprecation warnings.
pytestmark = pytest.mark.filterwarnings('default')

SPEC = LogMel()
COMMAND = (sys.executable, '-m', 'data_pipelines.prepare')

# Utterances of the fixture `tree` that must be rejected, and the first word of the reason.
DAMAGED = {'03b10Wa': 'truncated', '08b10Wb': 'empty', '11b10Ta': 'NaN'}


def write_noise(path: Path, seed: int, seconds: float = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * 16_000))
    soundfile.write(path, samples, 16_000, subtype='FLOAT')


@pytest.fixture(scope='module')
def tree(tmp_path_factory) -> Path:
    """A small EMO-DB: 24 utterances, of which three are damaged."""
    root = tmp_path_factory.mktemp('emodb')
    parts = itertools.product(('03', '08', '11'), ('a01', 'b02'), ('Wa', 'Fb', 'Nc'))
    names = [''.join(part) for part in parts]
    names += [*DAMAGED, '16a05La', '16a05Ea', '16a05Aa']
    for seed, name in enumerate(names):
        write_noise(root / 'wav' / f'{name}.wav', seed, 0.3 + 0.02 * seed)
    cut = root / 'wav/03b10Wa.wav'
    cut.write_bytes(cut.read_bytes()[:-9000])
    (root / 'wav/08b10Wb.wav').write_bytes(b'')
    wave, _ = soundfile.read(root / 'wav/11b10Ta.wav')
    wave[50] = np.nan
    soundfile.write(root / 'wav/11b10Ta.wav', wave, 16_000, subtype='FLOAT')
    return root


@pytest.fixture(scope='module')
def prepared(tree, tmp_path_factory) -> Path:
    return preparation.prepare_corpus(
        'emodb', tree, tmp_path_factory.mktemp('data'), SPEC, allow_partial=True, workers=2
    )


@pytest.fixture(scope='module')
def loaded(prepared, tmp_path_factory) -> dict:
    """Examples by utterance in the stored order, as a process without this project reads them."""
    file = tmp_path_factory.mktemp('loaded') / 'examples.npz'
    arguments = [f'emodb/{SPEC.name}', prepared.parents[2], file]
    subprocess.run([sys.executable, '-c', LOAD_SCRIPT, *arguments], check=True, cwd=file.parent)
    examples = {}
    with np.load(file, allow_pickle=True) as arrays:
        for array in arrays.values():
            example = array.item()
            examples[example['utterance'].decode()] = example
    return examples


LOAD_SCRIPT = """
import sys
import numpy as np
import tensorflow_datasets as tfds

name, data_dir, file = sys.argv[1:]
dataset = tfds.load(name, data_dir=data_dir, split='utterances', shuffle_files=False)
examples = [np.array(example, dtype=object) for example in tfds.as_numpy(dataset)]
assert not [module for module in sys.modules if module.startswith('data_pipelines')]
np.savez(file, *examples)
"""


def read_rows(path: Path) -> list[dict]:
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def run_prepare(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True)


def test_every_utterance_of_the_corpus_is_accepted_or_rejected(prepared, tree):
    names = {u.name for u in corpora.load_corpus('emodb').walk(tree)}
    accepted = read_rows(prepared / 'utterances.csv')
    rejected = read_rows(prepared / 'rejected.csv')
    assert sorted(names) == sorted(row['utterance'] for row in accepted + rejected)
    assert len(names) == 24
    reasons = {}
    for row in rejected:
        assert Path(row['path']).exists()
        reasons[row['utterance']] = re.match(r'\w+', row['reason'])[0]
    assert reasons == DAMAGED
    record = json.loads((prepared / 'prepared.json').read_text())
    assert (record['accepted'], record['rejected']) == (21, 3)


def test_another_process_prepares_the_same_bytes(prepared, tree, tmp_path):
    """The shards, their descriptions and the packed file, with one worker process or with two."""
    out = tmp_path / 'data'
    arguments = ('--source', tree, '--out', out, '--allow_partial', '--workers', 1)
    assert run_prepare('emodb', *arguments).returncode == 0
    again = find_dataset(out, 'emodb', SPEC)
    names = sorted(path.name for path in prepared.iterdir())
    assert any('tfrecord' in name for name in names)
    assert names == sorted(path.name for path in again.iterdir())
    packed = []
    for folder in (prepared, again):
        file = tmp_path / f'{len(packed)}.npz'
        pack.write_npz(folder, file)
        packed.append(file.read_bytes())
    assert packed[0] == packed[1]
    for name in names:
        assert (again / name).read_bytes() == (prepared / name).read_bytes(), name


def test_shards_have_their_own_description(prepared):
    info = json.loads((prepared / 'dataset_info.json').read_text())
    assert (info['name'], info['configName'], info['version']) == ('emodb', SPEC.name, '1.0.0')
    assert [s['name'] for s in info['splits']] == ['utterances']
    assert (prepared / 'features.json').exists()
    assert str(prepared).endswith(f'emodb/{SPEC.name}/1.0.0')


def test_tfds_load_returns_the_computed_features_in_the_order_of_the_corpus(loaded, tree):
    """To the bit."""
    utterances = [u for u in corpora.load_corpus('emodb').walk(tree) if u.name not in DAMAGED]
    assert list(loaded) == [u.name for u in utterances]
    for utterance in utterances:
        with threadpoolctl.threadpool_limits(1):
            features = log_mel.compute_features(utterance, SPEC)
        example = loaded[utterance.name]
        assert example['mel_TxM'].dtype == np.float16
        for key in ('sha256', 'source_codec'):
            assert example[key].decode() == features.pop(key)
        for key, value in features.items():
            np.testing.assert_array_equal(example[key], np.asarray(value, example[key].dtype))
        for key, value in schema.label_columns(utterance).items():
            label = example[key].decode() if isinstance(value, str) else example[key]
            np.testing.assert_array_equal(label, value)


def test_float16_is_stored_as_two_bytes(prepared):
    frames = sum(int(row['frames']) for row in read_rows(prepared / 'utterances.csv'))
    size = sum(p.stat().st_size for p in prepared.glob('*.tfrecord*'))
    assert size < frames * SPEC.bands * 2 + 21 * 2600


FIND_SCRIPT = """
import sys
from data_pipelines.features.log_mel import LogMel
from data_pipelines.storage.prepared import find_dataset

print(find_dataset(sys.argv[1], 'emodb', LogMel()))
assert not {'tensorflow', 'librosa', 'jax'} & set(sys.modules)
"""


def test_prepared_data_set_is_found_without_tensorflow_and_not_prepared_again(prepared, tree):
    out = prepared.parents[2]
    command = [sys.executable, '-c', FIND_SCRIPT, out]
    finding = subprocess.run(command, capture_output=True, text=True, check=True)
    assert finding.stdout.strip() == str(prepared)
    before = (prepared / 'dataset_info.json').stat().st_mtime_ns
    again = run_prepare('emodb', '--source', tree, '--out', out)
    assert (again.returncode, again.stderr) == (0, '')
    assert f'already prepared: {prepared}' in again.stdout
    assert (prepared / 'dataset_info.json').stat().st_mtime_ns == before
    assert find_dataset(out, 'emodb', LogMel(bands=40)) is None


def test_data_set_of_another_librosa_is_named_in_the_error(prepared, monkeypatch):
    """But not a data set with other features than those that are needed."""
    out = prepared.parents[2]
    installed_version = importlib.metadata.version

    def other_version(package: str) -> str:
        return '99.0' if package == 'librosa' else installed_version(package)

    config = ConfigDict(
        {
            'dir': str(out),
            'corpora': ('emodb',),
            'features': dataclasses.asdict(SPEC),
            'upstream': '',
            'resident': 'auto',
        },
        convert_dict=False,
    )
    assert dataset.find_prepared_data(config).paths == (prepared,)
    monkeypatch.setattr(importlib.metadata, 'version', other_version)
    message = (
        rf'EMO-DB was prepared with librosa {installed_version("librosa")} '
        rf'.*{prepared}.* installed is librosa 99\.0'
    )
    with pytest.raises(UserError, match=message):
        dataset.find_prepared_data(config)
    config.features = dataclasses.asdict(LogMel(bands=40))
    with pytest.raises(UserError, match='EMO-DB is not prepared'):
        dataset.find_prepared_data(config)


def test_source_that_differs_from_the_prepared_one_is_refused(prepared, tmp_path):
    write_noise(tmp_path / '03a01Fa.wav', 0)
    with pytest.raises(UserError, match='lists other utterances'):
        preparation.prepare_corpus('emodb', tmp_path, prepared.parents[2], SPEC, allow_partial=True)


def test_missing_source_is_refused_even_if_the_corpus_is_prepared(prepared, tmp_path):
    """Without a source, the prepared data set is used."""
    out = prepared.parents[2]
    with pytest.raises(UserError, match=r'nowhere does not exist.* is already prepared'):
        preparation.prepare_corpus('emodb', tmp_path / 'nowhere', out, SPEC)
    assert preparation.prepare_corpus('emodb', None, out, SPEC) == prepared


@pytest.mark.parametrize('content', ['{', '{}', '[1]'])
def test_damaged_record_is_refused_by_name(prepared, tmp_path, tree, content):
    """When preparing again, and when training looks for the data."""
    copy = tmp_path / 'data'
    shutil.copytree(prepared.parents[2], copy)
    (file,) = copy.rglob(RECORD_FILE)
    file.write_text(content)
    with pytest.raises(
        UserError, match=r'prepared\.json is damaged .* Remove .* prepare the corpus again'
    ):
        preparation.prepare_corpus('emodb', tree, copy, SPEC, allow_partial=True)
    with pytest.raises(UserError, match=r'prepared\.json is damaged'):
        read_record(file.parent)
    file.unlink()
    with pytest.raises(UserError, match=r'without its prepared\.json'):
        preparation.prepare_corpus('emodb', tree, copy, SPEC, allow_partial=True)


def test_after_a_kill_nothing_looks_complete_and_the_same_command_succeeds(tree, tmp_path):
    command = [*COMMAND, 'emodb', '--source', tree, '--out', tmp_path]
    command += ['--allow_partial', '--workers', '1']
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.time() + 120
        while not list(tmp_path.glob('.staging-*/emodb/**/*')):  # TFDS has begun to write
            assert process.poll() is None and time.time() < deadline  # noqa: PT018
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert find_dataset(tmp_path, 'emodb', SPEC) is None
    assert [p.name.split('-')[0] for p in tmp_path.iterdir()] == ['.staging']
    home = preparation.prepare_corpus('emodb', tree, tmp_path, SPEC, allow_partial=True, workers=1)
    assert find_dataset(tmp_path, 'emodb', SPEC) == home
    assert [p.name for p in tmp_path.iterdir()] == ['emodb']  # the staging folder is removed


def test_a_channel_can_be_chosen_and_rejections_name_the_segment(tmp_path, capsys, monkeypatch):
    wave = np.random.default_rng(0).normal(0, 0.1, 32_000)
    soundfile.write(tmp_path / 'a.wav', np.stack([wave, -wave], axis=1), 16_000)
    soundfile.write(tmp_path / 'b.wav', wave, 16_000)
    text = 'path,speaker,emotion,start,end\na.wav,x,sad,0,1\na.wav,x,sad,1,2\nb.wav,y,angry,,\n'
    (tmp_path / 'list.csv').write_text(text)
    source = tmp_path / 'list.csv'
    mean = preparation.prepare_corpus('folder', source, tmp_path / 'mean', SPEC, workers=1)
    printed = capsys.readouterr().out
    assert f'rejected: {tmp_path / "a.wav"}#1-2: its 2 channels cancel' in printed
    assert len(read_rows(mean / 'rejected.csv')) == 2
    assert not (mean / near_duplicates.FILE).exists()
    monkeypatch.setattr(near_duplicates, 'MAX_COMPARED', 2)  # as a large corpus
    first = preparation.prepare_corpus(
        'folder', source, tmp_path / 'first', SPEC, workers=1, channel=1
    )
    assert (first / near_duplicates.FILE).exists()
    assert [row['utterance'] for row in read_rows(first / 'utterances.csv')] == [
        'a.wav#0-1',
        'a.wav#1-2',
        'b.wav',
    ]
    with pytest.raises(UserError, match='--channel is 0; expected a number from 1'):
        preparation.prepare_corpus('folder', source, tmp_path / 'no', SPEC, channel=0)


def test_no_utterance_is_lost_when_a_worker_dies(tree):
    utterances = [u for u in corpora.load_corpus('emodb').walk(tree) if u.name not in DAMAGED]
    with workers.run_workers(utterances, SPEC, 1) as results:
        first = next(results)
        children = Path(f'/proc/self/task/{os.getpid()}/children')
        if not children.exists():
            pytest.skip('no /proc that lists child processes')
        for pid in children.read_text().split():
            if b'spawn_main' in Path(f'/proc/{pid}/cmdline').read_bytes():
                os.kill(int(pid), signal.SIGKILL)
        all_results = [first, *results]
    assert [utterance for utterance, _ in all_results] == utterances
    assert not any(isinstance(result, Rejection) for _, result in all_results)


def test_counts_that_match_no_release_are_refused_before_anything_is_decoded(tree, tmp_path):
    start = time.time()
    refused = run_prepare('emodb', '--source', tree, '--out', tmp_path / 'data')
    assert refused.returncode == 2
    assert 'angry: expected 127, found' in refused.stderr
    assert 'bored: expected 81, found 1' in refused.stderr
    assert 'Traceback' not in refused.stderr
    assert time.time() - start < 10  # about 0.3 s on an idle machine: TensorFlow alone takes longer
    assert not (tmp_path / 'data').exists()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('emo', '--source', '.'), "no corpus 'emo'; expected one of"),
        (('emodb',), 'The files of EMO-DB are needed: name their folder with --source PATH'),
        (('folder',), '`folder` is a CSV file with the columns path, speaker, emotion'),
        (('emodb', '--source', 'nowhere'), 'nowhere is not a folder'),
        (('folder', '--source', 'nowhere.csv'), 'nowhere.csv is not a file'),
        (('emodb', '--source', '.', '--high', '9000'), 'expected 0 <= low < high <= 8000'),
        (('emodb', '--source', '.', '--workers', '0'), 'expected 1 or more'),
        (('emodb', '--source', '.', '--workers', '1000000000'), 'at most 1024'),
        (('emodb', '--source', '.', '--bands', '1000000000'), 'at most 1024'),
        (('emodb', '--source', '.', '--floor', 'inf'), 'at most 1'),
        (('emodb', '--source', '.', '--hop', '1e-9'), 'at least one sample'),
        (('emodb', '--source', '.', '--window', 'inf'), 'at most 1 s'),
        (('emodb', '--source', '.', '--rate', '1000000000'), 'The rate of the features'),
        (('emodb', '--source', '.', '--high', 'nan'), 'expected 0 <= low < high'),
        (('emodb', '--source', '.', '--speed', 'inf'), 'numbers from 0.5 to 2'),
    ],
)
def test_mistakes_are_user_errors_with_exit_code_2(
    arguments, message, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['prepare', *arguments])
    with pytest.raises(SystemExit) as exit_info:
        prepare.main()
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err


def test_help_lists_the_options_of_the_features(capsys, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['prepare', '--help'])
    with pytest.raises(SystemExit, match='0'):
        prepare.main()
    text = capsys.readouterr().out
    for name in ('source', 'out', 'allow_partial', 'workers'):
        assert f'--{name}' in text
    for name in ('bands', 'window', 'hop', 'low', 'high'):
        assert f'--{name}' in text


def test_corpus_without_any_usable_utterance_is_refused(tmp_path):
    (tmp_path / '03a01Fa.wav').write_bytes(b'')
    message = r'None of the 1 utterances can be used\. [^:]*:\n  .*03a01Fa\.wav: empty'
    with pytest.raises(UserError, match=message):
        preparation.prepare_corpus(
            'emodb', tmp_path, tmp_path / 'data', SPEC, allow_partial=True, workers=1
        )
    assert list((tmp_path / 'data').iterdir()) == []


def test_duplicate_name_is_refused_with_both_paths(tmp_path):
    """Some copies of RAVDESS contain every file twice."""
    write_noise(tmp_path / 'wav/03a01Fa.wav', 0)
    write_noise(tmp_path / 'copy/03a01Fa.wav', 0)
    message = r'03a01Fa twice: .*copy/03a01Fa\.wav and .*wav/03a01Fa\.wav'
    with pytest.raises(UserError, match=message):
        preparation.prepare_corpus('emodb', tmp_path, tmp_path / 'data', SPEC, allow_partial=True)


def test_segments_of_a_csv_are_prepared_as_utterances(tmp_path):
    write_noise(tmp_path / 'a.wav', 0, 2.0)
    (tmp_path / 'list.csv').write_text(
        'path,speaker,emotion,start,end\na.wav,1,sad,0,1\na.wav,2,happy,1,2\nb.wav,2,happy,,\n'
    )
    home = preparation.prepare_corpus(
        'folder', tmp_path / 'list.csv', tmp_path / 'data', SPEC, workers=1
    )
    first, second = read_rows(home / 'utterances.csv')
    assert (first['utterance'], second['utterance']) == ('a.wav#0-1', 'a.wav#1-2')
    assert (first['seconds'], second['seconds']) == ('1.0', '1.0')
    assert (first['corpus'], second['corpus']) == ('folder', 'folder')
    (rejected,) = read_rows(home / 'rejected.csv')
    assert (rejected['utterance'], rejected['reason']) == ('b.wav', 'missing')


def test_a_list_is_prepared_with_one_name_for_each_person_and_its_windows(tmp_path, capsys):
    """Its own words are mapped; overlapping windows of a file are known in shards and .npz."""
    write_noise(tmp_path / 'a.wav', 0, seconds=1)
    (tmp_path / 'b.wav').symlink_to('a.wav')
    rows = ['a.wav;01;Anger;0;0,5', 'b.wav;1;sad;0,25;0,75', 'a.wav;nan;sad;0,75;']
    text = 'path;speaker;emotion;start;end\n' + '\n'.join(rows)
    (tmp_path / 'list.csv').write_text(text)
    arguments = ['folder', tmp_path / 'list.csv', tmp_path / 'data', SPEC]
    options = {'workers': 1, 'list_options': make_options(emotions='anger=angry')}
    with pytest.raises(UserError, match="'01' = '1'"):
        preparation.prepare_corpus(*arguments, **options)
    folder = preparation.prepare_corpus(*arguments, **options, allow_names=True)
    assert '1 utterance of unknown speakers' in capsys.readouterr().out
    utterances = shards.read_columns(folder)
    assert utterances.text['speaker'].tolist() == ['01', '01', '']
    assert utterances.text['emotion'].tolist() == ['angry', 'sad', 'sad']
    files, starts, ends = zip(*[window.split(' ') for window in utterances.text['window']])
    assert len(set(files)) == 1
    assert (starts, ends) == (('0.0', '0.25', '0.75'), ('0.5', '0.75', 'inf'))
    pack.write_npz(folder, tmp_path / 'packed.npz')
    packed = npz.read_columns(tmp_path / 'packed.npz')
    assert packed.text['window'].tolist() == utterances.text['window'].tolist()
    again = preparation.prepare_corpus(*arguments, **options, allow_names=True)
    assert again == folder
    with pytest.raises(UserError, match=r'are for a list of your own \(folder\)'):
        preparation.prepare_corpus('emodb', *arguments[1:], **options)


def test_full_disk_is_a_user_error_and_leaves_no_files(tree, tmp_path, monkeypatch):
    """TensorFlow has its own error for it, which TFDS wraps."""
    import tensorflow as tf
    from tensorflow_datasets.core import file_adapters

    def raise_full(path, examples):
        raise tf.errors.ResourceExhaustedError(None, None, f'{path}; No space left on device')

    monkeypatch.setattr(file_adapters.TfRecordFileAdapter, 'write_examples', raise_full)
    with pytest.raises(UserError, match=f'{os.strerror(errno.ENOSPC)}.*another --out'):
        preparation.prepare_corpus('emodb', tree, tmp_path, SPEC, allow_partial=True, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_missing_write_permission_is_a_user_error(tree, tmp_path):
    out = tmp_path / 'locked'
    out.mkdir(mode=0o500)
    if os.access(out, os.W_OK):
        pytest.skip('root may write everywhere')
    with pytest.raises(UserError, match='Permission denied'):
        preparation.prepare_corpus('emodb', tree, out, SPEC, allow_partial=True, workers=1)


# TensorFlow imports JAX where it is installed. Here it is hidden, so that importing it fails.
WITHOUT_JAX_SCRIPT = """
import sys
sys.modules['jax'] = None
from data_pipelines import prepare
if __name__ == '__main__':
    prepare.main()
"""


def test_command_needs_no_jax_and_prints_counts_and_rejections(tree, tmp_path):
    options = ['emodb', '--source', tree, '--out', tmp_path, '--allow_partial', '--bands', '40']
    command = [sys.executable, '-c', WITHOUT_JAX_SCRIPT, *options]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert 'accepted' in result.stdout
    assert '4 speakers' in result.stdout
    home = find_dataset(tmp_path, 'emodb', LogMel(bands=40))
    for row in read_rows(home / 'rejected.csv'):
        assert f'{row["path"]}: {row["reason"]}' in result.stdout
    assert 'WARNING' not in result.stderr  # only the progress bar is there


@pytest.fixture(scope='module')
def tones(tmp_path_factory) -> Path:
    """An EMO-DB of two utterances: a tone of 440 Hz, 1.2 s long, at two sampling rates."""
    root = tmp_path_factory.mktemp('tones')
    for name, rate in (('03a01Fa', 16_000), ('08a01Wa', 44_100)):
        time_S = np.arange(round(1.2 * rate)) / rate
        soundfile.write(root / f'{name}.wav', 0.5 * np.sin(2 * np.pi * 440 * time_S), rate)
    return root


def prepare_tones(tones: Path, out: Path, speeds: tuple[float, ...] = (0.8, 1.25)) -> Path:
    return preparation.prepare_corpus(
        'emodb', tones, out, SPEC, allow_partial=True, workers=1, speeds=speeds
    )


def test_copies_at_other_speeds_are_a_data_set_of_their_own(tones, tmp_path):
    """Preparing again, even elsewhere, gives the same shards to the bit."""
    home = prepare_tones(tones, tmp_path / 'a')
    assert home == tmp_path / 'a/emodb_speed' / SPEC.name / schema.DATASET_VERSION
    rows = read_rows(home / 'utterances.csv')
    named = [(row['utterance'], row['speaker'], row['emotion'], row['corpus']) for row in rows]
    assert named == [
        ('03a01Fa@0.8', '03@0.8', 'happy', 'emodb_speed'),
        ('03a01Fa@1.25', '03@1.25', 'happy', 'emodb_speed'),
        ('08a01Wa@0.8', '08@0.8', 'angry', 'emodb_speed'),
        ('08a01Wa@1.25', '08@1.25', 'angry', 'emodb_speed'),
    ]
    seconds = [float(row['seconds']) for row in rows]
    np.testing.assert_allclose(seconds, 1.2 / np.array([0.8, 1.25, 0.8, 1.25]), atol=1e-4)
    assert read_record(home)['speeds'] == [0.8, 1.25]
    assert read_record(home)['corpus'] == 'emodb_speed'
    again = prepare_tones(tones, tmp_path / 'b')
    shards = sorted(path.name for path in home.glob('*.tfrecord*'))
    assert shards
    for name in shards:
        assert (again / name).read_bytes() == (home / name).read_bytes()


@pytest.mark.parametrize('speed', [0.5, 0.8, 1.25, 2.0])
def test_a_copy_is_faster_and_higher_in_the_same_proportion(tones, speed):
    """A tone of 440 Hz becomes one of 440 * speed Hz."""
    for utterance in corpora.load_corpus('emodb').walk(tones):
        (copy,) = speed_copies.make_copies([utterance], (speed,))
        wave = decode.decode(copy, SPEC)
        assert abs(len(wave) - 1.2 * SPEC.rate / speed) <= 1
        spectrum_F = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
        frequency_F = np.fft.rfftfreq(len(wave), 1 / SPEC.rate)
        assert abs(frequency_F[spectrum_F.argmax()] - 440 * speed) < 1


@pytest.mark.slow
def test_other_speeds_than_the_prepared_ones_are_refused(tones, tmp_path):
    """With the same speeds, or without --source, the prepared data set is used."""
    home = prepare_tones(tones, tmp_path)
    assert prepare_tones(tones, tmp_path) == home
    message = r'emodb_speed/.* has copies at the speeds 0\.8,1\.25'
    for source in (tones, None):
        with pytest.raises(UserError, match=message):
            prepare_tones(source, tmp_path, (0.9,))
    assert prepare_tones(None, tmp_path) == home


def test_the_speed_is_part_of_the_fingerprint_only_of_copies(tones):
    """Data sets of earlier versions keep their fingerprint."""
    utterances = corpora.load_corpus('emodb').walk(tones)
    facts = []
    for utterance in utterances:
        # Without speed, channel, file and votes.
        facts.append(dataclasses.astuple(utterance)[:-4])
    facts = [(name, Path(path.name), *rest) for name, path, *rest in facts]
    expected = hashlib.sha256(repr(facts).encode()).hexdigest()
    assert fingerprint_utterances(utterances) == expected
    faster = [dataclasses.replace(utterance, speed=1.1) for utterance in utterances]
    assert fingerprint_utterances(faster) != expected


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('emodb', '--source', '.', '--speed', '1'), "--speed contains '1'"),
        (('emodb_speed', '--source', '.'), 'data_pipelines.prepare emodb --speed 0.86'),
    ],
)
def test_wrong_speeds_are_user_errors(arguments, message, capsys, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['prepare', *arguments])
    with pytest.raises(SystemExit, match='2'):
        prepare.main()
    assert message in capsys.readouterr().err


def test_copies_that_are_missing_are_named_with_the_command_that_prepares_them(tmp_path):
    """Log-mel and encoder states."""
    data = {'dir': str(tmp_path), 'features': dataclasses.asdict(SPEC), 'resident': 'auto'}
    config = ConfigDict(data | {'upstream': ''})
    config.corpora = ('emodb_speed',)
    command = r'data_pipelines\.prepare emodb --speed 0\.86,0\.93,1\.08,1\.16 --source PATH --out'
    with pytest.raises(UserError, match=command):
        dataset.find_prepared_data(config)
    with pytest.raises(UserError, match=command):
        resolve_feature_name(tmp_path, ['emodb_speed'], 'whisper')
