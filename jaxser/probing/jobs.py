"""Fits the attackers of many jobs, padded to few shapes, on all cores or devices.

A job is a question about one representation. Jobs of similar size share a compiled program, so that
a small job is not padded to the size of the largest. On a CPU each job runs in a thread of its own,
one for each core: a product of two small matrices does not use several cores well. On accelerators
jobs are vmapped, as many at once as fit into memory. A job's data are made when it starts, and only
its outcome is kept, so that memory does not grow with the number of jobs.
"""

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, PartitionSpec
from threadpoolctl import threadpool_limits

from jaxser.probing import attackers
from jaxser.probing.attackers.job import Examples, JobData
from jaxser.probing.questions import Question
from jaxser.training import memory

# Sizes up to the smallest of these share a program, and so do those between two powers of 2 of it.
SMALLEST_EXAMPLES = 256
SMALLEST_DIMENSIONS = 128
# Compiles sooner. Jobs are no slower: nearly all of their time is in products by a library.
FAST_COMPILATION = {'xla_backend_optimization_level': 1}
MAX_JOBS_PER_DISPATCH = 64  # on each accelerator
ACCELERATOR_SHARE = 0.5  # of the memory that training may use; runs and features have the rest


class Job(NamedTuple):
    """A question about the representation x_NxD of the utterances `rows` (ascending)."""

    question: Question
    rows: np.ndarray
    x_NxD: np.ndarray

    def positions(self, question_rows: np.ndarray) -> np.ndarray:
        """Returns the positions in x_NxD of these utterances, which must be among `rows`."""
        return np.searchsorted(self.rows, question_rows)


class Shape(NamedTuple):
    """The size of a program.

    Attackers are fitted on F examples, choose their settings on V and are tested on T; D
    dimensions, K classes.
    """

    F: int
    V: int
    T: int
    D: int
    K: int


class Program(NamedTuple):
    """The compiled attackers of one shape."""

    fit: Callable  # (JobData, true_T) -> Outcome; of several jobs each array has a first axis
    needed_bytes: int  # on a device


def size_class(size: int, smallest: int) -> int:
    """Returns the least smallest * 2^n that is not less than the size."""
    limit = smallest
    while limit < size:
        limit *= 2
    return limit


class ShapeTable:
    """The shapes of all jobs of a sweep: a job is padded to the largest of its size class.

    The class depends on the number of known examples, F + V, and on the width.
    """

    def __init__(self, questions: list[Question]):
        self.K = max((len(question.classes) for question in questions), default=2)
        self.F: dict[int, int] = {}
        self.V: dict[int, int] = {}
        self.T: dict[int, int] = {}
        self.D: dict[int, int] = {}
        for question in questions:
            key = _known_size_class(question)
            self.F[key] = max(self.F.get(key, 0), len(question.fit_rows))
            self.V[key] = max(self.V.get(key, 0), len(question.validation_rows))
            self.T[key] = max(self.T.get(key, 0), len(question.test_rows))

    def add_width(self, width: int) -> None:
        """Adds the width of a representation; call it for all jobs before `get_shape`."""
        key = size_class(width, SMALLEST_DIMENSIONS)
        self.D[key] = max(self.D.get(key, 0), width)

    def get_shape(self, job: Job) -> Shape:
        """Returns the shape to which a job is padded."""
        key = _known_size_class(job.question)
        width_key = size_class(job.x_NxD.shape[1], SMALLEST_DIMENSIONS)
        return Shape(self.F[key], self.V[key], self.T[key], self.D[width_key], self.K)


def _known_size_class(question: Question) -> int:
    """Returns the size class of the number of known examples, F + V."""
    known = len(question.fit_rows) + len(question.validation_rows)
    return size_class(known, SMALLEST_EXAMPLES)


def make_job_data(job: Job, shape: Shape) -> JobData:
    """Returns the arrays of a job, padded; each part is in a random, fixed order."""
    question = job.question

    def make_examples(rows: np.ndarray, size: int) -> Examples:
        rows = np.random.default_rng(0).permutation(rows)
        x_NxD = job.x_NxD[job.positions(rows)].astype(np.float32)
        return Examples(
            x_NxD=_pad(x_NxD, (size, shape.D)),
            y_N=_pad(question.label_N[rows].astype(np.int32), (size,)),
            mask_N=_pad(np.ones(len(rows), np.float32), (size,)),
        )

    test_TxD = job.x_NxD[job.positions(question.test_rows)].astype(np.float32)
    return JobData(
        make_examples(question.fit_rows, shape.F),
        make_examples(question.validation_rows, shape.V),
        _pad(test_TxD, (shape.T, shape.D)),
    )


