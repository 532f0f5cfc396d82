"""From a tree to shards: nothing is lost, nothing half-written looks whole, and the shards hold what was computed."""

import csv
import dataclasses
import errno
import importlib.metadata
import json
import os
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

from data_pipelines import corpora, prepare
from data_pipelines.errors import UserError
from data_pipelines.features import log_mel
from data_pipelines.features.decode import Rejection
from data_pipelines.features.log_mel import LogMel
from data_pipelines.storage import dataset, preparation, schema, workers
from data_pipelines.storage.prepared import RECORD_FILE, find_dataset, read_record

pytestmark = pytest.mark.filterwarnings(
    'default'
)  # TensorFlow and TFDS have deprecations of their own
SPEC = LogMel()
COMMAND = (sys.executable, '-m', 'data_pipelines.prepare')
DAMAGED = {'03b10Wa': 'truncated', '08b10Wb': 'empty', '11b10Ta': 'NaN'}


def speech(path: Path, seed: int, seconds: float = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(
        path,
        np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * 16_000)),
        16_000,
        subtype='FLOAT',
    )


@pytest.fixture(scope='module')
def tree(tmp_path_factory) -> Path:
    """EMO-DB in small: 24 utterances, of which three are damaged."""
    root = tmp_path_factory.mktemp('emodb')
    names = [
        f'{s}{t}{e}' for s in ('03', '08', '11') for t in ('a01', 'b02') for e in ('Wa', 'Fb', 'Nc')
    ]
    names += ['03b10Wa', '08b10Wb', '11b10Ta', '16a05La', '16a05Ea', '16a05Aa']
    for seed, name in enumerate(names):
        speech(root / 'wav' / f'{name}.wav', seed, 0.3 + 0.02 * seed)
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
    """What a process that knows nothing of this project reads: arrays by utterance, in the order of the shards."""
    script = (
        'import sys; import numpy as np; import tensorflow_datasets as tfds\n'
        'd = list(tfds.as_numpy(tfds.load(sys.argv[1], data_dir=sys.argv[2], split="utterances", shuffle_files=False)))\n'
        'assert not [m for m in sys.modules if m.startswith("data_pipelines")]\n'
        'np.savez(sys.argv[3], *[np.array(e, dtype=object) for e in d])\n'
    )
    file = tmp_path_factory.mktemp('loaded') / 'd.npz'
    subprocess.run(
        [sys.executable, '-c', script, f'emodb/{SPEC.name}', prepared.parents[2], file],
        check=True,
        cwd=file.parent,
    )
    with np.load(file, allow_pickle=True) as arrays:
        return {e['utterance'].decode(): e for e in (a.item() for a in arrays.values())}


def rows(path: Path) -> list[dict]:
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def tool(*arguments, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, **kwargs
    )


def test_accepted_and_rejected_are_all_that_was_walked(prepared, tree):
    walked = {u.name for u in corpora.load_corpus('emodb').walk(tree)}
    accepted, rejected = rows(prepared / 'utterances.csv'), rows(prepared / 'rejected.csv')
    assert sorted(walked) == sorted(r['utterance'] for r in accepted + rejected)
    assert len(walked) == 24
    assert {r['utterance']: r['reason'].split(':')[0].split()[0] for r in rejected} == DAMAGED
    assert all(Path(r['path']).exists() for r in rejected)
    record = json.loads((prepared / 'prepared.json').read_text())
    assert (record['accepted'], record['rejected']) == (21, 3)


def test_the_shards_carry_their_own_description(prepared):
    info = json.loads((prepared / 'dataset_info.json').read_text())
    assert (info['name'], info['configName'], info['version']) == ('emodb', SPEC.name, '1.0.0')
    assert [s['name'] for s in info['splits']] == ['utterances']
    assert (prepared / 'features.json').exists()
    assert str(prepared).endswith(f'emodb/{SPEC.name}/1.0.0')


def test_tfds_load_gives_back_the_features_to_the_bit_in_the_order_of_the_walk(loaded, tree):
    walked = [u for u in corpora.load_corpus('emodb').walk(tree) if u.name not in DAMAGED]
    assert list(loaded) == [u.name for u in walked]
    with threadpoolctl.threadpool_limits(1):
        computed = [log_mel.compute_features(u, SPEC) for u in walked]
    for u, features in zip(walked, computed):
        example = loaded[u.name]
        assert example['mel_TxM'].dtype == np.float16
        assert example['sha256'].decode() == features.pop('sha256')
        for key, value in features.items():
            np.testing.assert_array_equal(example[key], np.asarray(value, example[key].dtype))
        for key, value in schema.label_columns(u).items():
            found = example[key].decode() if isinstance(value, str) else example[key]
            np.testing.assert_array_equal(found, value)


