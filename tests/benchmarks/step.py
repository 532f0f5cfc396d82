"""Measures a training step of a sweep, and compares it with PyTorch and with the chip's limits.

  python tests/benchmarks/step.py --runs 1 8 --frames 300 --batch 32 [--width 128] [--subsampled]
                                  [--json]

It prints one JSON object per line for each number of runs: runs, ms_per_run_step,
torch_ms_per_step, ratio, fraction_of_peak, fraction_of_floor, device. jaxser, PyTorch, a matrix
product and a copy take turns, and medians are printed. The floor is the largest of
operations / matrix rate, bytes / bandwidth, and loop iterations x the time of an empty iteration.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

BANDS = 64
EMOTIONS = 4
SPEAKERS = 8
STEPS = 1000
TRAIN = {'warmup': 0.1, 'clip': 5.0, 'optimizer': 'adamw'}
# TDNN layers as (kernel, dilation, stride).
EVERY_FRAME = ((5, 1, 1), (3, 2, 1), (3, 3, 1))
SUBSAMPLED = ((5, 1, 2), (3, 1, 2), (3, 1, 1))


def network_sizes(options) -> dict:
    """Returns the sizes of the network."""
    return {
        'tdnn': SUBSAMPLED if options.subsampled else EVERY_FRAME,
        'width': options.width,
        'hidden': options.width,
        'dim': 64,
        'domain_hidden': 64,
    }


def noise_batches(options, count: int) -> list[dict[str, np.ndarray]]:
    """Returns so many batches of noise."""
    random = np.random.default_rng(0)
    B = options.batch
    batches = []
    for _ in range(count):
        batch = {
            'mel': random.normal(size=(B, options.frames, BANDS)).astype(np.float16),
            'mean': np.zeros((B, BANDS), np.float32),
            'scale': np.ones((B, BANDS), np.float32),
            'emotion': random.integers(0, EMOTIONS, B),
            'speaker': random.integers(0, SPEAKERS, B),
        }
        batches.append(batch)
    return batches


def torch_child(pipe, options) -> None:
    """Runs PyTorch's steps on request. It is a process of its own, with its own thread pool."""
    os.chdir(Path(__file__).parent)
    sys.path.insert(0, '.')
    import torch
    import torch_loop

    sizes = {'bands': BANDS, 'emotions': EMOTIONS, 'domains': SPEAKERS}
    batches = noise_batches(options, 4)
    loop = torch_loop.Loop(batches, sizes, network_sizes(options), TRAIN, STEPS, options.compile)
    square = torch.rand(options.square, options.square, device=loop.device)
    loop.time(3)

    def product():
        began = time.perf_counter()
        for _ in range(4):
            square @ square
        if loop.device == 'cuda':
            torch.cuda.synchronize()
        return (time.perf_counter() - began) / 4

    product()
    pipe.send(f'torch {torch.__version__}{" compiled" if options.compile else ""}')
    for request in iter(pipe.recv, None):
        pipe.send(loop.time(max(4, options.steps // 3)) if request == 'step' else product())


class StepCost(NamedTuple):
    """What one step needs."""

    flops: float  # of the products: forward once, backward twice
    bytes_moved: float
    iterations: int  # of the LSTM's loops


def step_cost(options) -> StepCost:
    """Computes the cost of a step from the sizes of the network."""
    sizes = network_sizes(options)
    B, T = options.batch, options.frames
    flops = 0.0
    channels = BANDS
    activations = B * T * BANDS
    for layer, (kernel, _, stride) in enumerate(sizes['tdnn']):
        T = -(-T // stride)
        passes = 3 if layer else 2  # the input of the first layer needs no gradient
        flops += 2 * B * T * kernel * channels * sizes['width'] * passes
        channels = sizes['width']
        activations += B * T * channels * 2
    gates = 4 * sizes['hidden']
    flops += 3 * 2 * B * T * (channels + sizes['hidden']) * gates
    activations += B * T * (2 * gates + 2 * sizes['hidden'])
    return StepCost(flops, 4.0 * 2 * activations, 2 * T)  # written once, read once


def stack_batches(options, count: int) -> dict[str, np.ndarray]:
    """Returns noise as the batches of `count` steps, with all frames' features under 'mel'."""
    B, T = options.batch, options.frames
    batches = noise_batches(options, count)

    def stack(key: str, dtype) -> np.ndarray:
        return np.stack([batch[key] for batch in batches]).astype(dtype)

    return {
        'mel': stack('mel', np.float16).reshape(-1, BANDS),
        'first_B': (np.arange(count * B, dtype=np.int32) * T).reshape(count, B),
        'frames_B': np.full((count, B), T, np.int32),
        'mean_BxM': stack('mean', np.float32),
        'scale_BxM': stack('scale', np.float32),
        'emotion_B': stack('emotion', np.int32),
        'labelled_B': np.ones((count, B), np.float32),
        'target_B': np.zeros((count, B), np.float32),
        'speaker_B': stack('speaker', np.int32),
        'speaker_seen_K': np.ones((count, SPEAKERS), np.float32),
    }


def hyper_values(runs: int) -> dict[str, np.ndarray]:
    """Returns the hyper-parameters of so many runs, which differ in lam and seed."""
    values = {
        'lr': 2e-3,
        'weight_decay': 1e-2,
        'dropout': 0.1,
        'time_mask': 0.1,
        'band_mask': 0.1,
        'domain_weight': 1.0,
        'head_rate': 10.0,
    }
    hyper = {key: np.full(runs, value, np.float32) for key, value in values.items()}
    hyper['lam'] = np.linspace(0, 1, runs, dtype=np.float32)
    hyper['seed'] = np.arange(runs, dtype=np.int32)
    hyper['fold'] = np.zeros(runs, np.int32)
    hyper['slot'] = np.zeros(runs, np.int32)
    return hyper


def make_run_step(options):
    """Returns the training step of one run, which is what training maps over its runs."""
    from ml_collections import ConfigDict

    from jaxser.interfaces import Sizes
    from jaxser.methods import dann
    from jaxser.models import tdnn_lstm
    from jaxser.training.step import make_step

    sizes = network_sizes(options)
    domain_hidden = sizes.pop('domain_hidden')
    method_config = ConfigDict(
        {'domain': 'speaker', 'domain_hidden': domain_hidden, 'train': TRAIN}
    )
    data_sizes = Sizes(BANDS, EMOTIONS, {'speaker': SPEAKERS}, STEPS)
    encoder = tdnn_lstm.make(ConfigDict({**sizes, 'batch_norm': 'joint'}))
    method = dann.make(method_config, encoder, data_sizes)
    return make_step(encoder, method, data_sizes, ConfigDict(TRAIN))


class Sweep:
    """A sweep of several runs over one fold, as training runs it.

    A dispatch has `--steps` steps, and the features are on the device.
    """

    def __init__(self, options, runs: int):
        import jax

        from jaxser.features import SharedArrays
        from jaxser.training import parallel

        layout = parallel.Layout(runs, data_devices=options.data_devices)
        self.programs = parallel.compile_step(make_run_step(options), layout, options.frames)
        self.block = jax.block_until_ready
        self.devices = len(layout.devices)

        hyper = hyper_values(runs)
        grouped = {key: layout.group_by_device(value) for key, value in hyper.items()}
        self.hyper = layout.put_runs_on_devices(grouped)
        self.state = self.programs.init(self.hyper)

        batches = stack_batches(options, options.steps)
        mel_RxM = np.pad(batches.pop('mel'), ((0, options.frames), (0, 0)))
        self.shared = layout.put_on_devices(SharedArrays(mel_RxM), parallel.REPLICATED)
        device_batches = {}
        for key, value in batches.items():
            shape = (layout.D, options.steps, 1, *value.shape[1:])
            device_batches[key] = np.broadcast_to(value[None, :, None], shape)
        self.batches = layout.put_batch_on_devices(device_batches, 3)
        self.steps = options.steps
        self.span_2 = np.array([0, options.steps], np.int32)
        self.time()

    def time(self) -> float:
        """Runs a dispatch and returns the seconds per step of all runs together."""
        began = time.perf_counter()
        self.state, metrics = self.programs.train_chunk(
            self.state, self.shared, self.batches, self.span_2, self.hyper
        )
        self.block(metrics)
        return (time.perf_counter() - began) / self.steps


class Chip:
    """Measures the limits of the chip."""

    def __init__(self, options):
        import jax
        import jax.numpy as jnp

        def loop(x):
            return jax.lax.fori_loop(0, 10_000, lambda i, y: jnp.tanh(y + i), x)

        self.size = options.square
        self.block = jax.block_until_ready
        self.matrix = jnp.ones((self.size, self.size), jnp.float32)
        self.vector = jnp.ones((1 << 26,), jnp.float32)  # 256 MiB, more than any cache
        self.product = jax.jit(lambda x: x @ x)
        self.copy = jax.jit(lambda x: x + 1)
        self.loop = jax.jit(loop)
        self.block((self.product(self.matrix), self.copy(self.vector), self.loop(1.0)))

    def _time(self, function, x, times: int) -> float:
        began = time.perf_counter()
        for _ in range(times):
            result = function(x)
        self.block(result)
        return (time.perf_counter() - began) / times

    def rate(self) -> float:
        """Returns the float32 operations per second of a large product."""
        return 2 * self.size**3 / self._time(self.product, self.matrix, 4)

    def bandwidth(self) -> float:
        """Returns the bytes per second, read and written."""
        return 8 * self.vector.size / self._time(self.copy, self.vector, 2)

    def iteration(self) -> float:
        """Returns the seconds of a nearly empty iteration of a compiled loop."""
        return self._time(self.loop, 1.0, 1) / 10_000


def take_turns(options, sweep: Sweep, runs: int, child) -> dict[str, list[float]]:
    """Measures jaxser, PyTorch (if there is a child process) and the chip in turns."""
    chip = Chip(options)
    turns = {'ours': [], 'torch': [], 'rate': [], 'bandwidth': [], 'iteration': []}

    def ask(request: str) -> float:
        child.send(request)
        return child.recv()

    for _ in range(options.repeats):
        turns['ours'].append(sweep.time() / runs)
        if child:
            turns['torch'].append(ask('step'))
        rate = chip.rate()
        if child:
            rate = max(rate, 2 * options.square**3 / ask('product'))
        turns['rate'].append(rate)
        turns['bandwidth'].append(chip.bandwidth())
        turns['iteration'].append(chip.iteration())
    return turns


def measure(options, runs: int, child) -> dict:
    """Returns a row of the table."""
    import jax

    sweep = Sweep(options, runs)
    turns = take_turns(options, sweep, runs, child)
    median = {name: statistics.median(values) for name, values in turns.items() if values}
    cost = step_cost(options)
    floors = {
        'operations': cost.flops / median['rate'],
        'bytes': cost.bytes_moved / median['bandwidth'],
        'iterations': cost.iterations * median['iteration'] / runs,
    }
    torch_ms = None
    ratio = None
    if child:
        torch_ms = round(1e3 * median['torch'], 2)
        ratios = np.array(turns['ours']) / np.array(turns['torch'])
        ratio = round(float(np.median(ratios)), 3)
    return {
        'runs': runs,
        'ms_per_run_step': round(1e3 * median['ours'], 2),
        'torch_ms_per_step': torch_ms,
        'ratio': ratio,
        'fraction_of_peak': round(cost.flops / median['ours'] / median['rate'], 3),
        'fraction_of_floor': round(max(floors.values()) / median['ours'], 3),
        'device': jax.devices()[0].device_kind,
        'devices': sweep.devices,
        'floor_ms': {k: round(1e3 * v, 2) for k, v in floors.items()},
        'gflop': round(cost.flops / 1e9, 2),
        'peak_gflops': round(median['rate'] / 1e9),
        'bandwidth_gbs': round(median['bandwidth'] / 1e9, 1),
    }


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--runs', type=int, nargs='+', default=[1, 8])
    add('--frames', type=int, default=300)
    add('--batch', type=int, default=32)
    add('--width', type=int, default=128, help='width of the TDNN and of the LSTM')
    add(
        '--subsampled',
        action='store_true',
        help='use the strides of configs/base.py in place of every frame',
    )
    add('--steps', type=int, default=24, help='number of steps in one dispatch')
    add('--data_devices', type=int, default=1, help='number of devices for the batch of a run')
    add('--repeats', type=int, default=5)
    add('--square', type=int, default=1536, help='size of the matrix product for the peak')
    add('--compile', action='store_true', help='run the PyTorch loop with torch.compile')
    add('--no-torch', action='store_true', help='leave PyTorch out')
    add('--json', action='store_true', help='print only the JSON lines')
    return parser


def start_torch(options):
    """Starts PyTorch's process; returns its pipe and its version."""
    context = multiprocessing.get_context('spawn')
    child, end = context.Pipe()
    context.Process(target=torch_child, args=(end, options), daemon=True).start()
    end.close()  # so that recv fails if the process ends
    try:
        return child, child.recv()
    except EOFError:
        raise SystemExit(
            "PyTorch's process ended; its error is above. Use --no-torch to leave PyTorch out."
        ) from None


def main() -> None:
    """Parses the command line and prints the rows."""
    options = make_parser().parse_args()
    os.environ.setdefault('JAX_NUM_CPU_DEVICES', str(os.cpu_count()))  # as jaxser.main does
    child = None
    torch_version = 'no PyTorch'
    if not options.no_torch:
        child, torch_version = start_torch(options)
    if not options.json:
        import jax

        machine = f'{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs'
        versions = f'Python {platform.python_version()}, jax {jax.__version__}, {torch_version}'
        print(f'# {machine}; {versions}', time.strftime('%Y-%m-%d'))
    for runs in options.runs:
        print(json.dumps(measure(options, runs, child)), flush=True)
    if child:
        with contextlib.suppress(BrokenPipeError):
            child.send(None)


if __name__ == '__main__':
    main()