def _pad(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the array with zeros at the end of its axes."""
    padded = np.zeros(shape, array.dtype)
    padded[tuple(slice(0, size) for size in array.shape)] = array
    return padded


def true_labels(job: Job, shape: Shape) -> np.ndarray:
    """Returns the classes of a job's tested examples, padded."""
    true_T = job.question.label_N[job.question.test_rows]
    return _pad(true_T.astype(np.int32), (shape.T,))


def fit_jobs(jobs: list[Job], shapes: ShapeTable) -> Iterator[tuple[int, attackers.Outcome]]:
    """Yields (index of a job, its Outcome without padding), as soon as each job is done."""
    is_on_cpu = jax.local_devices()[0].platform == 'cpu'
    fit = _fit_in_threads if is_on_cpu else _fit_in_batches
    indices_by_shape: dict[Shape, list[int]] = {}
    for index, job in enumerate(jobs):
        indices_by_shape.setdefault(shapes.get_shape(job), []).append(index)
    for index, outcome in fit(jobs, indices_by_shape):
        T = len(jobs[index].question.test_rows)
        yield (
            index,
            attackers.Outcome(
                outcome.predicted_AxT[:, :T],
                outcome.true_log_p_AxT[:, :T],
                outcome.validation_loss_A,
            ),
        )


def _fit_in_threads(
    jobs: list[Job], indices_by_shape: dict[Shape, list[int]]
) -> Iterator[tuple[int, attackers.Outcome]]:
    devices = jax.local_devices()
    budget = MemoryBudget(memory.memory_limit(devices) * len(devices))
    shapes = list(indices_by_shape)
    programs = {}
    for position, program in run_in_threads(compile_for_job, shapes):
        programs[shapes[position]] = program
    items = [(index, shape) for shape, indices in indices_by_shape.items() for index in indices]

    def fit(item: tuple[int, Shape]) -> attackers.Outcome:
        index, shape = item
        program = programs[shape]
        with budget.reserve(program.needed_bytes):
            data = make_job_data(jobs[index], shape)
            outcome = program.fit(data, true_labels(jobs[index], shape))
            return jax.tree.map(np.asarray, outcome)

    for position, outcome in run_in_threads(fit, items):
        yield items[position][0], outcome


class MemoryBudget:
    """Bytes that threads share: a thread waits until enough of them are free."""

    def __init__(self, limit_bytes: int):
        self.limit_bytes = limit_bytes
        self.reserved_bytes = 0
        self.changed = threading.Condition()

    @contextlib.contextmanager
    def reserve(self, needed_bytes: int) -> Iterator[None]:
        """Reserves bytes within the context; more than the limit only if nothing is reserved."""
        with self.changed:
            self.changed.wait_for(lambda: self._fits(needed_bytes))
            self.reserved_bytes += needed_bytes
        try:
            yield
        finally:
            with self.changed:
                self.reserved_bytes -= needed_bytes
                self.changed.notify_all()

    def _fits(self, needed_bytes: int) -> bool:
        is_free = self.reserved_bytes == 0
        return is_free or self.reserved_bytes + needed_bytes <= self.limit_bytes


def run_in_threads(function: Callable, items: list) -> Iterator[tuple[int, object]]:
    """Yields (index, result) of the function for each item, computed by a thread for each core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    # LAPACK's own threads would compete with these.
    with threadpool_limits(1), ThreadPoolExecutor(cores) as pool:
        index_of = {pool.submit(function, item): index for index, item in enumerate(items)}
        try:
            for future in as_completed(index_of):
                yield index_of.pop(future), future.result()
        finally:  # after an error, or Ctrl-C, no further job starts
            pool.shutdown(cancel_futures=True)


def _fit_in_batches(
    jobs: list[Job], indices_by_shape: dict[Shape, list[int]]
) -> Iterator[tuple[int, attackers.Outcome]]:
    device_count = len(jax.local_devices())
    unfinished: tuple | None = None
    for shape, indices in indices_by_shape.items():
        size = device_count * jobs_per_device(shape, -(-len(indices) // device_count))
        for start in range(0, len(indices), size):
            chosen = indices[start : start + size]
            # Every device has equally many jobs; the last job is repeated for less than one each.
            filled = chosen + chosen[-1:] * (-len(chosen) % device_count)
            examples = [
                (make_job_data(jobs[index], shape), true_labels(jobs[index], shape))
                for index in filled
            ]
            stacked = jax.tree.map(lambda *arrays: np.stack(arrays), *examples)
            program = _compile_batch(shape, len(filled) // device_count)
            outcomes = program.fit(*stacked)  # the host goes on while the devices compute
            if unfinished:
                yield from _separate(*unfinished)
            unfinished = chosen, outcomes
    if unfinished:
        yield from _separate(*unfinished)


def _separate(
    indices: list[int], outcomes: attackers.Outcome
) -> Iterator[tuple[int, attackers.Outcome]]:
    """Yields (index of a job, its Outcome) of jobs that were fitted together."""
    outcomes = jax.tree.map(np.asarray, outcomes)
    for n, index in enumerate(indices):
        yield index, jax.tree.map(lambda array, n=n: array[n], outcomes)


def jobs_per_device(shape: Shape, most: int) -> int:
    """Returns how many jobs of a shape each device fits at once, at most `most`.

    The compiled program and the data of the next batch must fit into the memory of a device.
    UserError if they do not fit for one job.
    """
    devices = jax.local_devices()
    size, _ = memory.choose_runs_per_device(
        lambda jobs: _compile_batch(shape, jobs).fit,
        min(most, MAX_JOBS_PER_DISPATCH),
        int(ACCELERATOR_SHARE * memory.memory_limit(devices)),
        _data_bytes(shape),
    )
    return size


@functools.cache
def compile_for_job(shape: Shape) -> Program:
    """Compiles the attackers of a single job."""
    fit = jax.jit(_fit_function(shape.K), compiler_options=FAST_COMPILATION)
    return _compile(fit, shape, ())


def _compile_batch(shape: Shape, jobs: int) -> Program:
    """Compiles the attackers of so many jobs on each local device."""
    # JAX compiles products in the precision of the context, so that it belongs to the cache's key.
    return _compile_batch_with(shape, jobs, jax.config.jax_default_matmul_precision)


@functools.cache
def _compile_batch_with(shape: Shape, jobs: int, precision: str | None) -> Program:
    del precision
    devices = jax.local_devices()
    mesh = jax.make_mesh((len(devices),), ('jobs',), axis_types=(AxisType.Auto,), devices=devices)
    per_device = PartitionSpec('jobs')
    fit = jax.shard_map(
        jax.vmap(_fit_function(shape.K)),
        mesh=mesh,
        in_specs=per_device,
        out_specs=per_device,
        check_vma=False,
    )
    return _compile(jax.jit(fit), shape, (jobs * len(devices),))


def _compile(fit: Callable, shape: Shape, first_axes: tuple[int, ...]) -> Program:
    compiled = fit.lower(*_array_shapes(shape, first_axes)).compile()
    return Program(compiled, memory.required_bytes(compiled))


def _array_shapes(shape: Shape, first_axes: tuple[int, ...]) -> tuple:
    """Returns the arguments of a program, without values; `first_axes` is () or those of jobs."""

    def array(dtype, *axes: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((*first_axes, *axes), dtype)

    def example_shapes(size: int) -> Examples:
        return Examples(
            array(np.float32, size, shape.D), array(np.int32, size), array(np.float32, size)
        )

    data = JobData(
        example_shapes(shape.F), example_shapes(shape.V), array(np.float32, shape.T, shape.D)
    )
    return data, array(np.int32, shape.T)


def _data_bytes(shape: Shape) -> int:
    """Returns the bytes of the arguments of one job."""
    arrays = jax.tree.leaves(_array_shapes(shape, ()))
    return sum(array.size * array.dtype.itemsize for array in arrays)


@functools.cache
def _fit_function(classes: int) -> Callable:
    """Returns the function of a job: (JobData, true_T) -> Outcome."""

    def fit_job(data: JobData, true_T: jax.Array) -> attackers.Outcome:
        return attackers.attack_outcome(attackers.fit_attackers(data, classes), true_T)

    return fit_job
