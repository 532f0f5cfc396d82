"""Measures the host's work before the first step: seconds of each stage, and the largest memory.

  python tests/benchmarks/host.py [--sizes 200000 1000000] [--frames 20 5] [--data DIR]
                                  [--protocol official] [--folds 5] [--stages_only]

Each size is a stand-in of MSP-Podcast (stand_in.py) with so many utterances of so many frames. With
--data, it is the packed corpus in this folder, and the sizes are not used. The stages are measured
in one process, one after another, and the memory is the largest of that process so far. `audit`
includes the search for near-duplicates. Then `jaxser.main` runs up to its first step, with an empty
compilation cache and again with the compiled programs in it. Its examples have 20 frames, so that
the host is measured and not the network.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stand_in import write_stand_in

ROOT = Path(__file__).parent.parent.parent
CONFIG = 'configs/tu_dat_msp_podcast.py'
PACKAGES = ('numpy', 'jax', 'scikit-learn')
EXAMPLE_FRAMES = 20


class Stages:
    """The seconds of each stage of this process, and its largest memory after each."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self.peak_gib: dict[str, float] = {}

    def run(self, name: str, function, *arguments):
        """Runs a stage and returns its result."""
        start = time.perf_counter()
        result = function(*arguments)
        self.seconds[name] = round(time.perf_counter() - start, 2)
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.peak_gib[name] = round(peak_kib / 2**20, 2)
        return result


def measure_stages(options) -> dict:
    """Returns the seconds and the memory of each stage, in this process."""
    from configs import loading
    from data_pipelines.batching.table import ExampleTable
    from data_pipelines.protocols import audit, split
    from data_pipelines.protocols.protocol import Protocol
    from data_pipelines.storage import dataset
    from jaxser.configuration import resolve

    config = loading.load_config(ROOT / CONFIG)
    changes = {'data.dir': options.data, 'protocol.name': options.protocol}
    config.update_from_flattened_dict(changes | {'protocol.folds': options.folds})
    config = resolve.resolve_config(config, print)
    stages = Stages()
    data = dataset.find_prepared_data(config.data)
    utterances = stages.run('read', dataset.read_utterances, data)
    selected = stages.run('labels', split.select_from, config, utterances)
    del utterances
    divided = stages.run('split', split.divide, config, *selected)
    del selected
    arguments = (config.data.normalise, config.train.balanced)
    table = stages.run('table', ExampleTable, divided.utterances, divided.folds, *arguments)
    protocol = Protocol(**config.protocol)
    stages.run('audit', audit.inspect_folds, divided.utterances, divided.folds, protocol)
    stages.run('features', dataset.read_all_features, divided.utterances)
    return {
        'utterances': len(divided.utterances),
        'speakers': len(table.domains['speaker']),
        'folds': len(divided.folds),
        'seconds': stages.seconds,
        'peak_GiB': stages.peak_gib,
    }


def measure_first_step(options, cache: str) -> dict:
    """Returns the seconds from the command to its first step, and the largest memory until then.

    The command is stopped there.
    """
    with tempfile.TemporaryDirectory() as workdir:
        start = time.perf_counter()
        process = subprocess.Popen(
            [
                *(sys.executable, '-m', 'jaxser.main', f'--config={CONFIG}'),
                *(f'--config.data.dir={options.data}', f'--workdir={workdir}/sweep'),
                f'--config.data.frames={EXAMPLE_FRAMES}',
                f'--config.protocol.name={options.protocol}',
                f'--config.protocol.folds={options.folds}',
            ],
            cwd=ROOT,
            env=os.environ | {'JAX_COMPILATION_CACHE_DIR': cache, 'PYTHONUNBUFFERED': '1'},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        output = ''
        try:
            for line in process.stdout:
                output += line
                if 'First step' in line:
                    break
            else:
                sys.exit(f'{output}\njaxser.main ended before its first step: {process.wait()}')
            seconds = time.perf_counter() - start
            status = Path(f'/proc/{process.pid}/status').read_text()
        finally:
            process.kill()
            process.wait()
    peak_kib = int(re.search(r'VmHWM:\s+(\d+)', status).group(1))
    return {'seconds': round(seconds, 1), 'peak_GiB': round(peak_kib / 2**20, 2)}


def measure(options) -> None:
    """Prints one JSON object about the packed corpus in `options.data`."""
    arguments = ['--in_process', '--data', options.data]
    arguments += ['--protocol', options.protocol, '--folds', str(options.folds)]
    command = [sys.executable, __file__, *arguments]
    completed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    facts = json.loads(completed.stdout.splitlines()[-1])
    if not options.stages_only:
        with tempfile.TemporaryDirectory() as cache:
            facts['first_step'] = measure_first_step(options, cache)
            facts['first_step_compiled'] = measure_first_step(options, cache)
    print(json.dumps(facts), flush=True)


def main() -> None:
    """Parses the command line and prints the machine, then one JSON object for each size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--sizes', type=int, nargs='+', default=[200_000, 1_000_000])
    parser.add_argument('--frames', type=int, nargs='+', default=[20, 5])
    parser.add_argument('--data', help='measure the packed corpus in this data folder')
    parser.add_argument('--protocol', default='official')
    parser.add_argument('--folds', type=int, default=5)
    parser.add_argument('--stages_only', action='store_true', help='do not run jaxser.main')
    parser.add_argument('--in_process', action='store_true', help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.in_process:
        print(json.dumps(measure_stages(options)))
        return
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    machine = {'machine': platform.machine(), 'cores': os.cpu_count()}
    print(json.dumps(machine | {'python': platform.python_version()} | versions), flush=True)
    if options.data:
        measure(options)
        return
    for size, frames in zip(options.sizes, options.frames, strict=True):
        with tempfile.TemporaryDirectory() as folder:
            write_stand_in(folder, size, frames=frames)
            options.data = folder
            measure(options)


if __name__ == '__main__':
    main()
