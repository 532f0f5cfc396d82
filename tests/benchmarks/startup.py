"""Measures the seconds from the command to the first step, to --help, and to a refusal.

  python tests/benchmarks/startup.py [--data data]

The demo corpus must be prepared (python -m data_pipelines.prepare demo). The first training
compiles. The second finds everything in the compilation cache. The third also reads the packed
corpus, so that TensorFlow is not imported.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CONFIG = '--config=configs/dann_demo.py'


def run_command(*arguments: str, cache: str) -> tuple[float, str]:
    """Runs jaxser.main; returns its seconds and its output."""
    began = time.perf_counter()
    completed = subprocess.run(
        [sys.executable, '-m', 'jaxser.main', *arguments],
        cwd=ROOT,
        env=os.environ | {'JAX_COMPILATION_CACHE_DIR': cache},
        capture_output=True,
        text=True,
        check=False,
    )
    return time.perf_counter() - began, completed.stdout + completed.stderr


def seconds_to_first_step(data: Path, workdir: str, cache: str) -> float:
    """Trains the demo for one epoch; returns what it prints as the time of the first step."""
    _, output = run_command(
        CONFIG,
        f'--config.data.dir={data}',
        '--config.train.epochs=1',
        f'--workdir={workdir}',
        cache=cache,
    )
    return float(re.search(r'First step ([\d.]+) s', output).group(1))


def seconds_to_end(*arguments: str, cache: str) -> float:
    """Returns the rounded seconds of a command."""
    seconds, _ = run_command(*arguments, cache=cache)
    return round(seconds, 2)


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data', default='data')
    data = Path(parser.parse_args().data).absolute()
    pack = [sys.executable, '-m', 'data_pipelines.pack', 'demo', '--dir', str(data)]
    with tempfile.TemporaryDirectory() as folder:
        cache = f'{folder}/xla'
        seconds = {
            'help': seconds_to_end('--help', cache=folder),
            'refusal_of_a_key': seconds_to_end(CONFIG, '--config.sweep.lma=0', cache=folder),
            'refusal_of_a_method': seconds_to_end(CONFIG, '--config.method=dan', cache=folder),
            'first_step_cold': seconds_to_first_step(data, f'{folder}/cold', cache),
            'first_step_cached': seconds_to_first_step(data, f'{folder}/cached', cache),
        }
        subprocess.run(pack, cwd=ROOT, check=True)
        seconds['first_step_cached_and_packed'] = seconds_to_first_step(
            data, f'{folder}/packed', cache
        )
    print(json.dumps({'seconds': seconds}))


if __name__ == '__main__':
    main()
