"""Measures how the time of a run-step grows with runs, frames and simulated devices.

  python tests/benchmarks/scale.py [--width 64]

Each row is a process of step.py without PyTorch. Simulated devices share the cores of one machine.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

DEFAULTS = {'runs': 4, 'frames': 300, 'devices': os.cpu_count()}
ROWS = [
    {'runs': 1},
    {'runs': 2},
    {'runs': 8},
    {'runs': 32},
    {'frames': 100},
    {'frames': 300},
    {'frames': 1000},
    {'devices': 1, 'runs': 8},
    {'devices': 2, 'runs': 8},
    {'devices': 4, 'runs': 8},
    {'devices': 8, 'runs': 8},
]


def measure_row(row: dict, width: int) -> float:
    """Returns the milliseconds of a run-step."""
    command = [
        sys.executable,
        str(Path(__file__).parent / 'step.py'),
        '--json',
        '--no-torch',
        '--subsampled',
        f'--runs={row["runs"]}',
        f'--frames={row["frames"]}',
        f'--width={width}',
        '--steps=6',
        '--repeats=3',
    ]
    environment = os.environ | {'JAX_NUM_CPU_DEVICES': str(row['devices'])}
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(completed.stdout)['ms_per_run_step']


def main() -> None:
    """Prints one JSON object for each row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--width', type=int, default=64)
    options = parser.parse_args()
    for changes in ROWS:
        row = DEFAULTS | changes
        print(json.dumps(row | {'ms_per_run_step': measure_row(row, options.width)}), flush=True)


if __name__ == '__main__':
    main()