def test_float16_is_stored_as_two_bytes(prepared):
    frames = sum(int(r['frames']) for r in rows(prepared / 'utterances.csv'))
    size = sum(p.stat().st_size for p in prepared.glob('*.tfrecord*'))
    assert size < frames * SPEC.bands * 2 + 21 * 2600


def test_what_is_prepared_is_found_without_tensorflow_and_not_prepared_again(prepared, tree):
    out = prepared.parents[2]
    script = 'import sys; from pathlib import Path; from data_pipelines.features.log_mel import LogMel; from data_pipelines.storage.prepared import find_dataset; print(find_dataset(sys.argv[1], "emodb", LogMel()))'
    script += '; assert not {"tensorflow", "librosa", "jax"} & set(sys.modules)'
    found = subprocess.run(
        [sys.executable, '-c', script, out], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == str(prepared)
    before = (prepared / 'dataset_info.json').stat().st_mtime_ns
    again = tool('emodb', '--source', tree, '--out', out)
    assert (again.returncode, again.stderr) == (0, '')
    assert f'already prepared: {prepared}' in again.stdout
    assert (prepared / 'dataset_info.json').stat().st_mtime_ns == before
    assert find_dataset(out, 'emodb', LogMel(bands=40)) is None


def test_what_another_librosa_prepared_is_said_to_be_that(prepared, monkeypatch):
    """Rather than that nothing is prepared; other features are no matter of librosa's."""
    out, real = prepared.parents[2], importlib.metadata.version
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
    assert dataset.find_datasets(config) == [prepared]
    monkeypatch.setattr(
        importlib.metadata,
        'version',
        lambda package: '99.0' if package == 'librosa' else real(package),
    )
    with pytest.raises(
        UserError,
        match=rf'EMO-DB was prepared with librosa {real("librosa")} .*{prepared}.* this is librosa 99\.0',
    ):
        dataset.find_datasets(config)
    config.features = dataclasses.asdict(LogMel(bands=40))
    with pytest.raises(UserError, match='EMO-DB is not prepared'):
        dataset.find_datasets(config)


def test_another_source_is_not_passed_off_as_the_prepared_one(prepared, tmp_path):
    speech(tmp_path / '03a01Fa.wav', 0)
    with pytest.raises(UserError, match='lists other utterances'):
        preparation.prepare_corpus('emodb', tmp_path, prepared.parents[2], SPEC, allow_partial=True)


@pytest.mark.parametrize('content', ['{', '{}', '[1]'])
def test_a_damaged_record_is_refused_by_name(prepared, tmp_path, tree, content):
    """By the same command again, and where training looks for the data."""
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


def test_a_kill_leaves_nothing_that_looks_whole_and_the_same_command_mends_it(tree, tmp_path):
    command = [
        *COMMAND,
        'emodb',
        '--source',
        tree,
        '--out',
        tmp_path,
        '--allow_partial',
        '--workers',
        '1',
    ]
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
    assert [p.name for p in tmp_path.iterdir()] == ['emodb']  # what the killed process left is gone


def test_a_worker_that_dies_costs_no_utterance(tree):
    utterances = [u for u in corpora.load_corpus('emodb').walk(tree) if u.name not in DAMAGED]
    with workers.run_workers(utterances, SPEC, 1) as results:
        first = next(results)
        children = Path(f'/proc/self/task/{os.getpid()}/children')
        if not children.exists():
            pytest.skip('no /proc that lists child processes')
        for pid in children.read_text().split():
            if b'spawn_main' in Path(f'/proc/{pid}/cmdline').read_bytes():
                os.kill(int(pid), signal.SIGKILL)
        rest = list(results)
    assert [u for u, _ in [first, *rest]] == utterances
    assert not [r for _, r in [first, *rest] if isinstance(r, Rejection)]


def test_wrong_counts_are_refused_before_anything_is_decoded(tree, tmp_path):
    start = time.time()
    refused = tool('emodb', '--source', tree, '--out', tmp_path / 'data')
    assert refused.returncode == 2
    assert 'angry: expected 127, found' in refused.stderr
    assert 'bored: expected 81, found 1' in refused.stderr
    assert 'Traceback' not in refused.stderr
    assert time.time() - start < 10  # about 0.3 s on an idle machine: TensorFlow alone takes longer
    assert not (tmp_path / 'data').exists()


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (('emo', '--source', '.'), "no corpus 'emo'; expected one of"),
        (('emodb',), 'The files of EMO-DB are needed: name their folder with --source PATH'),
        (('emodb', '--source', 'nowhere'), 'nowhere is not a folder'),
        (('folder', '--source', 'nowhere.csv'), 'nowhere.csv is not a file'),
        (('emodb', '--source', '.', '--high', '9000'), 'expected 0 <= low < high <= 8000'),
        (('emodb', '--source', '.', '--workers', '0'), 'expected 1 or more'),
    ],
)
def test_a_mistake_ends_in_a_sentence(arguments, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['prepare', *arguments])
    with pytest.raises(SystemExit) as end:
        prepare.main()
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_help_lists_the_options_of_the_features(capsys, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['prepare', '--help'])
    with pytest.raises(SystemExit, match='0'):
        prepare.main()
    text = capsys.readouterr().out
    assert all(
        f'--{name}' in text
        for name in (
            'source',
            'out',
            'allow_partial',
            'workers',
            'bands',
            'window',
            'hop',
            'low',
            'high',
        )
    )


