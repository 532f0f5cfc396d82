"""Prepares a corpus on a local Dask cluster, also while a worker is killed, and compares the files.

  python tests/benchmarks/dask_workers.py [NAME --source PATH] [--utterances 4000] [--seconds 4]

Without NAME, it prepares a folder of noise. The scheduler and each worker are processes of their
own. All files of the data sets are compared to the bit with those of `prepare` without Dask. One
worker is killed (SIGKILL) in the middle of the last run. `writer_seconds` is the processor time of
the process that writes: how many workers one writer can serve.
"""

import argparse
import contextlib
import csv
import filecmp
import json
import os
import platform
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent.parent


class Source(NamedTuple):
    """What is prepared."""

    name: str
    path: Path


def write_noise(folder: Path, utterances: int, seconds: float) -> Source:
    """Writes a folder of utterances of noise, one file in 500 empty, and its list."""
    import numpy as np
    import soundfile

    random = np.random.default_rng(0)
    file = folder / 'list.csv'
    with file.open('w', newline='') as stream:
        rows = csv.writer(stream)
        rows.writerow(('path', 'emotion', 'speaker', 'language'))
        for n in range(utterances):
            path = folder / f'{n:07d}.wav'
            if n % 500 == 499:
                path.write_bytes(b'')
            else:
                length = round(16_000 * seconds * random.uniform(0.5, 1.5))
                soundfile.write(path, random.uniform(-0.5, 0.5, length), 16_000)
            rows.writerow((path.name, ('angry', 'sad')[n % 2], f's{n % 50}', 'en'))
    return Source('folder', file)


def measure(source: Source, out: Path, **options) -> dict:
    """Prepares the source; returns the seconds in total, and of this process's processor time."""
    from data_pipelines.storage.preparation import prepare_corpus

    began = time.perf_counter()
    processor_began = time.process_time()
    with contextlib.redirect_stdout(sys.stderr):
        prepare_corpus(source.name, source.path, out, allow_partial=True, **options)
    return {
        'seconds': round(time.perf_counter() - began, 1),
        'writer_seconds': round(time.process_time() - processor_began, 1),
    }


def measure_dask(source: Source, folder: Path, workers: int, kill_after: float | None) -> dict:
    """Prepares the source on a cluster; kills one worker after `kill_after` seconds, if given."""
    from helpers.dask_cluster import start_cluster, worker_processes

    folder.mkdir()
    with start_cluster(folder, workers) as scheduler:
        before = worker_processes(scheduler)
        timer = None
        if kill_after is not None:
            timer = threading.Timer(kill_after, os.kill, (before[0], signal.SIGKILL))
            timer.start()
        result = measure(source, folder / 'data', dask=scheduler)
        if timer:
            timer.cancel()
            result['killed_after'] = round(kill_after, 1)
            result['workers_lost'] = len(set(before) - set(worker_processes(scheduler)))
    return result


def same_files(folder: Path, other: Path) -> bool:
    """Returns whether both folders have the same files, equal to the bit."""
    names = sorted(p.relative_to(folder) for p in folder.rglob('*') if p.is_file())
    other_names = sorted(p.relative_to(other) for p in other.rglob('*') if p.is_file())
    _, different, failed = filecmp.cmpfiles(folder, other, names, shallow=False)
    return names == other_names and not different and not failed


def measure_all(source: Source, folder: Path) -> dict:
    """Prepares the source with and without Dask; returns the measurements of each."""
    runs = {}
    for workers in (1, 2):
        out = folder / f'processes-{workers}'
        runs[f'processes_{workers}'] = measure(source, out, workers=workers)
    for workers in (1, 2):
        runs[f'dask_{workers}'] = measure_dask(source, folder / f'dask-{workers}', workers, None)
    kill_after = runs['dask_2']['seconds'] / 2
    runs['dask_2_one_killed'] = measure_dask(source, folder / 'dask-killed', 2, kill_after)
    for name, data in (
        ('processes_2', 'processes-2'),
        ('dask_1', 'dask-1/data'),
        ('dask_2', 'dask-2/data'),
        ('dask_2_one_killed', 'dask-killed/data'),
    ):
        runs[name]['same_files'] = same_files(folder / 'processes-1', folder / data)
    return runs


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('name', metavar='NAME', nargs='?', help='a corpus; noise without')
    parser.add_argument('--source', type=Path)
    parser.add_argument('--utterances', type=int, default=4000)
    parser.add_argument('--seconds', type=float, default=4.0, help='their mean length')
    return parser


def main() -> None:
    """Parses the command line and prints one JSON object."""
    options = make_parser().parse_args()
    sys.path[:0] = [str(TESTS.parent), str(TESTS)]
    import distributed
    import numpy as np

    from data_pipelines.storage import schema

    schema.check_tensorflow()  # imported before anything is timed
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        source = Source(options.name, options.source)
        if not options.name:
            source = write_noise(folder, options.utterances, options.seconds)
        runs = measure_all(source, folder)
    facts = {
        'source': options.name or f'{options.utterances} utterances of {options.seconds:g} s',
        'runs': runs,
        'cores': os.cpu_count(),
        'python': platform.python_version(),
        'distributed': distributed.__version__,
        'numpy': np.__version__,
        'load': os.getloadavg()[0],
    }
    print(json.dumps(facts))


if __name__ == '__main__':
    main()
