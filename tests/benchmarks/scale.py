"""Measures how time and memory grow with utterances, speakers, runs and frames.

  python tests/benchmarks/scale.py [--out growth.jsonl] [--figure growth.svg] [--axes runs frames]

Each row is a process of its own, on a stand-in of MSP-Podcast (stand_in.py) or on noise (step.py).
Its JSON object has the axis, the size, the stage, seconds, and the largest memory of the process in
MiB (`peak_mib`). The stages:

  data      find the packed corpus, split, audit, and make the table of examples
  features  read the features of the corpus
  probe     fit the attackers of one run on random representations, and on the input
  results   summarise the predictions of the runs, with intervals
  step      a training step of a small TDNN-LSTM for all runs

At the end the exponent of every stage is printed: between the two largest sizes, time grows as
size^exponent. Rows that are in the file `--out` are not measured again, so that the same command
continues after an interruption.
"""

import argparse
import importlib.metadata
import json
import math
import multiprocessing
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from stand_in import write_stand_in

SIZES = {
    'utterances': (1_000, 10_000, 100_000, 1_000_000),
    'speakers': (10, 100, 1_000, 10_000),
    'runs': (1, 4, 16, 64, 330),
    'frames': (100, 300, 1_000, 3_000),
}
STAGES = {
    'utterances': ('data', 'features', 'probe', 'results'),
    'speakers': ('data', 'probe', 'results'),
    'runs': ('step', 'results'),
    'frames': ('step',),
}
COLORS = {'data': 'C0', 'features': 'C1', 'probe': 'C2', 'results': 'C3', 'step': 'C4'}
UTTERANCES = 100_000  # where speakers grow
SPEAKERS = 1_500  # where utterances grow; at most a tenth of them
RESULT_UTTERANCES = 1_000  # where runs grow
FRAMES = 5  # of an utterance of the stand-in
WIDTH = 64  # of the small network, and of the representations
STEP_FRAMES, STEP_RUNS = 300, 4
MIB = 2**20


