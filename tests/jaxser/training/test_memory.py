"""Tests of how many runs a device trains at once, from the analysis of compiled programs."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.errors import UserError
from jaxser.interfaces import State
from jaxser.training import memory


def make_program(needed: int) -> SimpleNamespace:
    """Returns a compiled program of so many bytes; results in place of arguments take none."""
    analysis = SimpleNamespace(
        argument_size_in_bytes=needed - 5,
        output_size_in_bytes=8,
        alias_size_in_bytes=7,
        temp_size_in_bytes=4,
    )
    return SimpleNamespace(memory_analysis=lambda: analysis)


class Compiler:
    """Compiles programs of `base + run_bytes * runs` bytes; records the runs."""

    def __init__(self, run_bytes: int, base: int = 0):
        self.run_bytes = run_bytes
        self.base = base
        self.requested: list[int] = []

    def __call__(self, runs: int) -> SimpleNamespace:
        self.requested.append(runs)
        return make_program(self.run_bytes * runs + self.base)


def test_all_runs_train_at_once_if_they_fit():
    """They may take the last byte. The measured program is used, so that only one is compiled."""
    compiler = Compiler(run_bytes=10)
    runs, compiled = memory.choose_runs_per_device(compiler, max_runs=6, limit_bytes=60)
    assert runs == 6
    assert memory.required_bytes(compiled) == 60
    assert compiler.requested == [6]


@pytest.mark.parametrize(
    ('max_runs', 'run_bytes', 'base', 'limit', 'runs'),
    [
        (6, 10, 0, 59, 3),  # two groups
        (10, 10, 0, 45, 4),  # three groups: 4, 4, 2
        (12, 10, 0, 45, 4),  # three of 4
        (7, 10, 0, 10, 1),
        (20, 10, 40, 100, 5),  # 6 would fit, but four groups are needed either way
        (48, 10, 100, 300, 16),
    ],
)
def test_runs_that_do_not_fit_train_in_the_fewest_equal_groups(
    max_runs, run_bytes, base, limit, runs
):
    """As few groups as fit, and the smallest group size for this number of groups."""
    compiler = Compiler(run_bytes, base)
    chosen, compiled = memory.choose_runs_per_device(compiler, max_runs, limit)
    group_count = -(-max_runs // ((limit - base) // run_bytes))
    assert chosen == runs == -(-max_runs // group_count)
    assert memory.required_bytes(compiled) == run_bytes * runs + base <= limit
    assert compiler.requested[-1] == runs
    assert len(compiler.requested) <= 3


@pytest.mark.parametrize(
    ('max_runs', 'run_bytes', 'extra_bytes', 'limit', 'runs'),
    [
        (6, 10, 5, 90, 6),  # up to the last byte
        (6, 10, 5, 89, 3),
        (6, 10, 5, 60, 3),  # the program of six alone would fit
    ],
)
def test_bytes_outside_the_program_count(max_runs, run_bytes, extra_bytes, limit, runs):
    """The selected parameters and the copy of the state are not arguments of the program."""
    compiler = Compiler(run_bytes)
    chosen, compiled = memory.choose_runs_per_device(compiler, max_runs, limit, extra_bytes)
    assert chosen == runs
    required_bytes = memory.required_bytes(compiled, runs * extra_bytes)
    assert required_bytes == runs * (run_bytes + extra_bytes) <= limit


def test_the_error_counts_the_bytes_outside_the_program():
    """What must fit is the sum of both."""
    with pytest.raises(UserError, match=r'A device needs 4\.00 GiB of memory for 1 run, and'):
        memory.choose_runs_per_device(
            Compiler(run_bytes=3 << 30),
            max_runs=1,
            limit_bytes=(4 << 30) - 1,
            extra_bytes_per_run=1 << 30,
        )


def test_the_bytes_outside_the_program_are_a_state_and_selected_parameters():
    """Parameters and statistics count twice, the rest of the state once."""
    array = np.zeros((2, 3), np.float32)
    state = State(
        step=np.int32(0),
        params={'w': array},
        batch_stats={'mean': array[0]},
        extra={},
        opt_state=(array, array),
        key=np.zeros(2, np.uint32),
    )
    assert memory.bytes_outside_program(state) == 4 + 2 * 24 + 2 * 12 + 2 * 24 + 8


def test_a_sweep_of_which_no_run_fits_raises_a_user_error():
    """Its message says what is needed, what there is, and what to change."""
    compiler = Compiler(run_bytes=3 << 30)
    with pytest.raises(UserError) as error:
        memory.choose_runs_per_device(compiler, max_runs=4, limit_bytes=2 << 30)
    assert 'A device needs 3.00 GiB of memory for 1 run, and 2.00 GiB may be used.' in str(
        error.value
    )
    assert 'config.data.batch' in str(error.value)
    assert compiler.requested == [4, 1]


def test_no_more_than_three_programs_are_compiled():
    """The third is the last, even if the size of the program does not depend on its runs."""
    compiler = Compiler(run_bytes=0, base=3 << 30)
    with pytest.raises(UserError, match=r'needs 3\.00 GiB'):
        memory.choose_runs_per_device(compiler, max_runs=100, limit_bytes=2 << 30)
    assert len(compiler.requested) == 3
    assert compiler.requested == sorted(compiler.requested, reverse=True)


def test_arguments_results_and_scratch_space_count():
    """XLA's analysis has them; a donated argument and the result in its place count once."""
    argument = jax.ShapeDtypeStruct((1000,), np.float32)
    assert memory.required_bytes(jax.jit(lambda x: x + 1).lower(argument).compile()) == 8000
    assert (
        memory.required_bytes(jax.jit(lambda x: x + 1, donate_argnums=0).lower(argument).compile())
        == 4000
    )
    scratch = jax.jit(lambda x: jnp.sort(jnp.sin(x))[0]).lower(argument).compile()
    assert memory.required_bytes(scratch) >= 4000 + 4 + 4000


def test_a_program_without_an_analysis_fits():
    """Some back ends have none."""
    compiled = SimpleNamespace(memory_analysis=lambda: None)
    assert memory.required_bytes(compiled) == 0
    assert memory.required_bytes(compiled, 5) == 0
    assert memory.choose_runs_per_device(lambda runs: compiled, max_runs=9, limit_bytes=1) == (
        9,
        compiled,
    )


def test_the_limit_is_a_fraction_of_the_memory():
    """It is of the host's memory, divided by its devices, or of an accelerator's own if known."""
    one_device_limit = memory.memory_limit(jax.devices()[:1])
    eight_device_limit = memory.memory_limit(jax.devices()[:8])
    assert one_device_limit == pytest.approx(8 * eight_device_limit, abs=8)
    assert 0 < one_device_limit < 1 << 50
    known_device = SimpleNamespace(platform='gpu', memory_stats=lambda: {'bytes_limit': 1000})
    unknown_device = SimpleNamespace(platform='gpu', memory_stats=lambda: None)
    assert memory.memory_limit([known_device, known_device]) == 900
    assert memory.memory_limit([unknown_device]) > 1 << 50
