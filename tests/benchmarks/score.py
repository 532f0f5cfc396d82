"""Measures the seconds of jaxser.score, by the number of tested speakers.

  python tests/benchmarks/score.py [--utterances 10000] [--systems 3] [--speakers 24 200 1000]

Truth and posteriors are random. The systems differ clearly, so that p-values are computed from
the larger number of draws (bootstrap.rare_draws), as is usual. There are no representations. The
processor time is that of the whole command, on all cores.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from data_pipelines import csv_files

CLASSES = ('angry', 'happy', 'neutral', 'sad')
SHARES = (0.5, 0.7)  # of predictions that are not guessed, of the first and the last system


def make_truth(utterances: int, speakers: int) -> list[dict]:
    """Returns the rows of a truth file, in which the speakers take turns."""
    rows = []
    for n in range(utterances):
        rows.append(
            {
                'utterance': f'u{n}',
                'speaker': f's{n % speakers}',
                'emotion': CLASSES[n // speakers % len(CLASSES)],
                'sex': 'female' if n % speakers % 2 else 'male',
            }
        )
    return rows


def make_predictions(truth: list[dict], share: float, seed: int) -> list[dict]:
    """Returns the posteriors of each row of the truth; the others than `share` are guessed."""
    random = np.random.default_rng(seed)
    rows = []
    for row in truth:
        is_known = random.random() < share
        predicted = row['emotion'] if is_known else CLASSES[random.integers(len(CLASSES))]
        confidence = random.uniform(0.4, 1)
        p = dict.fromkeys(CLASSES, (1 - confidence) / (len(CLASSES) - 1)) | {predicted: confidence}
        rows.append({'utterance': row['utterance']} | p)
    return rows


def measure_command(folder: Path, utterances: int, systems: int, speakers: int) -> dict:
    """Scores simulated systems; returns the seconds that have passed, and those of processors."""
    truth = make_truth(utterances, speakers)
    csv_files.write_rows(folder / 'truth.csv', truth)
    names = []
    for seed, share in enumerate(np.linspace(*SHARES, systems)):
        names.append(f'{folder}/system{seed}.csv')
        csv_files.write_rows(Path(names[-1]), make_predictions(truth, share, seed))
    command = [sys.executable, '-m', 'jaxser.score', *names, '--split', f'{folder}/truth.csv']
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, '--out', f'{folder}/out'], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        'speakers': speakers,
        'seconds': round(time.perf_counter() - began, 1),
        'processor_seconds': round(processor, 1),
    }


def main() -> None:
    """Prints a JSON object for each number of speakers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--utterances', type=int, default=10_000)
    parser.add_argument('--systems', type=int, default=3)
    parser.add_argument('--speakers', type=int, nargs='+', default=(24, 200, 1000))
    options = parser.parse_args()
    for speakers in options.speakers:
        with tempfile.TemporaryDirectory() as folder:
            measured = measure_command(Path(folder), options.utterances, options.systems, speakers)
        print(json.dumps(measured), flush=True)


if __name__ == '__main__':
    main()
