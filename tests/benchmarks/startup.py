"""Seconds from the command to the first step, to --help, and to a refusal.

  python tests/benchmarks/startup.py [--data data]

The demo corpus must be prepared (python -m data_pipelines.prepare demo). The first time compiles; the second finds everything in
the compilation cache; the third reads the packed corpus too, so that TensorFlow is not imported.
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


def command(*arguments: str, cache: str) -> tuple[float, str]:
    """Seconds, and what was said."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, '-m', 'jaxser.main', *arguments],
        cwd=ROOT,
        env={**os.environ, 'JAX_COMPILATION_CACHE_DIR': cache},
        capture_output=True,
        text=True,
        check=False,
    )
    return time.perf_counter() - began, done.stdout + done.stderr


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data', default='data')
    data = Path(parser.parse_args().data).absolute()
    demo = ('--config=configs/dann_demo.py', f'--config.data.dir={data}', '--config.train.epochs=1')
    with tempfile.TemporaryDirectory() as place:

        def first_step(name: str) -> float:
            said = command(*demo, f'--workdir={place}/{name}', cache=f'{place}/xla')[1]
            return float(re.search(r'First step ([\d.]+) s', said).group(1))

        seconds = {
            'help': round(command('--help', cache=place)[0], 2),
            'refusal_of_a_key': round(command(demo[0], '--config.sweep.lma=0', cache=place)[0], 2),
            'refusal_of_a_method': round(
                command(demo[0], '--config.method=dan', cache=place)[0], 2
            ),
            'first_step_cold': first_step('cold'),
            'first_step_cached': first_step('cached'),
        }
        subprocess.run(
            [sys.executable, '-m', 'data_pipelines.pack', 'demo', '--dir', str(data)],
            cwd=ROOT,
            check=True,
        )
        seconds['first_step_cached_and_packed'] = first_step('packed')
    print(json.dumps({'seconds': seconds}))


if __name__ == '__main__':
    main()
