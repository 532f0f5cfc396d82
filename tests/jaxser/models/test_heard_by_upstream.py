"""Models over a pretrained encoder, from sound to posterior: predicted, carried, named, exported."""

import contextlib
import csv
import io
import json
import os
import re
import shutil
import sys
from pathlib import Path

import jax
import numpy as np
import parity
import pytest
import soundfile
import tiny_config

import jaxser
from data_pipelines import batches, pack
from data_pipelines.prepare import prepare
from data_pipelines.refusal import Refusal
from data_pipelines.upstream import States
from jaxser import bundle, card, export, predict, train, upstream
from jaxser.workdir import Workdir

RATE = 16_000
LONGER = parity.CASES['whisper'] | {'max_source_positions': 600}  # 12 s
KINDS = {'whisper': ('whisper', 'pooled'), 'hubert': ('hubert base', 'pooled'), 'all': ('wavlm large', 'all')}


@pytest.fixture(scope='module', params=KINDS)
def swept(request, data, once) -> Path:
    """The workdir of a finished sweep over an upstream, which lies beside it, and the shards: two folds."""
    case, kept = KINDS[request.param]

    def make(path: Path) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setitem(parity.CASES, 'whisper', LONGER)
            (path / 'encoder').mkdir()
            parity.write(case, path / 'encoder')
        (path / 'encoder' / 'LICENSE.txt').write_text('As you like it.')
        prepare('folder', data.parent / 'list.csv', path / 'data', States.of(path / 'encoder', kept), workers=1)
        config = tiny_config.get_config()
        keys = {'dir': str(path / 'data'), 'upstream': case.split()[0]}
        config.update_from_flattened_dict({f'data.{k}': v for k, v in keys.items()})
        config.update_from_flattened_dict({'method': 'erm', 'model.name': 'layer_sum', 'train.epochs': 2})
        config.sweep.update(lam=(), fold=(0, 1), time_mask=(0.0,))
        train.run(config, path / 'w')
        bundle.run(path / 'w')

    return once(f'swept_over_{request.param}', make) / 'w'


@pytest.fixture
def whisper(swept, tmp_path) -> Path:
    """A copy of the workdir over Whisper, to be changed."""
    if 'whisper' not in str(swept):
        pytest.skip('once is enough')
    return shutil.copytree(swept.parent, tmp_path / 'copy') / 'w'


def sound(seconds: float) -> np.ndarray:
    """A tone with a tremolo, and some noise."""
    t = np.arange(round(seconds * RATE)) / RATE
    wave = np.sin(2 * np.pi * 190 * t) * (1 + np.sin(2 * np.pi * (12 * t - t**2 / 10)))
    return (0.2 * wave + 0.01 * np.random.default_rng(0).standard_normal(t.size)).astype(np.float32)


def close(a: dict, b: dict, tolerance: float = 1e-3) -> None:
    assert a['posterior'] == pytest.approx(b['posterior'], abs=tolerance)


def test_a_tested_utterance_has_the_posterior_of_predictions_csv(swept, data):
    """By its own fold's run, but for the temperature: a state may be rounded to the next number of 16 bits."""
    whole, rows = bundle.read(swept), list(csv.DictReader((swept / 'predictions.csv').read_text().splitlines()))
    _, encoder = bundle.encoder(swept, whole.facts)
    count, said = 0, []
    for n, run in enumerate(whole.facts['runs']):
        alone = bundle.Model(whole.facts, jax.tree.map(lambda x, n=n: x[n : n + 1], whole.arrays))
        alone = predict.Predictor(alone, encoder=encoder)
        mine = [r for r in rows if int(r['fold']) == run['fold']]
        for row, answer in zip(mine, alone.files(data.parent / r['utterance'] for r in mine), strict=True):
            raw_C = np.array([float(row[c]) for c in alone.classes])
            want_C = bundle.tempered(raw_C, whole.facts['calibration']['temperature'])
            np.testing.assert_allclose([answer['posterior'][c] for c in alone.classes], want_C, atol=1e-3)
            said.append(answer['posterior'][alone.classes[0]])
            count += 1
    assert count == 32
    assert np.ptp(said) > 0.02  # they are answers to what was heard
