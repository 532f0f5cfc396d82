"""Measures the seconds from the command to the first step, to --help, and to a refusal.

  python tests/benchmarks/startup.py [--data data]

The demo corpus must be prepared (python -m data_pipelines.prepare demo). The first training
compiles. The second finds everything in the compilation cache, the third streams the features, for
which TensorFlow is imported, and the fourth reads the packed corpus. Each is ended at its first
step and repeated; the median is printed. The packed corpus in --data is removed and made again.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from data_pipelines.features.log_mel import LogMel  # noqa: E402
from data_pipelines.storage import npz  # noqa: E402

CONFIG = '--config=configs/dann_demo.py'


def start_command(*arguments: str, cache: str) -> subprocess.Popen:
    """Starts jaxser.main; what it prints can be read."""
    return subprocess.Popen(
        [sys.executable, '-m', 'jaxser.main', *arguments],
        cwd=ROOT,
        env=os.environ | {'JAX_COMPILATION_CACHE_DIR': cache},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def seconds_to_first_step(
    data: Path, workdir: str, cache: str, *options: str, repeats: int
) -> float:
    """Trains the demo until its first step is printed, then ends it; returns the median seconds."""
    seconds = []
    for repeat in range(repeats):
        began = time.perf_counter()
        arguments = (CONFIG, f'--config.data.dir={data}', f'--workdir={workdir}_{repeat}', *options)
        with start_command(*arguments, cache=cache) as process:
            for line in process.stdout:
                if 'First step' in line:
                    seconds.append(time.perf_counter() - began)
                    process.kill()
        if len(seconds) == repeat:
            raise SystemExit(f'{" ".join(arguments)} ended before its first step.')
    return round(statistics.median(seconds), 2)


def seconds_to_end(*arguments: str, cache: str) -> float:
    """Returns the rounded seconds of a command."""
    began = time.perf_counter()
    start_command(*arguments, cache=cache).communicate()
    return round(time.perf_counter() - began, 2)


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data', default='data')
    parser.add_argument('--repeats', type=int, default=3, help='of what is cached')
    options = parser.parse_args()
    data = Path(options.data).absolute()
    pack = [sys.executable, '-m', 'data_pipelines.pack', 'demo', '--dir', str(data)]
    npz.npz_path(data, 'demo', LogMel()).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        cache = f'{folder}/xla'

        def first_step(name: str, *arguments: str, repeats: int = options.repeats) -> float:
            workdir = f'{folder}/{name}'
            return seconds_to_first_step(data, workdir, cache, *arguments, repeats=repeats)

        streaming = '--config.data.resident=off'
        wrong_method = '--config.sweep.method=dan'
        seconds = {
            'help': seconds_to_end('--help', cache=folder),
            'refusal_of_a_key': seconds_to_end(CONFIG, '--config.sweep.lma=0', cache=folder),
            'refusal_of_a_method': seconds_to_end(CONFIG, wrong_method, cache=folder),
            'first_step_cold': first_step('cold', repeats=1),
            'first_step_cached': first_step('cached'),
        }
        first_step('warming', streaming, repeats=1)
        seconds['first_step_cached_and_streamed'] = first_step('streamed', streaming)
        subprocess.run(pack, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        seconds['first_step_cached_and_packed'] = first_step('packed')
    versions = {name: importlib.metadata.version(name) for name in ('jax', 'tensorflow-cpu')}
    machine = f'{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs'
    versions['python'] = platform.python_version()
    print(json.dumps({'machine': machine, 'versions': versions, 'seconds': seconds}))


if __name__ == '__main__':
    main()
