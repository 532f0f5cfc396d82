"""The claims of configs/testbed.py that hold, one test each; written before any run, minutes long, hence slow."""

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
    """uar(spread, speakers, confounded, method, lam): the mean over the grid's seeds, of cells trained when asked for."""
    folder = tmp_path_factory.mktemp('testbed')

    @functools.cache
    def cell(spread: int, speakers: int, confounded: float) -> dict:
        workdir = folder / f'{spread}_{speakers}_{confounded}'
        keys = {'data.dir': folder / 'data', 'data.only': f'style=spread{spread}'}
        keys |= {'sweep.speakers': speakers, 'sweep.confounded': confounded}
        arguments = [f'--config.{k}={v}' for k, v in keys.items()]
        command = [
            sys.executable,
            '-m',
            'jaxser.main',
            '--config=configs/testbed.py',
            f'--workdir={workdir}',
            *arguments,
        ]
        subprocess.run(command, cwd=ROOT, check=True)
        summary = json.loads((workdir / 'results.json').read_text())['summary']
        return {(row['method'], row['lam']): row['uar'] for row in summary}

    return lambda spread, speakers, confounded, method, lam=None: cell(
        spread, speakers, confounded
    )[method, lam]


@pytest.mark.parametrize('lam', [0.3, 1.0])
def test_forgetting_does_nothing_where_speakers_differ_in_voice_alone(uar, lam):
    """Claim 2: within 0.03."""
    assert abs(uar(0, 24, 0.0, 'dann', lam) - uar(0, 24, 0.0, 'erm')) < 0.03


def test_forgetting_within_each_emotion_does_not_hurt_there(uar):
    """Claim 4: less than 0.03, and it is 0.03 better than forgetting whatever the emotion."""
    conditional = uar(1, 24, 0.9, 'cdann', 1.0)
    assert conditional > uar(1, 24, 0.9, 'erm') - 0.03
    assert conditional > uar(1, 24, 0.9, 'dann', 1.0) + 0.03
