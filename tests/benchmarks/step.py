"""Milliseconds per run and step of a sweep, beside a PyTorch loop of the same model and beside what the chip can do.

  python tests/benchmarks/step.py --runs 1 8 --frames 300 --batch 32 [--width 128] [--subsampled] [--json]

One JSON object a line for each number of runs: runs, ms_per_run_step, torch_ms_per_step, ratio, fraction_of_peak,
fraction_of_floor, device. Everything is measured in turns (jaxser, PyTorch, matrix product, copy), and medians are printed. The
floor is the largest of operations / matrix rate, bytes / bandwidth, and loop iterations x the time of an empty iteration.
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
from types import SimpleNamespace

import numpy as np

BANDS, EMOTIONS, SPEAKERS, STEPS = 64, 4, 8, 1000
TRAIN = {'warmup': 0.1, 'clip': 5.0, 'optimizer': 'adamw'}
WHOLE, SUBSAMPLED = ((5, 1, 1), (3, 2, 1), (3, 3, 1)), ((5, 1, 2), (3, 1, 2), (3, 1, 1))


def model(options) -> dict:
    """The sizes of the network."""
    tdnn = SUBSAMPLED if options.subsampled else WHOLE
    return {
        'tdnn': tdnn,
        'width': options.width,
        'hidden': options.width,
        'dim': 64,
        'domain_hidden': 64,
    }


def made_up(options, count: int) -> list[dict[str, np.ndarray]]:
    """Batches of noise."""
    random, B = np.random.default_rng(0), options.batch
    return [
        {
            'mel': random.normal(size=(B, options.frames, BANDS)).astype(np.float16),
            'mean': np.zeros((B, BANDS), np.float32),
            'scale': np.ones((B, BANDS), np.float32),
            'emotion': random.integers(0, EMOTIONS, B),
            'speaker': random.integers(0, SPEAKERS, B),
        }
        for _ in range(count)
    ]


def torch_child(pipe, options) -> None:
    """Runs PyTorch's steps when told to, in a process of its own so that no thread pool disturbs the other."""
    os.chdir(Path(__file__).parent)
    sys.path.insert(0, '.')
    import torch
    import torch_loop

    sizes = {'bands': BANDS, 'emotions': EMOTIONS, 'domains': SPEAKERS}
    loop = torch_loop.Loop(
        made_up(options, 4), sizes, model(options), TRAIN, STEPS, options.compile
    )
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
    while (what := pipe.recv()) is not None:
        pipe.send(loop.time(max(4, options.steps // 3)) if what == 'step' else product())


def operations(options) -> tuple[float, float, int]:
    """Of one step: floating-point operations of its products (forward once, backward twice), bytes that must move, iterations."""
    m, B, T = model(options), options.batch, options.frames
    flops, channels, activations = 0.0, BANDS, B * T * BANDS
    for i, (kernel, _, stride) in enumerate(m['tdnn']):
        T = -(-T // stride)
        flops += (
            2 * B * T * kernel * channels * m['width'] * (3 if i else 2)
        )  # the input needs no gradient
        channels = m['width']
        activations += B * T * channels * 2
    G = 4 * m['hidden']
    flops += 3 * 2 * B * T * (channels + m['hidden']) * G
    activations += B * T * (2 * G + 2 * m['hidden'])
    return flops, 4.0 * 2 * activations, 2 * T  # written once, read once


class Ours:
    """A sweep of so many runs over one fold: an epoch of steps in one dispatch, features on the device, as training does."""

    def __init__(self, options, runs: int):
        import jax

        from jaxser.features import SharedArrays
        from jaxser.interfaces import Sizes
        from jaxser.methods import dann
        from jaxser.models import tdnn_lstm
        from jaxser.training import parallel, step

        m, n, B, T = model(options), options.steps, options.batch, options.frames
        config = SimpleNamespace(domain='speaker', domain_hidden=m['domain_hidden'])
        model_sizes = {k: m[k] for k in ('tdnn', 'width', 'hidden', 'dim')}
        encoder = tdnn_lstm.make(SimpleNamespace(**model_sizes, batch_norm='joint'))
        sizes = Sizes(BANDS, EMOTIONS, {'speaker': SPEAKERS}, STEPS)
        one = step.make_step(
            encoder, dann.make(config, encoder, sizes), sizes, SimpleNamespace(**TRAIN)
        )
        layout = parallel.Layout(runs, data_devices=options.data_devices)
        self.programs, self.block, self.devices = (
            parallel.compile_step(one, layout, T),
            jax.block_until_ready,
            len(layout.devices),
        )
        real = {
            'lr': 2e-3,
            'weight_decay': 1e-2,
            'dropout': 0.1,
            'time_mask': 0.1,
            'band_mask': 0.1,
            'domain_weight': 1.0,
        }
        hyper = {k: np.full(runs, v, np.float32) for k, v in real.items()} | {
            'lam': np.linspace(0, 1, runs, dtype=np.float32)
        }
        hyper |= {
            'seed': np.arange(runs, dtype=np.int32),
            'fold': np.zeros(runs, np.int32),
            'slot': np.zeros(runs, np.int32),
        }
        self.hyper = layout.put_runs_on_devices(
            {k: layout.group_by_device(x) for k, x in hyper.items()}
        )
        self.state = self.programs.init(self.hyper)
        some = made_up(options, n)
        mel_RxM = np.concatenate([x['mel'].reshape(-1, BANDS) for x in some])
        self.shared = layout.put_on_devices(
            SharedArrays(np.pad(mel_RxM, ((0, T), (0, 0)))), parallel.REPLICATED
        )
        stack = lambda k, dtype: np.stack([x[k] for x in some]).astype(dtype)  # noqa: E731
        batches = {
            'first_B': (np.arange(n * B, dtype=np.int32) * T).reshape(n, B),
            'frames_B': np.full((n, B), T, np.int32),
            'mean_BxM': stack('mean', np.float32),
            'scale_BxM': stack('scale', np.float32),
            'emotion_B': stack('emotion', np.int32),
            'labelled_B': np.ones((n, B), np.float32),
            'target_B': np.zeros((n, B), np.float32),
            'speaker_B': stack('speaker', np.int32),
            'speaker_seen_K': np.ones((n, SPEAKERS), np.float32),
        }
        spread = {
            k: np.broadcast_to(x[None, :, None], (layout.D, n, 1, *x.shape[1:]))
            for k, x in batches.items()
        }
        self.batches = layout.put_batch_on_devices(spread, 3)
        self.real_S = np.ones(n, bool)
        self.time()

    def time(self) -> float:
        """Seconds per step of all runs together."""
        began = time.perf_counter()
        self.state, metrics = self.programs.train_chunk(
            self.state, self.shared, self.batches, self.real_S, self.hyper
        )
        self.block(metrics)
        return (time.perf_counter() - began) / len(self.real_S)


class Chip:
    """What the chip can do, measured."""

    def __init__(self, options):
        import jax
        import jax.numpy as jnp

        self.n, self.block = options.square, jax.block_until_ready
        self.a = jnp.ones((self.n, self.n), jnp.float32)
        self.long = jnp.ones((1 << 26,), jnp.float32)  # 256 MiB: no cache holds it
        self.product, self.copy = jax.jit(lambda x: x @ x), jax.jit(lambda x: x + 1)
        self.loop = jax.jit(lambda x: jax.lax.fori_loop(0, 10_000, lambda i, y: jnp.tanh(y + i), x))
        self.block((self.product(self.a), self.copy(self.long), self.loop(1.0)))

    def _time(self, f, x, times: int) -> float:
        began = time.perf_counter()
        for _ in range(times):
            y = f(x)
        self.block(y)
        return (time.perf_counter() - began) / times

    def rate(self) -> float:
        """Float32 operations a second of a large product."""
        return 2 * self.n**3 / self._time(self.product, self.a, 4)

    def bandwidth(self) -> float:
        """Bytes a second, read and written."""
        return 8 * self.long.size / self._time(self.copy, self.long, 2)

    def iteration(self) -> float:
        """Seconds of an iteration of a compiled loop that does next to nothing."""
        return self._time(self.loop, 1.0, 1) / 10_000


def measure(options, runs: int, child) -> dict:
    """A row of the table."""
    ours, chip = Ours(options, runs), Chip(options)
    seen = {k: [] for k in ('ours', 'torch', 'rate', 'bandwidth', 'iteration')}

    def ask(what):
        child.send(what)
        return child.recv()

    for _ in range(options.repeats):
        seen['ours'].append(ours.time() / runs)
        if child:
            seen['torch'].append(ask('step'))
        seen['rate'].append(
            max(chip.rate(), 2 * options.square**3 / ask('product') if child else 0)
        )
        seen['bandwidth'].append(chip.bandwidth())
        seen['iteration'].append(chip.iteration())
    at = {k: statistics.median(v) if v else None for k, v in seen.items()}
    flops, moved, iterations = operations(options)
    floors = {
        'operations': flops / at['rate'],
        'bytes': moved / at['bandwidth'],
        'iterations': iterations * at['iteration'] / runs,
    }
    import jax

    ratio = statistics.median(o / t for o, t in zip(seen['ours'], seen['torch'])) if child else None
    return {
        'runs': runs,
        'ms_per_run_step': round(1e3 * at['ours'], 2),
        'torch_ms_per_step': round(1e3 * at['torch'], 2) if child else None,
        'ratio': round(ratio, 3) if child else None,
        'fraction_of_peak': round(flops / at['ours'] / at['rate'], 3),
        'fraction_of_floor': round(max(floors.values()) / at['ours'], 3),
        'device': jax.devices()[0].device_kind,
        'devices': ours.devices,
        'floor_ms': {k: round(1e3 * v, 2) for k, v in floors.items()},
        'gflop': round(flops / 1e9, 2),
        'peak_gflops': round(at['rate'] / 1e9),
        'bandwidth_gbs': round(at['bandwidth'] / 1e9, 1),
    }


def main() -> None:
    """Parses the command line and prints the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--runs', type=int, nargs='+', default=[1, 8])
    parser.add_argument('--frames', type=int, default=300)
    parser.add_argument('--batch', type=int, default=32)
    parser.add_argument('--width', type=int, default=128, help='of the TDNN and of the LSTM')
    parser.add_argument(
        '--subsampled',
        action='store_true',
        help='the strides of configs/base.py rather than every frame',
    )
    parser.add_argument('--steps', type=int, default=24, help='in one dispatch')
    parser.add_argument('--data_devices', type=int, default=1, help='that share the batch of a run')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument(
        '--square', type=int, default=1536, help='of the matrix product that is the peak'
    )
    parser.add_argument(
        '--compile', action='store_true', help='the PyTorch loop under torch.compile'
    )
    parser.add_argument('--no-torch', action='store_true')
    parser.add_argument('--json', action='store_true', help='nothing but the JSON lines')
    options = parser.parse_args()
    os.environ.setdefault('JAX_NUM_CPU_DEVICES', str(os.cpu_count()))  # as jaxser.main does
    child = None
    if not options.no_torch:
        context = multiprocessing.get_context('spawn')
        child, end = context.Pipe()
        context.Process(target=torch_child, args=(end, options), daemon=True).start()
        end.close()  # so that its end is noticed
        try:
            versions = [child.recv()]
        except EOFError:
            raise SystemExit(
                "PyTorch's process has ended; above it says why. --no-torch goes without."
            ) from None
    else:
        versions = []
    if not options.json:
        import jax

        machine = f'{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs'
        versions = [f'Python {platform.python_version()}', f'jax {jax.__version__}', *versions]
        print(f'# {machine};', ', '.join(versions), time.strftime('%Y-%m-%d'))
    for runs in options.runs:
        print(json.dumps(measure(options, runs, child)), flush=True)
    if child:
        with contextlib.suppress(BrokenPipeError):
            child.send(None)


if __name__ == '__main__':
    main()
