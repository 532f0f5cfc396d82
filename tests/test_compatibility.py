"""What commit 718baaa wrote (tests/fixtures/718baaa) is read by the public commands of today."""

import csv
import hashlib
import importlib.metadata
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import jax.export
import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxser.runs import flatten

ROOT = Path(__file__).parent.parent
FIXTURE = ROOT / 'tests' / 'fixtures' / '718baaa'
CLASSES = ('angry', 'sad')
PACKED = 'logmel16-82587ca3.npz'
# The features as the names of their folders say them: rate, window, hop, bands, low, high, floor.
FEATURES = (16_000, 0.025, 0.01, 16, 20.0, 8_000.0, 1e-10)


def shards_name(librosa: str) -> str:
    """Returns the name of a shards folder: a hash of format, librosa's version and features."""
    identity = (3, librosa, FEATURES)
    return f'logmel16-{hashlib.sha256(repr(identity).encode()).hexdigest()[:8]}'


@pytest.fixture
def old(tmp_path) -> Path:
    """A copy of the fixture, whose shards carry the name that the installed librosa gives them.

    Shards made by another librosa are refused on purpose, as features may differ between its
    versions. What this file tests is the format, so the shards are renamed.
    """
    with tarfile.open(FIXTURE / 'made.tar.xz') as archive:
        archive.extractall(tmp_path, filter='data')
    corpus = tmp_path / 'data' / 'folder'
    made_by = corpus / shards_name('0.11.0')
    made_by.rename(corpus / shards_name(importlib.metadata.version('librosa')))
    return tmp_path


