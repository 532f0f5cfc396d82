"""Tests the claims of configs/testbed.py that hold, one test each.

The claims were written before any run. Each test takes minutes and is therefore slow.
"""

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def uar(tmp_path_factory):
    """Returns uar(spread, speakers, confounded, method, lam): the mean over the grid's seeds.

    A cell of the grid is trained when a test first needs it.
    """
    folder = tmp_path_factory.mktemp('testbed')

    @functools.cache
    def train_cell(spread: int, speakers: int, confounded: float) -> dict:
        workdir = folder / f'{spread}_{speakers}_{confounded}'
        command = [
            sys.executable,
            '-m',
            'jaxser.main',
            '--config=configs/testbed.py',
            f'--workdir={workdir}',
            f'--config.data.dir={folder / "data"}',
            f'--config.data.only=style=spread{spread}',
            f'--config.sweep.speakers={speakers}',
            f'--config.sweep.confounded={confounded}',
        ]
        subprocess.run(command, cwd=ROOT, check=True)
        summary = json.loads((workdir / 'results.json').read_text())['summary']
        return {(row['method'], row['lam']): row['uar'] for row in summary}

    def read_uar(
        spread: int, speakers: int, confounded: float, method: str, lam: float | None = None
    ) -> float:
        return train_cell(spread, speakers, confounded)[method, lam]

    return read_uar


@pytest.mark.parametrize('lam', [0.3, 1.0])
def test_an_adversary_changes_nothing_if_speakers_differ_only_in_voice(uar, lam):
    """Claim 2: the UAR changes by less than 0.03."""
    assert abs(uar(0, 24, 0.0, 'dann', lam) - uar(0, 24, 0.0, 'erm')) < 0.03


def test_a_class_conditional_adversary_does_not_hurt_if_emotion_and_speaker_are_tied(uar):
    """Claim 4: it loses less than 0.03, and it is 0.03 better than the unconditional one."""
    conditional = uar(1, 24, 0.9, 'cdann', 1.0)
    assert conditional > uar(1, 24, 0.9, 'erm') - 0.03
    assert conditional > uar(1, 24, 0.9, 'dann', 1.0) + 0.03
