"""Measures what a probe adds to the time of a training, and the peak memory.

  python tests/benchmarks/probe.py small             2,474 utterances of 65 speakers, 8 runs
  python tests/benchmarks/probe.py large             200,000 utterances of 1,500 speakers, one run
  python tests/benchmarks/probe.py whisper_emodb --data data        all runs of the configuration
  python tests/benchmarks/probe.py whisper_ravdess --data data

`small` and `large` are stand-ins of MSP-Podcast (stand_in.py) with the network of
configs/tu_dat_msp_podcast.py, trained for one epoch on examples of 20 frames. The other two need
the corpora, prepared as in the header of their configurations with `--states pooled`. Further flags
are given to the training, e.g. --config.sweep.seed=0, for a third of the runs.

The training runs twice, each time with an empty compilation cache: without the probe and with it.
The difference is what the probe adds, including its compilation and the page's sections about its
answers. Other programs change the processor time less than the seconds. `leakage` has
the means over the runs, to compare two versions of the attackers.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stand_in import write_stand_in

ROOT = Path(__file__).parent.parent.parent
TIMES = ('seconds', 'processor_seconds')
PACKAGES = ('jax', 'numpy', 'scipy')
STAND_INS = {
    'small': {'utterances': 2_474, 'speakers': 65},
    'large': {'utterances': 200_000, 'speakers': 1_500},
}
TRAINING_FLAGS = ['--config.train.epochs=1', '--config.data.frames=20']  # on a stand-in
STAND_IN_FLAGS = {
    'small': ['--config.sweep.lam=0,0.3', '--config.sweep.seed=0,1,2,3'],
    'large': ['--config.sweep.lam=0.3,', '--config.sweep.seed=0,'],
}


def train(arguments: list[str], workdir: Path, with_probe: bool) -> dict:
    """Trains in a new workdir; returns the seconds, the processor time and the peak memory."""
    began = time.perf_counter()
    flags = [*arguments, f'--workdir={workdir}', f'--config.probe={with_probe}']
    process = subprocess.Popen(
        [sys.executable, '-m', 'jaxser.main', *flags],
        cwd=ROOT,
        env=os.environ | {'JAX_COMPILATION_CACHE_DIR': f'{workdir}_xla'},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f'training in {workdir} failed')
    return {
        'seconds': round(time.perf_counter() - began, 1),
        'processor_seconds': round(usage.ru_utime + usage.ru_stime, 1),
        'peak_gib': round(usage.ru_maxrss / 2**20, 2),
    }


def mean_leakage(runs: list[dict]) -> dict:
    """Returns {question: {figure: mean over the runs}}."""
    from jaxser.analysis.leakage import average_probe

    averages, _ = average_probe([run['probe'] for run in runs if run['probe']])
    keys = ('linear', 'mlp', 'rbf', 'knn', 'bits', 'classes', 'n', 'eer', 'lda_eer')
    means = {}
    for question, average in averages.items():
        means[question] = {key: round(average[key], 4) for key in keys if key in average}
    return means


def measure(case: str, data: str, flags: list[str]) -> dict:
    """Trains without and with the probe; returns what both took."""
    with tempfile.TemporaryDirectory() as folder:
        if case in STAND_INS:
            config = 'tu_dat_msp_podcast'
            flags = [*TRAINING_FLAGS, *STAND_IN_FLAGS[case], *flags]
            if not data:
                data = f'{folder}/data'
                write_stand_in(data, **STAND_INS[case])
        else:
            config = case
        arguments = [f'--config=configs/{config}.py', f'--config.data.dir={data or "data"}', *flags]
        without = train(arguments, Path(folder, 'without'), with_probe=False)
        with_probe = train(arguments, Path(folder, 'with'), with_probe=True)
        results = json.loads(Path(folder, 'with', 'results.json').read_text())
    runs = results['runs']
    cost = {key: round(with_probe[key] - without[key], 1) for key in TIMES}
    return {
        'case': case,
        'runs': len(runs),
        'without_probe': without,
        'with_probe': with_probe,
        'probe': cost,
        'probe_seconds_per_run': round(cost['seconds'] / len(runs), 2),
        'probe_of_training': {key: round(cost[key] / without[key], 2) for key in TIMES},
        'leakage': mean_leakage(runs),
    }


def main() -> None:
    """Prints one JSON object: the machine, the versions and what was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('case', choices=[*STAND_INS, 'whisper_emodb', 'whisper_ravdess'])
    parser.add_argument('--data', default='', help='data folder (default: a new stand-in, or data)')
    options, flags = parser.parse_known_args()
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    versions['python'] = platform.python_version()
    machine = f'{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs'
    measured = measure(options.case, options.data, flags)
    print(json.dumps({'machine': machine, 'versions': versions} | measured))


if __name__ == '__main__':
    main()
