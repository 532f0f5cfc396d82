"""How many runs a device takes at once, from what compiled programs say of themselves."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.errors import UserError
from jaxser.interfaces import State
from jaxser.training import memory


def program(needed: int) -> SimpleNamespace:
    """A compiled program that takes so many bytes; what it gives back over its arguments takes none."""
    sizes = {'argument': needed - 5, 'output': 8, 'alias': 7, 'temp': 4}
    analysis = SimpleNamespace(**{f'{k}_size_in_bytes': v for k, v in sizes.items()})
    return SimpleNamespace(memory_analysis=lambda: analysis)


class Compiler:
    """Compiles programs whose runs take `each` bytes beside a `base` that all share, and remembers for how many runs."""

    def __init__(self, each: int, base: int = 0):
        self.each, self.base, self.requested = each, base, []

    def __call__(self, runs: int) -> SimpleNamespace:
        self.requested.append(runs)
        return program(self.each * runs + self.base)


def test_all_runs_train_at_once_where_they_fit():
    """Up to the last byte, and nothing is compiled twice: the program that was weighed is the one that runs."""
    compiler = Compiler(each=10)
    runs, compiled = memory.choose_runs_per_device(compiler, max_runs=6, limit_bytes=60)
    assert runs == 6
    assert memory.required_bytes(compiled) == 60
    assert compiler.requested == [6]


@pytest.mark.parametrize(
    ('most', 'each', 'base', 'limit', 'runs'),
    [
        (6, 10, 0, 59, 3),  # two groups
        (10, 10, 0, 45, 4),  # three groups: 4, 4, 2
        (12, 10, 0, 45, 4),  # three of 4
        (7, 10, 0, 10, 1),
        (20, 10, 40, 100, 5),  # 6 would fit, but four groups are needed either way
        (48, 10, 100, 300, 16),
    ],
)
def test_what_does_not_fit_trains_in_the_fewest_groups_and_these_are_equal(
    most, each, base, limit, runs
):
    """No larger groups than their number needs, and no more of them than memory asks for."""
    compiler = Compiler(each, base)
    found, compiled = memory.choose_runs_per_device(compiler, most, limit)
    fewest = -(-most // ((limit - base) // each))
    assert found == runs == -(-most // fewest)
    assert memory.required_bytes(compiled) == each * runs + base <= limit
    assert compiler.requested[-1] == runs
    assert len(compiler.requested) <= 3


@pytest.mark.parametrize(
    ('most', 'each', 'per_run', 'limit', 'runs'),
    [
        (6, 10, 5, 90, 6),  # up to the last byte
        (6, 10, 5, 89, 3),
        (6, 10, 5, 60, 3),  # the program of six alone would fit
    ],
)
def test_what_runs_take_beside_the_program_counts(most, each, per_run, limit, runs):
    """The selected parameters and the copy of the state are no arguments of the program."""
    found, compiled = memory.choose_runs_per_device(Compiler(each), most, limit, per_run)
    assert found == runs
    assert memory.required_bytes(compiled, runs * per_run) == runs * (each + per_run) <= limit


def test_a_refusal_says_what_a_run_takes_beside_the_program():
    """The sum of both is what does not fit."""
    with pytest.raises(UserError, match=r'1 run\(s\) on a device need 4\.00 GiB of memory'):
        memory.choose_runs_per_device(
            Compiler(each=3 << 30),
            max_runs=1,
            limit_bytes=(4 << 30) - 1,
            extra_bytes_per_run=1 << 30,
        )


def test_what_a_run_holds_beside_the_program_is_its_state_and_its_selected_parameters():
    """Parameters and statistics twice, everything else of the state once."""
    array = np.zeros((2, 3), np.float32)
    state = State(
        step=np.int32(0),
        params={'w': array},
        batch_stats={'mean': array[0]},
        extra={},
        opt_state=(array, array),
        key=np.zeros(2, np.uint32),
    )
    assert memory.bytes_beside_program(state) == 4 + 2 * 24 + 2 * 12 + 2 * 24 + 8


def test_a_sweep_of_which_no_run_fits_is_refused_in_a_sentence():
    """With what it takes, what there is, and what to change."""
    compiler = Compiler(each=3 << 30)
    with pytest.raises(UserError) as refusal:
        memory.choose_runs_per_device(compiler, max_runs=4, limit_bytes=2 << 30)
    assert '1 run(s) on a device need 3.00 GiB of memory, and 2.00 GiB may be used.' in str(
        refusal.value
    )
    assert 'config.data.batch' in str(refusal.value)
    assert compiler.requested == [4, 1]


def test_no_more_than_three_programs_are_compiled():
    """A program that takes the same however few its runs is refused after the third."""
    compiler = Compiler(each=0, base=3 << 30)
    with pytest.raises(UserError, match=r'need 3\.00 GiB'):
        memory.choose_runs_per_device(compiler, max_runs=100, limit_bytes=2 << 30)
    assert len(compiler.requested) == 3
    assert compiler.requested == sorted(compiler.requested, reverse=True)


def test_a_program_takes_its_arguments_its_results_and_its_scratch_space():
    """By XLA's own analysis; a donated argument whose place the result takes counts once."""
    argument = jax.ShapeDtypeStruct((1000,), np.float32)
    assert memory.required_bytes(jax.jit(lambda x: x + 1).lower(argument).compile()) == 8000
    assert (
        memory.required_bytes(jax.jit(lambda x: x + 1, donate_argnums=0).lower(argument).compile())
        == 4000
    )
    scratch = jax.jit(lambda x: jnp.sort(jnp.sin(x))[0]).lower(argument).compile()
    assert memory.required_bytes(scratch) >= 4000 + 4 + 4000


def test_a_program_without_an_analysis_is_taken_to_fit():
    """Some back ends have none."""
    compiled = SimpleNamespace(memory_analysis=lambda: None)
    assert memory.required_bytes(compiled) == 0
    assert memory.required_bytes(compiled, 5) == 0
    assert memory.choose_runs_per_device(lambda runs: compiled, max_runs=9, limit_bytes=1) == (
        9,
        compiled,
    )


def test_the_limit_is_a_share_of_what_there_is():
    """Of the host's memory for all its devices together; of an accelerator's own, if it says how much that is."""
    one, eight = (memory.memory_limit(jax.devices()[:n]) for n in (1, 8))
    assert one == pytest.approx(8 * eight, abs=8)
    assert 0 < one < 1 << 50
    accelerator = lambda stats: SimpleNamespace(platform='gpu', memory_stats=lambda: stats)  # noqa: E731
    assert memory.memory_limit([accelerator({'bytes_limit': 1000})] * 2) == 900
    assert memory.memory_limit([accelerator(None)]) > 1 << 50
