"""Test that the benchmark of the training step still fits the package."""

import importlib.util
from pathlib import Path

import jax

BENCHMARK = Path(__file__).parents[2] / 'benchmarks' / 'step.py'


def test_the_benchmark_builds_the_network_and_its_optimiser():
    """Nothing is compiled or measured."""
    spec = importlib.util.spec_from_file_location('step_benchmark', BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    options = benchmark.make_parser().parse_args(['--width', '8'])
    hyper = {name: values[0] for name, values in benchmark.hyper_values(1).items()}
    state = jax.eval_shape(benchmark.make_run_step(options).init, hyper)
    assert set(state.params) == {'encoder', 'emotion', 'speaker'}
    assert state.params['encoder']['recurrent'].shape == (8, 32)
