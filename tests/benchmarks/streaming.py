"""Compares resident and streamed features of a large corpus, in one process and in several.

  python tests/benchmarks/streaming.py DATA_DIR [--processes 2] [--steps 200] [--feed_steps 300]

DATA_DIR has the stand-in of MSP-Podcast as shards (reading.py). One run is trained. With several
processes its batches are divided over them, and each reads its own examples. Each process counts
the records that it reads and compares them with those of its examples. `feed` is the host alone,
`train` includes the network, with a width of 32.
"""

import argparse
import contextlib
import itertools
import json
import os
import platform
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent.parent
# Environment variables of a process: its number, and the file for its figures.
NUMBER, RESULT = 'STREAMING_PROCESS', 'STREAMING_RESULT'


class ReadCounter:
    """Counts the records that are read from shards."""

    def __init__(self, utterances):
        from data_pipelines.storage import tfrecord

        self.utterances = utterances
        self.records = []  # (file, offset, length) of each
        read_record = tfrecord.read_record

        def counting(descriptor, offset, length):
            file = os.readlink(f'/proc/self/fd/{descriptor}')
            self.records.append((file, int(offset), int(length)))
            return read_record(descriptor, offset, length)

        tfrecord.read_record = counting

    def bytes(self) -> int:
        """Returns the bytes of all records that were read."""
        return sum(length for _, _, length in self.records)

    def rows(self) -> set[int]:
        """Returns the utterances whose records were read."""
        files = [os.path.realpath(file) for file in self.utterances.files]
        offset_N = self.utterances.offset_N.tolist()
        row_of_record = {}
        for row, (index, offset) in enumerate(zip(self.utterances.file_N.tolist(), offset_N)):
            row_of_record[files[index], offset] = row
        return {row_of_record[file, offset] for file, offset, _ in self.records}


def make_config(options, resident: bool):
    """Returns the configuration of one run on the release's own split."""
    from configs import base

    config = base.get_config()
    changes = {
        'data.dir': str(options.data_dir),
        'data.corpora': ('msp_podcast',),
        'data.frames': options.frames,
        'data.batch': options.batch,
        'data.resident': 'on' if resident else 'off',
        'protocol.name': 'official',
        'method': 'erm',
        'model.width': 32,
        'model.hidden': 32,
        'model.dim': 32,
        'data_devices': options.processes,
    }
    config.update_from_flattened_dict(changes)
    return config


def first_items(trainer, group, steps: int, epoch: int):
    """Yields items from an epoch on, with at least `steps` steps; one epoch if steps is 0."""
    done = 0
    for number in itertools.count(epoch):
        for item in group.training_items(number, trainer.steps_per_chunk):
            yield item
            done += item.steps
            if steps and done >= steps:
                return
        if not steps:
            return


def measure_feed(trainer, steps: int) -> tuple[float, int, set[int]]:
    """Returns the seconds of the batches of so many steps, their examples, and own rows.

    With `steps` 0 it is an epoch.
    """
    (group,) = trainer.groups
    share = group.layout.batch_share
    rows = set()
    examples = 0
    began = time.perf_counter()
    with contextlib.closing(trainer.open_feed(first_items(trainer, group, steps, 0))) as feed:
        for item, _ in feed:
            own = share.take(item.row[:, : item.steps], item.row.ndim - 1)
            rows.update(own.ravel().tolist())
            examples += item.row[:, : item.steps].size
    return time.perf_counter() - began, examples, rows


def measure_training(trainer, steps: int) -> tuple[float, int]:
    """Returns the seconds of training steps without the first chunk, and their examples."""
    from jaxser.training import parallel

    (group,) = trainer.groups
    hyper = group.layout.put_runs_on_devices(group.hyper_DxR)
    state = trainer.functions.init(hyper)
    examples = 0
    began = None
    items = first_items(trainer, group, steps + trainer.steps_per_chunk, 1)
    with contextlib.closing(trainer.open_feed(items)) as feed:
        for item, batch in feed:
            span_2 = np.array([0, item.steps], np.int32)
            placed = group.layout.put_batch_on_devices(batch, parallel.TRAINING_AXIS_B)
            state, metrics = trainer.train_chunk(state, trainer.shared, placed, span_2, hyper)
            np.asarray(metrics['loss'].addressable_shards[0].data)  # waits for the device
            if began:
                examples += item.row[:, : item.steps].size
            else:
                began = time.perf_counter()
    return time.perf_counter() - began, examples


