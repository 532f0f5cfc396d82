"""Runs as one program over several devices, on a step so small that every value is known in closed form."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxser import parallel
from jaxser.interfaces import State
from jaxser.step import Step

S, B, D = 4, 3, 2
COLLECTIVE = re.compile('all-reduce|all-gather|all-to-all|collective|reduce-scatter')


@pytest.mark.parametrize(
    ('folds', 'variants', 'devices', 'expected'),
    [
        (5, 6, 1, ('variant', 5, 6)),
        (1, 1, 8, ('variant', 1, 8)),
        (3, 2, 8, ('fold', 8, 2)),
        (2, 5, 8, ('variant', 2, 8)),
        (8, 3, 8, ('fold', 8, 3)),
        (5, 8, 8, ('variant', 5, 8)),
        (4, 4, 2, ('variant', 4, 4)),
        (7, 3, 4, ('fold', 8, 3)),
    ],
)
def test_the_layout_has_the_fewest_runs(folds, variants, devices, expected):
    """The axis whose padding costs less is split; no run is lost."""
    assert parallel.layout(folds, variants, devices) == expected


def test_padding_repeats_the_last_run():
    """Real runs keep their place; the others are copies of the last fold and variant."""
    array = np.arange(12).reshape(2, 3, 2)
    padded = parallel.pad(array, 3, 5)
    np.testing.assert_array_equal(padded[:2, :3], array)
    np.testing.assert_array_equal(padded, array[np.ix_([0, 1, 1], [0, 1, 2, 2, 2])])
    np.testing.assert_array_equal(parallel.pad(array, 2, 3), array)


def make_step() -> tuple[Step, list]:
    """Gradient descent of a linear regression, and a list that grows with every tracing."""
    traced = []

    def init(hyper):
        start_D = jnp.stack([hyper['seed'], hyper['fold']]).astype(jnp.float32)
        return State(jnp.zeros((), jnp.int32), {'w': start_D}, {'seen': jnp.zeros(D)}, {}, (), jax.random.PRNGKey(hyper['seed']))

    def update(state, batch, hyper):
        traced.append('update')
        x_BxD, y_B = batch['x_BxD'], batch['y_B']
        loss, g = jax.value_and_grad(lambda w: ((x_BxD @ w['w'] - y_B) ** 2).mean())(state.params)
        params = jax.tree.map(lambda w, g: w - hyper['lr'] * g, state.params, g)
        batch_stats = {'seen': state.batch_stats['seen'] + x_BxD.sum(0)}
        return state.replace(step=state.step + 1, params=params, batch_stats=batch_stats), {'loss': loss}

    def predict(params, batch_stats, batch):
        return batch['x_BxD'], batch['x_BxD'] @ params['w'][:, None]

    return Step(init, update, predict), traced


class Sweep:
    """Some folds and variants, padded for some devices as train.Sweep does."""

    def __init__(self, folds: int, variants: int, devices: int, lr: tuple = ()):
        random = np.random.default_rng(0)
        _, F, V = parallel.layout(folds, variants, devices)
        x, y = random.normal(size=(S, folds, B, D)), random.normal(size=(S, folds, B))
        fold = np.minimum(np.arange(F), folds - 1)
        self.batches = {'x_BxD': np.float32(x[:, fold]), 'y_B': np.float32(y[:, fold])}
        lr_V = np.float32([*lr, *np.linspace(0.01, 0.2, variants)][:variants])
        hyper = {
            'lr': np.broadcast_to(lr_V, (folds, variants)),
            'seed': np.broadcast_to(np.arange(variants, dtype=np.int32), (folds, variants)),
            'fold': np.broadcast_to(np.arange(folds, dtype=np.int32)[:, None], (folds, variants)),
        }
        self.hyper = {k: parallel.pad(v, F, V) for k, v in hyper.items()}
        self.step, self.traced = make_step()
        self.programs = parallel.make(self.step, F, V, jax.devices()[:devices])
        self.folds, self.variants = folds, variants

    def train(self, steps: int = S, hyper: dict | None = None) -> State:
        """The state after the first `steps`; the chunk's others are skipped."""
        hyper = hyper or self.hyper
        batches = self.programs.place(self.batches)
        state, self.metrics = self.programs.chunk(self.programs.init(hyper), batches, np.arange(S) < steps, hyper)
        return state

    def by_hand(self, f: int, v: int) -> tuple[np.ndarray, list[float]]:
        """The weights of run (f, v) after all steps, and its losses, in float64."""
        w, losses = np.array([v, f], float), []
        for x, y in zip(self.batches['x_BxD'][:, f].astype(float), self.batches['y_B'][:, f]):
            losses.append(((x @ w - y) ** 2).mean())
            w -= self.hyper['lr'][f, v] * 2 / B * x.T @ (x @ w - y)
        return w, losses