def corpus_size(axis: str, size: int) -> tuple[int, int]:
    """Returns the numbers of utterances and speakers of a row."""
    if axis == 'utterances':
        return size, min(SPEAKERS, size // 10)
    return UTTERANCES, size


def make_task(data_dir: str):
    """Returns the data of a sweep of one run over the stand-in in the folder."""
    from configs import tu_dat_msp_podcast
    from jaxser.configuration import resolve
    from jaxser.training import validate
    from jaxser.training.task import Task

    config = tu_dat_msp_podcast.get_config()
    config.data.dir = data_dir
    config.sweep.update(lam=(0.0,), seed=(0,))
    config = resolve.resolve_config(config, lambda line: None)
    return Task(config, validate.plan_programs(config))


def random_outputs(task) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns rows, representations and posteriors of one run; a speaker has a mean of its own."""
    random = np.random.default_rng(0)
    (fold,) = task.subset_folds
    rows = fold.used_rows
    _, speaker_N = np.unique(task.utterances.text['speaker'][rows], return_inverse=True)
    voice_SxD = random.standard_normal((speaker_N.max() + 1, WIDTH), dtype=np.float32)
    z_NxD = random.standard_normal((len(rows), WIDTH), dtype=np.float32)
    z_NxD += 0.3 * voice_SxD[speaker_N]
    p_NxC = random.dirichlet(np.ones(len(task.classes)), len(rows)).astype(np.float32)
    return rows, z_NxD, p_NxC


def measure_data(data_dir: str) -> float:
    """Returns the seconds of the stage `data`."""
    from data_pipelines.protocols import audit

    began = time.perf_counter()
    task = make_task(data_dir)
    audit.audit_folds(task.utterances, task.protocol_folds, task.protocol)
    return time.perf_counter() - began


def measure_features(data_dir: str) -> float:
    """Returns the seconds of the stage `features`."""
    from data_pipelines.storage import dataset

    task = make_task(data_dir)
    began = time.perf_counter()
    dataset.read_all_features(task.utterances, task.max_frames)
    return time.perf_counter() - began


def measure_probe(data_dir: str) -> float:
    """Returns the seconds of the stage `probe`, with the compilation of its programs."""
    from jaxser.probing.prober import Prober

    task = make_task(data_dir)
    rows, z_NxD, p_NxC = random_outputs(task)
    group = SimpleNamespace(subset_fold_N=[0], runs=task.runs)
    representations = SimpleNamespace(get_run=lambda n: (rows, z_NxD))
    outputs = SimpleNamespace(get_run=lambda n: (rows, p_NxC))
    began = time.perf_counter()
    Prober(task, 0).probe_group(group, representations, outputs)
    return time.perf_counter() - began


def measure_results(utterances: int, speakers: int, runs: int) -> float:
    """Returns the seconds of the stage `results`: `runs` coefficients, tested on all utterances."""
    from jaxser.analysis.predictions import RunPredictions
    from jaxser.analysis.summary import summary_rows
    from jaxser.runs import run_label, varying_keys

    random = np.random.default_rng(0)
    classes = 4
    hypers = [{'method': 'dann', 'lam': n / runs, 'seed': 0, 'fold': 0} for n in range(runs)]
    keys = varying_keys(hypers)
    truth_N = random.integers(classes, size=utterances)
    predicted = {}
    for hyper in hypers:
        is_right_N = random.random(utterances) < 0.6
        predicted_N = np.where(is_right_N, truth_N, random.integers(classes, size=utterances))
        predicted[run_label(hyper, keys), 0] = RunPredictions(
            speaker_N=np.char.add('s', (np.arange(utterances) % speakers).astype(str)),
            truth_N=truth_N,
            predicted_N=predicted_N,
            confidence_N=random.uniform(0.3, 1, utterances),
        )
    finished = []
    for hyper in hypers:
        figures = {'uar': 0.6, 'wa': 0.6, 'f1': 0.6}
        finished.append({'hyper': hyper, 'status': 'ok', 'dev': figures, 'test': figures})
    began = time.perf_counter()
    summary_rows(finished, predicted, {'method': 'dann'}, classes, [])
    return time.perf_counter() - began


CORPUS_STAGES: dict[str, Callable[[str], float]] = {
    'data': measure_data,
    'features': measure_features,
    'probe': measure_probe,
}


def measure_stage(stage: str, data_dir: str, utterances: int, speakers: int, runs: int) -> dict:
    """Returns seconds and peak memory of a stage, measured in this process."""
    if stage == 'results':
        seconds = measure_results(utterances, speakers, runs)
    else:
        seconds = CORPUS_STAGES[stage](data_dir)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB
    return {'seconds': round(seconds, 3), 'peak_mib': round(peak)}


def measure_step(runs: int, frames: int) -> dict:
    """Returns the seconds of a step of all runs, and the peak memory."""
    command = [
        sys.executable,
        str(Path(__file__).parent / 'step.py'),
        '--json',
        '--no-torch',
        '--subsampled',
        f'--runs={runs}',
        f'--frames={frames}',
        f'--width={WIDTH}',
        '--steps=2',
        '--repeats=9',
    ]
    environment = os.environ | {'JAX_NUM_CPU_DEVICES': str(os.cpu_count())}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f'{" ".join(command)} failed')
    milliseconds = json.loads(output)['ms_per_run_step'] * runs
    peak = usage.ru_maxrss * 1024 / MIB
    return {'seconds': round(milliseconds / 1000, 4), 'peak_mib': round(peak)}


def measure_size(axis: str, size: int, stages: list[str]) -> Iterator[dict]:
    """Yields the measured row of each stage at a size; all have the same stand-in."""
    if axis == 'runs':
        utterances, speakers, runs = RESULT_UTTERANCES, RESULT_UTTERANCES // 10, size
    else:
        (utterances, speakers), runs = corpus_size(axis, size), 1
    context = multiprocessing.get_context('spawn')
    with tempfile.TemporaryDirectory() as folder:
        if CORPUS_STAGES.keys() & set(stages):
            # In a process of its own, so that its memory does not count.
            arguments = (folder, utterances, speakers, FRAMES)
            with context.Pool(1) as pool:
                pool.apply(write_stand_in, arguments)
        for stage in stages:
            row = {'axis': axis, 'size': size, 'stage': stage}
            if stage == 'step':
                step_runs, frames = (size, STEP_FRAMES) if axis == 'runs' else (STEP_RUNS, size)
                yield row | measure_step(step_runs, frames)
                continue
            with context.Pool(1) as pool:
                arguments = (stage, folder, utterances, speakers, runs)
                yield row | pool.apply(measure_stage, arguments)


def growth_exponents(rows: list[dict]) -> Iterator[dict]:
    """Yields for each axis and stage the exponents of time and memory at the largest sizes."""
    for axis, stages in STAGES.items():
        for stage in stages:
            own_rows = [row for row in rows if (row['axis'], row['stage']) == (axis, stage)]
            own_rows.sort(key=lambda row: row['size'])
            if len(own_rows) < 2:
                continue
            smaller, larger = own_rows[-2:]
            ratio = math.log(larger['size'] / smaller['size'])
            exponents = {}
            for key in ('seconds', 'peak_mib'):
                exponents[key] = round(math.log(larger[key] / smaller[key]) / ratio, 2)
            yield {'axis': axis, 'stage': stage, 'exponents': exponents}


def draw_figure(rows: list[dict], file: str) -> None:
    """Draws time and memory of every stage, a column for each axis."""
    import matplotlib

    matplotlib.use('svg')
    from matplotlib import pyplot as plt

    measured = {row['axis'] for row in rows}
    columns = [axis for axis in STAGES if axis in measured]
    figure, axes_2xA = plt.subplots(
        2,
        len(columns),
        sharex='col',
        sharey='row',
        figsize=(3.5 * len(columns), 6),
        layout='constrained',
        squeeze=False,
    )
    for column, axis in enumerate(columns):
        stages = STAGES[axis]
        for stage in stages:
            own_rows = [row for row in rows if (row['axis'], row['stage']) == (axis, stage)]
            own_rows.sort(key=lambda row: row['size'])
            sizes = [row['size'] for row in own_rows]
            for line, key in enumerate(('seconds', 'peak_mib')):
                values = [row[key] for row in own_rows]
                axes_2xA[line, column].loglog(sizes, values, marker='o', color=COLORS[stage])
        axes_2xA[1, column].set_xlabel(axis)
    lines = [plt.Line2D([], [], marker='o', color=color) for color in COLORS.values()]
    figure.legend(lines, list(COLORS), loc='outside upper center', ncols=len(COLORS))
    axes_2xA[0, 0].set_ylabel('seconds')
    axes_2xA[1, 0].set_ylabel('peak memory of the process, MiB')
    figure.savefig(file, metadata={'Date': None})


def read_rows(file: str | None) -> list[dict]:
    """Returns the rows that an earlier run has written."""
    if file is None or not Path(file).exists():
        return []
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


def main() -> None:
    """Prints one JSON object for each row, then the exponents."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--axes', nargs='+', choices=SIZES, default=tuple(SIZES))
    parser.add_argument('--out', help='a file of rows, to which new ones are added')
    parser.add_argument('--figure', help='the SVG file of the figure')
    options = parser.parse_args()
    packages = {name: importlib.metadata.version(name) for name in ('jax', 'numpy')}
    machine = {'cores': os.cpu_count(), 'processor': platform.machine()}
    print(json.dumps(machine | {'python': platform.python_version()} | packages), flush=True)
    rows = read_rows(options.out)
    measured = {(row['axis'], row['size'], row['stage']) for row in rows}
    for axis in options.axes:
        for size in SIZES[axis]:
            stages = [s for s in STAGES[axis] if (axis, size, s) not in measured]
            for row in measure_size(axis, size, stages):
                rows.append(row)
                print(json.dumps(row), flush=True)
                if options.out:
                    with open(options.out, 'a') as file:
                        file.write(json.dumps(row) + '\n')
    for exponents in growth_exponents(rows):
        print(json.dumps(exponents), flush=True)
    if options.figure:
        draw_figure(rows, options.figure)


if __name__ == '__main__':
    main()
