"""Tests what training achieves, on the demo and on real speech in $JAXSER_SHARED/corpora.

Each test takes minutes and is therefore slow.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from data_pipelines.features.log_mel import LogMel
from data_pipelines.storage.preparation import prepare_corpus

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


def train(config: str, workdir: Path, *arguments: str) -> dict:
    """Trains a sweep with the public command and returns its results.json."""
    command = [
        sys.executable,
        '-m',
        'jaxser.main',
        f'--config=configs/{config}.py',
        f'--workdir={workdir}',
        *arguments,
    ]
    subprocess.run(command, cwd=ROOT, check=True)
    return json.loads((workdir / 'results.json').read_text())


def test_the_demo_learns(tmp_path):
    """The README's first command reaches a UAR well above chance (0.25) on unseen speakers."""
    results = train('dann_demo', tmp_path / 'run', f'--config.data.dir={tmp_path}/data')
    assert [row['method'] for row in results['summary']] == ['erm', 'dann', 'similarity']
    assert all(row['uar'] > 0.5 for row in results['summary'])
    assert results['synthetic']


@pytest.mark.parametrize(('corpus', 'reference'), [('emodb', 0.666), ('ravdess', 0.365)])
def test_plain_training_is_a_fair_baseline_on_real_speech(corpus, reference, tmp_path):
    """Training at lam = 0 reaches the UAR of a PyTorch TDNN-LSTM under the same protocol.

    The protocol has 5 speaker-disjoint folds; here one seed is trained.
    """
    source = Path(os.environ.get('JAXSER_SHARED', '')) / 'corpora' / corpus
    if not os.environ.get('JAXSER_SHARED') or not source.is_dir():
        pytest.skip(f'{corpus} was not found: set JAXSER_SHARED to a folder with corpora/{corpus}')
    prepare_corpus(corpus, source, tmp_path / 'data', LogMel(), allow_partial=True)
    results = train(
        f'dann_{corpus}',
        tmp_path / 'run',
        f'--config.data.dir={tmp_path}/data',
        '--config.sweep.lam=0',
        '--config.sweep.seed=0',
    )
    assert results['summary'][0]['uar_folds'] > reference
