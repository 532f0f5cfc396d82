"""Jobs of all sizes: neither padding nor their order or number changes an answer."""

import os
import threading
import weakref
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxser.probing import attackers, jobs
from jaxser.probing.attackers.job import JobData, one_hot
from jaxser.probing.questions import Question


def make_job(examples: int, dimensions: int, classes: int, seed: int) -> jobs.Job:
    """Returns a job in random rows of 1000 utterances, with the class as a noisy one-hot vector."""
    random = np.random.default_rng(seed)
    rows = np.sort(random.permutation(1000)[:examples])
    label_N = np.full(1000, -1)
    label_N[rows] = np.arange(examples) % classes
    x_NxD = random.normal(size=(examples, dimensions))
    x_NxD[np.arange(examples), label_N[rows]] += 2
    parts = np.split(random.permutation(rows), [examples // 2, examples // 2 + examples // 5])
    names = np.array([f'class {k}' for k in range(classes)])
    question = Question('speaker', names, label_N, *map(np.sort, parts), True, False)
    return jobs.Job(question, rows, x_NxD)


@pytest.fixture(scope='module')
def mixed_jobs() -> list[jobs.Job]:
    return [make_job(60, 5, 4, 0), make_job(90, 8, 3, 1), make_job(40, 4, 2, 2)]


def fit_all(some_jobs: list[jobs.Job]) -> list[attackers.Outcome]:
    shapes = jobs.ShapeTable([job.question for job in some_jobs])
    for job in some_jobs:
        shapes.add_width(job.x_NxD.shape[1])
    found = dict(jobs.fit_jobs(some_jobs, shapes))
    return [found[n] for n in range(len(some_jobs))]


def assert_close(first: attackers.Outcome, second: attackers.Outcome) -> None:
    np.testing.assert_array_equal(first.predicted_AxT, second.predicted_AxT)
    np.testing.assert_allclose(first.true_log_p_AxT, second.true_log_p_AxT, atol=5e-3)
    np.testing.assert_allclose(first.validation_loss_A, second.validation_loss_A, atol=1e-3)


def test_padding_order_and_other_jobs_change_nothing(mixed_jobs):
    """Jobs of other sizes, classes and widths, which are padded to one shape."""
    together = fit_all(mixed_jobs)
    reverse = fit_all(mixed_jobs[::-1])[::-1]
    for job, outcome, other in zip(mixed_jobs, together, reverse):
        tested = len(job.question.test_rows)
        assert outcome.predicted_AxT.shape == (len(attackers.ATTACKERS), tested)
        assert outcome.predicted_AxT.max() < len(job.question.classes)
        assert_close(outcome, other)
    # Its exact size differs from the padded one in sizes of sums, so that nothing is bit-equal.
    assert_close(together[2], fit_all(mixed_jobs[2:])[0])


def use_batches_on_one_device(monkeypatch) -> None:
    devices = jax.local_devices()[:1]
    monkeypatch.setattr(jobs, '_fit_in_threads', jobs._fit_in_batches)
    monkeypatch.setattr(jax, 'local_devices', lambda: devices)


def nearest_mean(data: JobData, classes: int) -> attackers.Attack:
    """Fits an attacker that compiles quickly; vmapped attackers are tested in test_attackers.py."""
    known = data.join_parts()
    mean_KxD = (one_hot(known.y_N, classes) * known.mask_N[:, None]).T @ known.x_NxD
    log_p_TxK = jax.nn.log_softmax(data.test_TxD @ mean_KxD.T)
    log_p_AxTxK = jnp.stack([log_p_TxK] * len(attackers.ATTACKERS))
    return attackers.Attack(log_p_AxTxK, -log_p_AxTxK.mean((1, 2)))


def test_batches_of_an_accelerator_have_the_results_of_threads(
    mixed_jobs, quick_attackers, monkeypatch
):
    """Of three jobs two are vmapped, and the last one is a batch of its own."""
    monkeypatch.setattr(attackers, 'fit_attackers', nearest_mean)
    in_threads = fit_all(mixed_jobs)
    use_batches_on_one_device(monkeypatch)
    monkeypatch.setattr(jobs, 'jobs_per_device', lambda shape, most: 2)
    for job, first, second in zip(mixed_jobs, in_threads, fit_all(mixed_jobs)):
        assert_close(first, second)
        true_T = job.question.label_N[job.question.test_rows]
        assert (second.predicted_AxT == true_T).mean() > 0.5


class FittedJobs:
    """A compiled program of several jobs: each needs 1000 bytes, and all together 500 more."""

    def __init__(self, count: int, sizes: list[int]):
        self.count = count
        self.sizes = sizes

    def memory_analysis(self) -> SimpleNamespace:
        return SimpleNamespace(
            argument_size_in_bytes=0,
            output_size_in_bytes=0,
            alias_size_in_bytes=0,
            temp_size_in_bytes=500 + 1000 * self.count,
        )

    def __call__(self, data, true_T) -> attackers.Outcome:
        self.sizes.append(self.count)
        count, T = true_T.shape
        assert count == self.count
        zeros_RxAxT = np.zeros((count, len(attackers.ATTACKERS), T))
        return attackers.Outcome(zeros_RxAxT, zeros_RxAxT, zeros_RxAxT[..., 0])


@pytest.mark.parametrize(
    ('fitting', 'sizes'), [(9, [5]), (5, [5]), (4, [3, 2]), (2, [2, 2, 1]), (1, [1] * 5)]
)
def test_as_many_jobs_are_fitted_at_once_as_fit_into_memory(fitting, sizes, monkeypatch):
    """The last batch is a smaller program: no copy of a job fills it."""
    used_sizes = []

    def compile_batch(shape, count):
        return jobs.Program(FittedJobs(count, used_sizes), 0)

    monkeypatch.setattr(jobs, '_compile_batch', compile_batch)
    monkeypatch.setattr(jobs, '_data_bytes', lambda shape: 0)
    monkeypatch.setattr(jobs, 'ACCELERATOR_SHARE', 0.5)
    monkeypatch.setattr(jobs.memory, 'memory_limit', lambda devices: 2 * (500 + 1000 * fitting))
    use_batches_on_one_device(monkeypatch)
    assert len(fit_all([make_job(60, 5, 4, 0)] * 5)) == 5
    assert used_sizes == sizes


def test_the_data_of_a_job_are_released_when_it_is_done(mixed_jobs, monkeypatch):
    """Memory does not grow with the number of jobs, nor do outcomes have all classes."""
    alive = weakref.WeakSet()
    most_alive = []

    class Data:
        def __init__(self):
            alive.add(self)
            most_alive.append(len(alive))

    def fit(data, true_T):
        zeros_AxT = np.zeros((len(attackers.ATTACKERS), len(true_T)))
        return attackers.Outcome(zeros_AxT, zeros_AxT, zeros_AxT[:, 0])

    monkeypatch.setattr(jobs, 'compile_for_job', lambda shape: jobs.Program(fit, 1))
    monkeypatch.setattr(jobs, 'make_job_data', lambda job, shape: Data())
    fit_all(mixed_jobs * 20)
    assert len(most_alive) == 60
    assert max(most_alive) <= 2 * (os.cpu_count() or 1)


def test_threads_wait_for_memory():
    """Two of three jobs fit; one that needs more than there is runs alone."""
    budget = jobs.MemoryBudget(10)
    reserved = []

    def use(needed: int) -> None:
        with budget.reserve(needed):
            reserved.append(budget.reserved_bytes)

    with budget.reserve(5):
        threads = [threading.Thread(target=use, args=[needed]) for needed in (6, 20)]
        for thread in threads:
            thread.start()
        use(5)
        assert reserved == [10]
    for thread in threads:
        thread.join(timeout=10)
    assert sorted(reserved) == [6, 10, 20]
    assert budget.reserved_bytes == 0


def test_small_jobs_are_not_padded_to_the_size_of_large_ones():
    """Sizes between two powers of 2 share a shape, which is that of the largest of them."""
    sizes = {'tiny': 10, 'small': 200, 'middle': 300, 'large': 480, 'huge': 2000}
    made = {name: make_job(100, 4, 2, 0) for name in sizes}
    for name, size in sizes.items():
        question = made[name].question._replace(
            fit_rows=np.arange(size), validation_rows=np.zeros(0, int)
        )
        made[name] = made[name]._replace(question=question)
    shapes = jobs.ShapeTable([job.question for job in made.values()])
    shapes.add_width(4)
    padded = {name: shapes.get_shape(job).F for name, job in made.items()}
    assert padded == {'tiny': 200, 'small': 200, 'middle': 480, 'large': 480, 'huge': 2000}


def test_an_error_in_a_thread_is_raised():
    def fail(item):
        raise ValueError(item)

    with pytest.raises(ValueError, match='7'):
        list(jobs.run_in_threads(fail, [7, 7]))


def test_a_jobs_data_are_the_rows_of_its_question(mixed_jobs):
    """Each known row once, in the right part, with its own label."""
    job = mixed_jobs[0]
    question = job.question
    data = jobs.make_job_data(job, jobs.Shape(50, 20, 40, 9, 4))
    by_value = dict(zip(job.x_NxD[:, 0].astype(np.float32), question.label_N[job.rows]))
    for part, size, rows in (
        (data.fit, 50, question.fit_rows),
        (data.validation, 20, question.validation_rows),
    ):
        assert part.x_NxD.shape == (size, 9)
        assert part.mask_N.sum() == len(rows)
        expected = np.sort(job.x_NxD[np.searchsorted(job.rows, rows), 0].astype(np.float32))
        value_N = part.x_NxD[part.mask_N > 0, 0]
        np.testing.assert_array_equal(np.sort(value_N), expected)
        labels = part.y_N[part.mask_N > 0].tolist()
        assert [by_value[value] for value in value_N] == labels
        assert not part.x_NxD[:, 5:].any()
    assert data.test_TxD.shape == (40, 9)
