"""How the time of a run-step grows with runs, frames and fake devices.

  python tests/benchmarks/scale.py [--width 64]

Each row is a process of step.py without PyTorch; fake devices share the cores of one machine.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROWS = [
    *({'runs': n} for n in (1, 2, 8, 32)),
    *({'frames': n} for n in (100, 300, 1000)),
    *({'devices': n, 'runs': 8} for n in (1, 2, 4, 8)),
]


def main() -> None:
    """Prints one JSON object a row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--width', type=int, default=64)
    width = parser.parse_args().width
    for row in ROWS:
        at = {'runs': 4, 'frames': 300, 'devices': os.cpu_count()} | row
        options = {
            'runs': at['runs'],
            'frames': at['frames'],
            'width': width,
            'steps': 6,
            'repeats': 3,
        }
        command = [
            sys.executable,
            str(Path(__file__).parent / 'step.py'),
            '--json',
            '--no-torch',
            '--subsampled',
        ]
        command += [word for k, v in options.items() for word in (f'--{k}', str(v))]
        environment = {**os.environ, 'JAX_NUM_CPU_DEVICES': str(at['devices'])}
        said = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout
        print(json.dumps(at | {'ms_per_run_step': json.loads(said)['ms_per_run_step']}), flush=True)


if __name__ == '__main__':
    main()