def run_process(options) -> None:
    """Measures one process and writes its figures."""
    from data_pipelines.storage import schema
    from jaxser import distributed
    from jaxser.training import trainer as trainer_module
    from jaxser.training import validate
    from jaxser.training.task import Task

    if options.processes > 1:
        distributed.join_processes()
    schema.import_tensorflow()  # its seconds are those of no feed
    figures = {}
    modes = ('streamed', 'resident') if options.processes == 1 else ('streamed',)
    for mode in modes:
        config = make_config(options, mode == 'resident')
        programs = validate.plan_programs(config)
        began = time.perf_counter()
        task = Task(config, programs)
        task_seconds = time.perf_counter() - began
        mel_RxM = task.mel_RxM if mode == 'resident' else None
        trainer = trainer_module.Trainer(programs[0], task, mel_RxM, None)
        counter = ReadCounter(task.utterances)
        seconds, examples, rows = measure_feed(trainer, options.feed_steps)
        read = counter.rows()
        figure = {
            'columns_and_split_seconds': round(task_seconds, 2),
            'feed_examples_per_second': round(examples / seconds),
            'feed_seconds': round(seconds, 2),
            'feed_examples': examples,
            'own_examples': len(rows),
            'records_read': len(counter.records),
            'mib_read': round(counter.bytes() / 2**20, 1),
            'own_rows_read': len(read & rows),
            'other_rows_read': len(read - rows),
        }
        if options.steps:
            seconds, examples = measure_training(trainer, options.steps)
            figure['train_examples_per_second'] = round(examples / seconds)
        figure['peak_gib'] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
        figures[mode] = figure
    Path(os.environ[RESULT]).write_text(json.dumps(figures))


def start_processes(options) -> list[dict]:
    """Returns the figures of all processes."""
    with socket.socket() as free:
        free.bind(('localhost', 0))
        address = f'localhost:{free.getsockname()[1]}'
    with tempfile.TemporaryDirectory() as folder:
        processes = []
        for number in range(options.processes):
            environment = os.environ | {
                'PYTHONPATH': str(ROOT),
                'JAX_PLATFORMS': 'cpu',
                'JAX_NUM_CPU_DEVICES': '1',
                'JAX_COORDINATOR_ADDRESS': address,
                'JAX_NUM_PROCESSES': str(options.processes),
                'JAX_PROCESS_ID': str(number),
                NUMBER: str(number),
                RESULT: f'{folder}/{number}.json',
            }
            processes.append(subprocess.Popen([sys.executable, *sys.argv], env=environment))
        for process in processes:
            if process.wait():
                sys.exit(process.returncode)
        results = [Path(f'{folder}/{n}.json') for n in range(options.processes)]
        return [json.loads(result.read_text()) for result in results]


def main() -> None:
    """Parses the command line and prints one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('data_dir', type=Path)
    parser.add_argument('--processes', type=int, default=1)
    parser.add_argument('--steps', type=int, default=200, help='of training; 0: none')
    parser.add_argument('--feed_steps', type=int, default=0, help='of the feed; 0: an epoch')
    parser.add_argument('--frames', type=int, default=20)
    parser.add_argument('--batch', type=int, default=64)
    options = parser.parse_args()
    if NUMBER in os.environ:
        run_process(options)
        return
    machine = f'{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs'
    versions = {'machine': machine, 'python': platform.python_version()}
    print(json.dumps(versions | {'processes': start_processes(options)}))


if __name__ == '__main__':
    main()
