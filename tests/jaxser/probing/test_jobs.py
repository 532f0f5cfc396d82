"""Jobs of all sizes: neither padding nor their order or number changes an answer."""

import jax
import numpy as np
import pytest

from jaxser.probing import attackers, jobs
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


def fit_all(some_jobs: list[jobs.Job]) -> list[attackers.Attack]:
    shapes = jobs.ShapeTable([job.question for job in some_jobs])
    for job in some_jobs:
        shapes.add_width(job.x_NxD.shape[1])
    found = dict(jobs.fit_jobs(some_jobs, shapes))
    return [found[n] for n in range(len(some_jobs))]


def assert_close(first: attackers.Attack, second: attackers.Attack) -> None:
    np.testing.assert_allclose(first.log_p_AxTxK, second.log_p_AxTxK, atol=5e-3)
    np.testing.assert_allclose(first.validation_loss_A, second.validation_loss_A, atol=1e-3)


def test_padding_order_and_other_jobs_change_nothing(mixed_jobs):
    """Jobs of other sizes, classes and widths, which are padded to one shape."""
    together = fit_all(mixed_jobs)
    reverse = fit_all(mixed_jobs[::-1])[::-1]
    for job, attack, other in zip(mixed_jobs, together, reverse):
        tested, K = len(job.question.test_rows), len(job.question.classes)
        assert attack.log_p_AxTxK.shape == (len(attackers.ATTACKERS), tested, K)
        assert_close(attack, other)
        # The exact size differs from the padded one in sizes of sums, so that nothing is bit-equal.
        assert_close(attack, fit_all([job])[0])


def test_batches_of_an_accelerator_have_the_results_of_threads(mixed_jobs, monkeypatch):
    monkeypatch.setattr(jobs, 'JOBS_PER_DISPATCH', 1)
    in_threads = fit_all(mixed_jobs)
    monkeypatch.setattr(jobs, '_fit_in_threads', jobs._fit_in_batches)
    for first, second in zip(in_threads, fit_all(mixed_jobs)):
        assert_close(first, second)


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
    padded = {name: shapes.get_shape(job).N for name, job in made.items()}
    assert padded == {'tiny': 200, 'small': 200, 'middle': 480, 'large': 480, 'huge': 2000}


def test_an_error_in_a_thread_is_raised():
    def fail(item):
        raise ValueError(item)

    with pytest.raises(ValueError, match='7'):
        list(jobs.run_in_threads(fail, [7, 7]))


def test_a_jobs_data_are_the_rows_of_its_question(mixed_jobs):
    """Each known row once, in the right mask, with its own label."""
    job = mixed_jobs[0]
    question = job.question
    data = jobs.make_job_data(job, jobs.Shape(70, 40, 9, 4))
    for mask_N, rows in (
        (data.fit_N, question.fit_rows),
        (data.validation_N, question.validation_rows),
    ):
        assert mask_N.sum() == len(rows)
        expected = np.sort(job.x_NxD[np.searchsorted(job.rows, rows), 0].astype(np.float32))
        np.testing.assert_array_equal(np.sort(data.x_NxD[mask_N > 0, 0]), expected)
    is_used_N = data.fit_N + data.validation_N > 0
    by_value = dict(zip(job.x_NxD[:, 0].astype(np.float32), question.label_N[job.rows]))
    assert [by_value[value] for value in data.x_NxD[is_used_N, 0]] == data.y_N[is_used_N].tolist()
    assert not data.x_NxD[:, 5:].any()
    assert jax.tree.map(np.shape, data).test_TxD == (40, 9)