CASES = {'one device': (2, 3, 1), 'over folds': (3, 2, 8), 'over variants': (2, 5, 8), 'nothing to pad': (2, 8, 8)}


@pytest.fixture(scope='module', params=CASES.values(), ids=CASES)
def case(request):
    """A sweep, and how it ended."""
    s = Sweep(*request.param)
    state = s.train()
    return s, state, s.metrics


def test_every_run_is_what_it_would_be_alone(case):
    """On any number of devices, split over folds or variants, padded or not: 1e-6."""
    s, state, metrics = case
    for f in range(s.folds):
        for v in range(s.variants):
            w, losses = s.by_hand(f, v)
            np.testing.assert_allclose(state.params['w'][f, v], w, rtol=1e-6, atol=1e-6)
            np.testing.assert_allclose(metrics['loss'][:, f, v], losses, rtol=1e-5, atol=1e-6)
    assert (np.asarray(state.step) == S).all()


def test_every_device_has_its_share_of_the_runs(case):
    """As many runs on each, none twice."""
    s, state, _ = case
    shards = state.params['w'].addressable_shards
    assert len(shards) == len(s.programs.init(s.hyper).params['w'].sharding.device_set)
    assert {shard.data.size for shard in shards} == {state.params['w'].size // len(shards)}


def test_runs_never_talk_to_each_other(case):
    """The compiled chunk holds no collective."""
    s, state, _ = case
    text = s.programs.chunk.lower(state, s.batches, np.ones(S, bool), s.hyper).compile().as_text()
    assert not COLLECTIVE.findall(text)


def test_predictions_are_those_of_each_run_on_the_batch_of_its_fold(case):
    """Folds by variants by examples by classes."""
    s, state, _ = case
    batch = {k: x[0] for k, x in s.batches.items()}
    found = np.asarray(s.programs.predict(state.params, state.batch_stats, batch))
    expected = np.einsum('fbd,fvd->fvb', batch['x_BxD'], np.asarray(state.params['w']))
    np.testing.assert_allclose(found[..., 0], expected, rtol=1e-5, atol=1e-6)


def test_keep_picks_run_by_run(case):
    """Where a run is better its new parameters and statistics are taken, and elsewhere the old ones stay."""
    s, state, _ = case
    old = jax.tree.map(lambda x: x - 1000, (state.params, state.batch_stats))
    better = np.random.default_rng(1).random(s.hyper['lr'].shape) < 0.5
    kept = s.programs.keep(old, state, better)
    for k, o, n in zip(*map(jax.tree.leaves, (kept, old, (state.params, state.batch_stats)))):
        np.testing.assert_array_equal(k, np.where(better[..., None], n, o))


def test_a_skipped_step_changes_no_bit():
    """What fills an epoch's last chunk: the state stays, and the metrics say NaN rather than a number."""
    s = Sweep(2, 3, 1)
    state, metrics = s.train(steps=2), s.metrics
    one_by_one = s.programs.init(s.hyper)
    for n in range(2):
        only = np.arange(S) == n
        one_by_one, _ = s.programs.chunk(one_by_one, s.batches, only, s.hyper)
    jax.tree.map(np.testing.assert_array_equal, state, one_by_one)
    assert (np.asarray(state.step) == 2).all()
    assert np.isfinite(metrics['loss'][:2]).all()
    assert np.isnan(metrics['loss'][2:]).all()


def test_other_values_trace_nothing():
    """Coefficients, rates and seeds are arguments of the program, not part of it."""
    s = Sweep(2, 3, 1)
    s.train()
    before = len(s.traced)
    s.train(hyper=s.hyper | {'lr': s.hyper['lr'] * 2, 'seed': s.hyper['seed'] + 5})
    assert before > 0
    assert len(s.traced) == before


def test_a_diverging_run_leaves_the_others_alone():
    """Whatever becomes of one, the other runs of the program are the same to the bit."""
    s = Sweep(2, 3, 1)
    calm = jax.device_get(s.train())
    for lr in (1e30, np.inf):
        hyper = s.hyper | {'lr': np.array(s.hyper['lr'])}
        hyper['lr'][:, 1] = lr
        wild = jax.device_get(s.train(hyper=hyper))
        assert not np.isfinite(wild.params['w'][:, 1]).any()
        for v in (0, 2):
            np.testing.assert_array_equal(wild.params['w'][:, v], calm.params['w'][:, v])