def test_a_corpus_of_which_nothing_can_be_used_is_refused(tmp_path):
    (tmp_path / '03a01Fa.wav').write_bytes(b'')
    with pytest.raises(
        UserError,
        match=r'None of the 1 utterances can be used; the first, .*03a01Fa\.wav, is empty',
    ):
        preparation.prepare_corpus(
            'emodb', tmp_path, tmp_path / 'data', SPEC, allow_partial=True, workers=1
        )
    assert list((tmp_path / 'data').iterdir()) == []


def test_the_same_utterance_twice_is_refused_with_both_places(tmp_path):
    """As in copies of RAVDESS that hold all of it twice."""
    speech(tmp_path / 'wav/03a01Fa.wav', 0)
    speech(tmp_path / 'copy/03a01Fa.wav', 0)
    with pytest.raises(
        UserError, match=r'03a01Fa twice: .*copy/03a01Fa\.wav and .*wav/03a01Fa\.wav'
    ):
        preparation.prepare_corpus('emodb', tmp_path, tmp_path / 'data', SPEC, allow_partial=True)


def test_a_folder_of_ones_own_is_prepared_by_segments(tmp_path):
    speech(tmp_path / 'a.wav', 0, 2.0)
    (tmp_path / 'list.csv').write_text(
        'path,speaker,emotion,start,end\na.wav,1,sad,0,1\na.wav,2,happy,1,2\nb.wav,2,happy,,\n'
    )
    home = preparation.prepare_corpus(
        'folder', tmp_path / 'list.csv', tmp_path / 'data', SPEC, workers=1
    )
    assert [(r['utterance'], r['seconds'], r['corpus']) for r in rows(home / 'utterances.csv')] == [
        ('a.wav#0-1', '1.0', 'folder'),
        ('a.wav#1-2', '1.0', 'folder'),
    ]
    assert [(r['utterance'], r['reason']) for r in rows(home / 'rejected.csv')] == [
        ('b.wav', 'missing')
    ]


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tree, tmp_path, monkeypatch):
    """TensorFlow has its own error for it, and TFDS wraps that."""
    from tensorflow_datasets.core import file_adapters

    def full(path, examples):
        raise tf.errors.ResourceExhaustedError(None, None, f'{path}; No space left on device')

    tf = pytest.importorskip('tensorflow')
    monkeypatch.setattr(file_adapters.TfRecordFileAdapter, 'write_examples', full)
    with pytest.raises(UserError, match=f'{os.strerror(errno.ENOSPC)}.*another --out'):
        preparation.prepare_corpus('emodb', tree, tmp_path, SPEC, allow_partial=True, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_no_permission_to_write_is_a_sentence(tree, tmp_path):
    out = tmp_path / 'locked'
    out.mkdir(mode=0o500)
    if os.access(out, os.W_OK):
        pytest.skip('root may write everywhere')
    with pytest.raises(UserError, match='Permission denied'):
        preparation.prepare_corpus('emodb', tree, out, SPEC, allow_partial=True, workers=1)


def test_the_command_needs_no_jax_and_prints_what_was_accepted_and_why_the_rest_was_not(
    tree, tmp_path
):
    """TensorFlow imports jax where there is one, so that is hidden: what else imported it would fail."""
    script = (
        'import sys; sys.modules["jax"] = None\n'
        'from data_pipelines import prepare\n'
        'if __name__ == "__main__":\n'
        '    prepare.main()\n'
    )
    options = ['emodb', '--source', tree, '--out', tmp_path, '--allow_partial', '--bands', '40']
    done = subprocess.run([sys.executable, '-c', script, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'accepted' in done.stdout
    assert '4 speakers' in done.stdout
    home = find_dataset(tmp_path, 'emodb', LogMel(bands=40))
    assert all(f'{r["path"]}: {r["reason"]}' in done.stdout for r in rows(home / 'rejected.csv'))
    assert 'WARNING' not in done.stderr  # the progress bar is all there is
