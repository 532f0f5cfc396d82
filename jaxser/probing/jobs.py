"""Fits the attackers of many jobs, padded to few shapes, on all cores or devices.

A job is a question about one representation. Jobs of similar size share a compiled program, so that
a small job is not padded to the size of the largest. On a CPU each job runs in a thread of its own,
one for each core: a product of two small matrices does not use several cores well. On accelerators
jobs are vmapped.
"""

import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import NamedTuple

import jax
import numpy as np
from threadpoolctl import threadpool_limits

from jaxser.probing import attackers
from jaxser.probing.attackers.job import JobData
from jaxser.probing.questions import Question
from jaxser.training import parallel

# Sizes up to the smallest of these share a program, and so do those between two powers of 2 of it.
SMALLEST_EXAMPLES = 256
SMALLEST_DIMENSIONS = 128
JOBS_PER_DISPATCH = 16  # on each accelerator


class Job(NamedTuple):
    """A question about the representation x_NxD of the utterances `rows` (ascending)."""

    question: Question
    rows: np.ndarray
    x_NxD: np.ndarray

    def positions(self, question_rows: np.ndarray) -> np.ndarray:
        """Returns the positions in x_NxD of these utterances, which must be among `rows`."""
        return np.searchsorted(self.rows, question_rows)


class Shape(NamedTuple):
    """The size of a program: N known and T tested examples, D dimensions, K classes."""

    N: int
    T: int
    D: int
    K: int


def size_class(size: int, smallest: int) -> int:
    """Returns the least smallest * 2^n that is not less than the size."""
    limit = smallest
    while limit < size:
        limit *= 2
    return limit


class ShapeTable:
    """The shapes of all jobs of a sweep: a job is padded to the largest of its size class."""

    def __init__(self, questions: list[Question]):
        self.K = max((len(question.classes) for question in questions), default=2)
        self.N: dict[int, int] = {}
        self.T: dict[int, int] = {}
        self.D: dict[int, int] = {}
        for question in questions:
            known = len(question.fit_rows) + len(question.validation_rows)
            key = size_class(known, SMALLEST_EXAMPLES)
            self.N[key] = max(self.N.get(key, 0), known)
            self.T[key] = max(self.T.get(key, 0), len(question.test_rows))

    def add_width(self, width: int) -> None:
        """Adds the width of a representation; call it for all jobs before `get_shape`."""
        key = size_class(width, SMALLEST_DIMENSIONS)
        self.D[key] = max(self.D.get(key, 0), width)

    def get_shape(self, job: Job) -> Shape:
        """Returns the shape to which a job is padded."""
        known = len(job.question.fit_rows) + len(job.question.validation_rows)
        key = size_class(known, SMALLEST_EXAMPLES)
        width_key = size_class(job.x_NxD.shape[1], SMALLEST_DIMENSIONS)
        return Shape(self.N[key], self.T[key], self.D[width_key], self.K)


def make_job_data(job: Job, shape: Shape) -> JobData:
    """Returns the arrays of a job, padded; the known examples are in a random, fixed order."""
    question = job.question
    fit, validation = question.fit_rows, question.validation_rows
    order = np.random.default_rng(0).permutation(len(fit) + len(validation))
    known_rows = np.concatenate([fit, validation])[order]
    is_fit_N = (order < len(fit)).astype(np.float32)
    x_NxD = job.x_NxD.astype(np.float32)
    return JobData(
        x_NxD=_pad(x_NxD[job.positions(known_rows)], (shape.N, shape.D)),
        y_N=_pad(question.label_N[known_rows].astype(np.int32), (shape.N,)),
        fit_N=_pad(is_fit_N, (shape.N,)),
        validation_N=_pad(1 - is_fit_N, (shape.N,)),
        test_TxD=_pad(x_NxD[job.positions(question.test_rows)], (shape.T, shape.D)),
    )


def _pad(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the array with zeros at the end of its axes."""
    padded = np.zeros(shape, array.dtype)
    padded[tuple(slice(0, size) for size in array.shape)] = array
    return padded


def fit_jobs(jobs: list[Job], shapes: ShapeTable) -> Iterator[tuple[int, attackers.Attack]]:
    """Yields (index of a job, its Attack without padding), as soon as each job is done."""
    is_on_cpu = jax.local_devices()[0].platform == 'cpu'
    fit = _fit_in_threads if is_on_cpu else _fit_in_batches
    for index, attack in fit(jobs, shapes):
        question = jobs[index].question
        T, K = len(question.test_rows), len(question.classes)
        yield index, attack._replace(log_p_AxTxK=attack.log_p_AxTxK[:, :T, :K])


def _fit_in_threads(jobs: list[Job], shapes: ShapeTable) -> Iterator[tuple[int, attackers.Attack]]:
    def fit(job: Job) -> attackers.Attack:
        shape = shapes.get_shape(job)
        return jax.tree.map(np.asarray, _compiled(shape.K)(make_job_data(job, shape)))

    yield from run_in_threads(fit, jobs)


def run_in_threads(function: Callable, items: list) -> Iterator[tuple[int, object]]:
    """Yields (index, result) of the function for each item, computed by a thread for each core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    # LAPACK's own threads would compete with these.
    with threadpool_limits(1), ThreadPoolExecutor(cores) as pool:
        index_of = {pool.submit(function, item): index for index, item in enumerate(items)}
        try:
            for future in as_completed(index_of):
                yield index_of[future], future.result()
        finally:  # after an error, or Ctrl-C, no further job starts
            pool.shutdown(cancel_futures=True)


def _fit_in_batches(jobs: list[Job], shapes: ShapeTable) -> Iterator[tuple[int, attackers.Attack]]:
    indices_by_shape: dict[Shape, list[int]] = {}
    for index, job in enumerate(jobs):
        indices_by_shape.setdefault(shapes.get_shape(job), []).append(index)
    size = JOBS_PER_DISPATCH * len(jax.local_devices())
    for shape, indices in indices_by_shape.items():
        for start in range(0, len(indices), size):
            chosen = indices[start : start + size]
            data = [make_job_data(jobs[index], shape) for index in chosen]
            # The last job fills an incomplete batch, so that all have one shape.
            data += [data[-1]] * (size - len(chosen))
            stacked = jax.tree.map(lambda *arrays: np.stack(arrays), *data)
            attacks = parallel.map_over_runs(_fit_function(shape.K), stacked)
            for n, index in enumerate(chosen):
                yield index, jax.tree.map(lambda array, n=n: array[n], attacks)


@functools.cache
def _fit_function(classes: int) -> Callable:
    """Returns the function of a job; it is cached, so that JAX compiles it once for a shape."""

    def fit_job(data: JobData) -> attackers.Attack:
        return attackers.fit_attackers(data, classes)

    return fit_job


@functools.cache
def _compiled(classes: int) -> Callable:
    return jax.jit(_fit_function(classes))
