"""Measures a sweep of LoRA runs over one frozen encoder: all runs together, and one by one.

  python tests/benchmarks/lora.py FOLDER [--runs 1 8 32] [--batch 8] [--seconds 2] [--rank 8]

FOLDER is a Hugging Face folder of Whisper. The runs are of one fold and differ in lam and seed. For
each number of runs one JSON object is printed, with milliseconds per run and step (medians):

  one_by_one   a sweep of one run, which has the whole machine for itself
  in_turn      all runs in one program, each with its own copy of the batch
  together     all runs in one program, in blocks that share the batch, as training does it

ratio_to_one_by_one and ratio_to_in_turn are the times of `together` divided by theirs: medians of
the ratios of each repetition. scratch_gib_per_device is the temporary memory of a program.
"""

import argparse
import json
import os
import platform
import statistics
import time

import numpy as np

EMOTIONS = 4
SPEAKERS = 8
STEPS = 1000


def make_step(options):
    """Returns the step of a run of dann, and the weights of the frozen encoder."""
    from configs import base
    from jaxser import plugins
    from jaxser.interfaces import Sizes
    from jaxser.training import step

    config = base.get_config()
    config.method = 'dann'
    config.model.name = 'fine_tuned'
    config.model.upstream = options.folder
    config.model.lora = options.rank
    sizes = Sizes(options.bands, EMOTIONS, {'speaker': SPEAKERS, 'language': 1, 'corpus': 1}, STEPS)
    encoder, method = plugins.make_method(config, sizes)
    run_step = step.make_step(encoder, method, sizes, config.train, is_masked=False)
    return run_step, encoder.frozen, method.hyper


def make_batches(options) -> dict[str, np.ndarray]:
    """Returns the batches of all steps, of utterances from a third of `--seconds` to all of it."""
    random = np.random.default_rng(0)
    S, B, T, M = options.steps, options.batch, round(100 * options.seconds), options.bands
    return {
        'mel_BxTxM': random.normal(size=(S, B, T, M)).astype(np.float16),
        'frames_B': np.broadcast_to(np.linspace(T // 3, T, B).astype(np.int32), (S, B)),
        'mean_BxM': np.zeros((S, B, M), np.float32),
        'scale_BxM': np.ones((S, B, M), np.float32),
        'emotion_B': random.integers(0, EMOTIONS, (S, B)).astype(np.int32),
        'labelled_B': np.ones((S, B), np.float32),
        'target_B': np.zeros((S, B), np.float32),
        'speaker_B': random.integers(0, SPEAKERS, (S, B)).astype(np.int32),
        'speaker_seen_K': np.ones((S, SPEAKERS), np.float32),
    }


def make_hyper(defaults: dict, runs: int) -> dict[str, np.ndarray]:
    """Returns the hyper-parameters of so many runs, which differ in lam and seed."""
    values = {'lr': 1e-3, 'weight_decay': 1e-2, 'dropout': 0.1, 'time_mask': 0.0, 'band_mask': 0.0}
    hyper = {key: np.full(runs, x, np.float32) for key, x in (values | defaults).items()}
    hyper['lam'] = np.linspace(0, 1, runs, dtype=np.float32)
    hyper['seed'] = np.arange(runs, dtype=np.int32)
    hyper['fold'] = np.zeros(runs, np.int32)
    hyper['slot'] = np.zeros(runs, np.int32)
    return hyper


class Sweep:
    """A sweep of several runs over one fold, as training runs it."""

    def __init__(self, options, runs: int, block: int | None = None):
        """Compiles it. `block` is the number of runs of a block, by default that of training."""
        from jaxser.features import SharedArrays
        from jaxser.training import parallel

        run_step, frozen, defaults = make_step(options)
        layout = parallel.Layout(runs)
        self.runs = runs
        self.devices = layout.D
        hyper = make_hyper(defaults, runs)
        hyper = {key: layout.group_by_device(x) for key, x in hyper.items()}
        self.block = block or parallel.runs_per_block(hyper['slot'])
        programs = parallel.compile_step(
            run_step, layout, round(100 * options.seconds), block=self.block
        )
        self.hyper = layout.put_runs_on_devices(hyper)
        self.state = programs.init(self.hyper)
        self.shared = layout.put_on_devices(SharedArrays(None, frozen), parallel.REPLICATED)
        batches = {}
        for key, x in make_batches(options).items():
            batches[key] = np.broadcast_to(x[None, :, None], (layout.D, len(x), 1, *x.shape[1:]))
        self.batches = layout.put_batch_on_devices(batches, parallel.TRAINING_AXIS_B)
        self.steps = options.steps
        self.span_2 = np.array([0, options.steps], np.int32)
        self.train_chunk = programs.train_chunk.lower(*self._arguments()).compile()
        self.bytes = self.train_chunk.memory_analysis().temp_size_in_bytes
        self.time()

    def _arguments(self) -> tuple:
        return self.state, self.shared, self.batches, self.span_2, self.hyper

    def time(self) -> float:
        """Runs a dispatch and returns the milliseconds per run and step."""
        import jax

        began = time.perf_counter()
        self.state, metrics = self.train_chunk(*self._arguments())
        jax.block_until_ready(metrics)
        return 1e3 * (time.perf_counter() - began) / self.steps / self.runs


def measure(options, runs: int, alone: Sweep) -> dict:
    """Returns the figures for a number of runs."""
    sweeps = {'one_by_one': alone}
    if runs > 1:
        sweeps |= {'in_turn': Sweep(options, runs, block=1), 'together': Sweep(options, runs)}
    turns = {name: [] for name in sweeps}
    for _ in range(options.repeats):
        for name, sweep in sweeps.items():
            turns[name].append(sweep.time())
    facts = {'runs': runs}
    for name, sweep in sweeps.items():
        facts[f'{name}_ms'] = round(statistics.median(turns[name]), 1)
        facts[f'{name}_scratch_gib_per_device'] = round(sweep.bytes / 2**30, 2)
    if runs > 1:
        facts['block'] = sweeps['together'].block
        facts['devices'] = sweeps['together'].devices
        for other in ('one_by_one', 'in_turn'):
            ratios = np.array(turns['together']) / np.array(turns[other])
            facts[f'ratio_to_{other}'] = round(float(np.median(ratios)), 3)
    return facts


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('folder', metavar='FOLDER')
    add('--runs', type=int, nargs='+', default=[1, 8, 32])
    add('--batch', type=int, default=8)
    add('--seconds', type=float, default=2.0)
    add('--rank', type=int, default=8)
    add('--bands', type=int, default=80, help='bands of the log-mel of the encoder')
    add('--steps', type=int, default=2, help='number of steps in one dispatch')
    add('--repeats', type=int, default=5)
    return parser


def main() -> None:
    """Parses the command line and prints one JSON object for each number of runs."""
    options = make_parser().parse_args()
    os.environ.setdefault('JAX_NUM_CPU_DEVICES', str(os.cpu_count()))  # as jaxser.main does
    import jax

    machine = {
        'machine': f'{platform.machine()}, {os.cpu_count()} cores',
        'device': jax.devices()[0].device_kind,
        'versions': f'Python {platform.python_version()}, jax {jax.__version__}',
        'date': time.strftime('%Y-%m-%d'),
    }
    alone = Sweep(options, 1)
    for runs in options.runs:
        print(json.dumps(measure(options, runs, alone) | machine), flush=True)


if __name__ == '__main__':
    main()