def run(folder: Path, module: str, *arguments: object) -> str:
    """Runs `python -m module` in `folder`; returns what it printed."""
    command = [sys.executable, '-m', module, *map(str, arguments)]
    options = {'env': os.environ | {'PYTHONPATH': str(ROOT)}, 'text': True, 'timeout': 300}
    done = subprocess.run(command, cwd=folder, capture_output=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def arrays(file: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of an .npz."""
    with np.load(file) as content:
        return dict(content)


def rows(text: str) -> list[dict[str, str]]:
    """Returns the rows of a CSV."""
    return list(csv.DictReader(io.StringIO(text)))


def predictions(workdir: Path) -> list[dict[str, str]]:
    """Returns the rows of predictions.csv."""
    return rows((workdir / 'predictions.csv').read_text())


def results(workdir: Path) -> dict:
    """Returns results.json."""
    return json.loads((workdir / 'results.json').read_text())


def posteriors(table: list[dict[str, str]]) -> np.ndarray:
    """Returns posterior_NxC of the rows of a CSV."""
    return np.array([[float(row[name]) for name in CLASSES] for row in table])


def test_a_finished_sweep_is_reported_and_compared(old):
    """results.json and predictions.csv are read: the tables hold the UAR of results.json."""
    stored = results(old / 'finished')['summary']
    run(old, 'jaxser.report', '--workdir', 'finished')
    summary = rows((old / 'finished' / 'summary.csv').read_text())
    assert [float(row['uar']) for row in summary] == [row['uar'] for row in stored]
    assert (old / 'finished' / 'report.html').stat().st_size > 100_000
    compared = run(old, 'jaxser.compare', 'finished')
    for row in stored:
        assert f'| {row["uar"]:.3f} |' in compared


def test_a_finished_sweep_is_not_trained_again(old):
    """Its configuration and data are recognised, from shards that are streamed."""
    shutil.rmtree(old / 'finished' / 'model')
    (old / 'data' / 'folder' / PACKED).unlink()
    said = run(
        old,
        'jaxser.main',
        f'--config={FIXTURE / "sweep.py"}',
        '--config.data.dir=data',
        '--config.data.resident=off',
        '--config.probe=False',
        '--workdir=finished',
    )
    assert 'Training is finished; still to do: saving the model' in said
    assert (old / 'finished' / 'model' / 'model.json').exists()


def test_a_model_predicts_and_is_exported(old):
    """The stored posteriors to 1e-6: by the model, by its export and by the exported program."""
    expected = rows((old / 'expected' / 'predict.csv').read_text())
    sounds = [row['file'] for row in expected]
    run(old, 'jaxser.export', '--workdir', 'finished', '--out', 'exported')
    for workdir in ('finished', 'exported'):
        said = rows(run(old, 'jaxser.predict', '--workdir', workdir, '--format', 'csv', *sounds))
        for key in ('file', 'part', 'start', 'end', 'emotion', 'error'):
            assert [row[key] for row in said] == [row[key] for row in expected]
        np.testing.assert_allclose(posteriors(said), posteriors(expected), atol=1e-6, rtol=0)
    program = jax.export.deserialize((old / 'exported' / 'posterior.stablehlo').read_bytes())
    stored = arrays(old / 'expected' / 'program.npz')
    posterior_BxC = program.call(stored['mel_BxTxM'], stored['frames_B'])
    np.testing.assert_allclose(posterior_BxC, stored['posterior_BxC'], atol=1e-6, rtol=0)


def test_a_model_is_bundled_again_from_its_checkpoint(old):
    """The same weights to the bit, and the same facts apart from versions and checksums.

    The configuration and the sizes have the keys that have been added since, too.
    """
    folder, before = old / 'finished' / 'model', old / 'before'
    folder.rename(before)
    run(old, 'jaxser.bundle', '--workdir', 'finished', '--data', 'data')
    now, was = (load_file(path / 'model.safetensors') for path in (folder, before))
    assert now.keys() == was.keys()
    for name, array in was.items():
        np.testing.assert_array_equal(now[name], array)
    now, was = (json.loads((path / 'model.json').read_text()) for path in (folder, before))
    assert now.keys() >= was.keys()
    for key in ('format', 'classes', 'runs', 'normalisation', 'data'):
        assert now[key] == was[key]
    for key in ('config', 'sizes'):
        assert flatten(now[key]).items() >= flatten(was[key]).items()


def test_a_finished_sweep_is_probed_again(old):
    """The representations of the checkpoint are the stored ones; every stored question is answered.

    The answers may differ, as today's attackers are others and have other test utterances.
    """
    file = old / 'finished' / 'representations.npz'
    before, stored = results(old / 'finished')['runs'], arrays(file)
    run(old, 'jaxser.probe', '--workdir', 'finished', '--data', 'data')
    after, measured = results(old / 'finished')['runs'], arrays(file)
    assert measured.keys() == stored.keys()
    for name, array in stored.items():
        if name.startswith('z_'):
            np.testing.assert_allclose(measured[name], array, atol=1e-5, rtol=0)
        else:
            np.testing.assert_array_equal(measured[name], array)
    for now, was in zip(after, before, strict=True):
        assert now['test'] == was['test']
        assert now['probe'].keys() >= was['probe'].keys()
        assert 'strongest' in now['probe']['speaker']  # not of the earlier probe
        assert now['refit']['speaker'] == pytest.approx(was['refit']['speaker'], abs=1e-3)


def test_an_interrupted_sweep_is_resumed(old):
    """From its checkpoint, over the .npz alone, to the predictions of the uninterrupted sweep.

    1e-5 on posteriors, and the same class for each utterance. On the machine that made the fixture
    the resumed sweep gave the same bits; another processor or XLA rounds otherwise.
    """
    data = old / 'data' / 'folder'
    shutil.rmtree(data / shards_name(importlib.metadata.version('librosa')))
    said = run(
        old,
        'jaxser.main',
        f'--config={FIXTURE / "sweep.py"}',
        '--config.data.dir=data',
        '--config.probe=False',
        '--workdir=interrupted',
    )
    assert 'Resuming after epoch 1 of 3' in said
    resumed, expected = predictions(old / 'interrupted'), predictions(old / 'finished')
    for key in ('run', 'fold', 'utterance', 'speaker', 'truth'):
        assert [row[key] for row in resumed] == [row[key] for row in expected]
    now, was = posteriors(resumed), posteriors(expected)
    np.testing.assert_array_equal(now.argmax(1), was.argmax(1))
    np.testing.assert_allclose(now, was, atol=1e-5, rtol=0)
    now, was = results(old / 'interrupted'), results(old / 'finished')
    assert now.keys() - was.keys() == {'steps', 'task', 'ratings'}
    # What the earlier version did not measure. The data of the fixture have no facts of the audio.
    assert {row['feature'] for row in now['audit'].pop('shortcuts')} == {'length'}
    assert {'sentence', 'codec', 'level'} <= now['audit'].pop('unmeasured').keys()
    assert now['audit'].pop('withheld')['utterances'] == [0, 0, 0]
    assert now['audit'].pop('separates_sentences') is False
    # The information by chance is the exact expectation today; it was a mean over 20 shuffles.
    for name, information in now['audit']['tells'].items():
        chance = was['audit']['tells'][name]['chance']
        assert information['chance'] == pytest.approx(chance, abs=0.05)
        information['chance'] = chance
    for key in ('protocol', 'method', 'classes', 'split_sha256', 'audit', 'folds', 'normalisation'):
        assert now[key] == was[key]
    for resumed_run, run_of_old in zip(now['runs'], was['runs'], strict=True):
        for key in ('hyper', 'status', 'epoch'):
            assert resumed_run[key] == run_of_old[key]


def test_shards_are_packed_as_they_were(old):
    """The .npz made of the old shards equals the old .npz, array by array, to the bit.

    The durations, which it did not have, come from the shards.
    """
    file = old / 'data' / 'folder' / PACKED
    file.rename(old / 'before.npz')
    run(old, 'data_pipelines.pack', 'folder', '--dir', 'data', '--bands', 16)
    now, was = arrays(file), arrays(old / 'before.npz')
    assert now.keys() - was.keys() == {'audio_facts_NxF'}
    for name, array in was.items():
        np.testing.assert_array_equal(now[name], array)
