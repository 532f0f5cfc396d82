"""Runs as one program over several devices, on a step so small that every value is known in closed form."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.errors import UserError
from jaxser.features import SharedArrays, frame_mask
from jaxser.interfaces import State
from jaxser.nn.batch_norm import BATCH_NORM_MODES, BatchNorm
from jaxser.training import parallel
from jaxser.training.parallel import Layout
from jaxser.training.step import Step

S, B, T, M = (
    4,
    4,
    3,
    2,
)  # steps, examples, frames, bands; the regression's inputs are an example's features, summed over frames
COLLECTIVE = re.compile('all-reduce|all-gather|all-to-all|collective|reduce-scatter')


def make_step() -> tuple[Step, list]:
    """Gradient descent of a linear regression, and a list that grows with every tracing."""
    traced = []

    def inputs(batch):
        return batch['mel_BxTxM'].astype(jnp.float32).sum(1)

    def init(hyper):
        start_M = jnp.stack([hyper['seed'], hyper['fold']]).astype(jnp.float32)
        return State(
            jnp.zeros((), jnp.int32),
            {'w': start_M},
            {'seen': jnp.zeros(M)},
            {},
            (),
            jax.random.PRNGKey(hyper['seed']),
        )

    def update(state, batch, hyper):
        traced.append('update')
        x_BxM, y_B = inputs(batch), batch['y_B']
        loss, g = jax.value_and_grad(lambda w: ((x_BxM @ w['w'] - y_B) ** 2).mean())(state.params)
        params = jax.tree.map(lambda w, g: w - hyper['lr'] * g, state.params, g)
        batch_stats = {'seen': state.batch_stats['seen'] + x_BxM.sum(0)}
        return state.replace(step=state.step + 1, params=params, batch_stats=batch_stats), {
            'loss': loss
        }

    def predict(params, batch_stats, batch):
        return inputs(batch), inputs(batch) @ params['w'][:, None]

    return Step(init, update, predict), traced


class Sweep:
    """Some folds and variants on some devices, as train.Group lays them out, over a corpus of noise."""

    def __init__(
        self,
        folds: int,
        variants: int,
        devices: int = 1,
        data: int = 1,
        mode: str = 'jit',
        in_turn: bool = True,
    ):
        random = np.random.default_rng(0)
        self.corpus_RxM = np.float16(random.normal(size=(60, M)))
        example = (folds, S, B)
        self.first, self.frames = (
            random.integers(0, 60 - T, example),
            random.integers(1, T + 1, example),
        )
        self.y = np.float32(random.normal(size=example))
        there = np.arange(T) < self.frames[..., None]
        self.mel = np.where(
            there[..., None], self.corpus_RxM[self.first[..., None] + np.arange(T)], np.float16(0)
        )

        self.fold_N, self.seed_N = (x.ravel().astype(np.int32) for x in np.mgrid[:folds, :variants])
        self.lr_N = np.linspace(0.01, 0.05, variants, dtype=np.float32)[self.seed_N]
        self.layout = Layout(len(self.fold_N), jax.devices()[:devices], data)
        self.fold_DxF, slot_N = self.layout.assign_slots(self.fold_N)
        hyper_N = {'lr': self.lr_N, 'seed': self.seed_N, 'fold': self.fold_N, 'slot': slot_N}
        self.hyper = {k: self.layout.group_by_device(v) for k, v in hyper_N.items()}
        self.step, self.traced = make_step()
        self.programs = parallel.compile_step(self.step, self.layout, T, mode, in_turn)

    def batches(self, resident: bool = False) -> dict:
        """DxSxFxB... of all steps, with features or with where they begin."""
        of_fold = {'y_B': self.y, 'frames_B': np.int32(self.frames)}
        of_fold |= {'first_B': np.int32(self.first)} if resident else {'mel_BxTxM': self.mel}
        return {k: x[self.fold_DxF].swapaxes(1, 2) for k, x in of_fold.items()}

    def train(self, steps: int = S, hyper: dict | None = None, resident: bool = False) -> State:
        """The state after the first `steps`; the chunk's others are skipped."""
        hyper = self.layout.put_runs_on_devices(hyper or self.hyper)
        batches = self.layout.put_batch_on_devices(self.batches(resident), 3)
        shared = self.layout.put_on_devices(
            SharedArrays(self.corpus_RxM if resident else None), parallel.REPLICATED
        )
        state, self.metrics = self.programs.train_chunk(
            self.programs.init(hyper), shared, batches, np.arange(S) < steps, hyper
        )
        return state

    def predict(self, state: State, resident: bool = False) -> np.ndarray:
        """scores_NxB of every run for the first batch of its fold; the inputs, which are its z, come with them."""
        batch = self.layout.put_batch_on_devices(
            {k: x[:, 0] for k, x in self.batches(resident).items()}, 2
        )
        shared = self.layout.put_on_devices(
            SharedArrays(self.corpus_RxM if resident else None), parallel.REPLICATED
        )
        hyper = self.layout.put_runs_on_devices(self.hyper)
        z, scores = self.collect(
            self.programs.predict_for_frames(T)(
                state.params, state.batch_stats, shared, batch, hyper
            )
        )
        np.testing.assert_allclose(
            z, self.mel[self.fold_N, 0].astype(float).sum(2), rtol=1e-5, atol=1e-6
        )
        return scores[..., 0]

    def collect(self, tree):
        """Every array by run, on the host."""
        return jax.tree.map(self.layout.collect, tree)

    def expected_weights(self, n: int) -> tuple[np.ndarray, list[float]]:
        """The weights of run n after all steps, and its losses, in float64."""
        f = self.fold_N[n]
        w, losses = np.array([self.seed_N[n], f], float), []
        for mel, y in zip(self.mel[f].astype(float), self.y[f].astype(float)):
            x = mel.sum(1)
            losses.append(((x @ w - y) ** 2).mean())
            w -= self.lr_N[n] * 2 / B * x.T @ (x @ w - y)
        return w, losses


CASES = {
    'one device': {'folds': 2, 'variants': 3},
    'one device, vmapped': {'folds': 2, 'variants': 3, 'in_turn': False},
    'nothing to pad': {'folds': 3, 'variants': 2, 'devices': 8},
    'padded': {'folds': 3, 'variants': 5, 'devices': 8},
    'batches over two devices': {'folds': 3, 'variants': 3, 'devices': 8, 'data': 2},
    'batches over two devices, vmapped': {
        'folds': 3,
        'variants': 3,
        'devices': 8,
        'data': 2,
        'in_turn': False,
    },
    'pmap, padded': {'folds': 3, 'variants': 5, 'devices': 8, 'mode': 'pmap'},
}


@pytest.fixture(scope='module', params=CASES.values(), ids=CASES)
def case(request):
    """A sweep, and how it ended."""
    s = Sweep(**request.param)
    state = s.train()
    return s, state, s.metrics


def test_every_run_is_what_it_would_be_alone(case):
    """On any number of devices, padded or not, by jit or pmap, its batch on one device or two: 1e-6."""
    s, state, metrics = case
    found, loss_NxS = s.collect(state), s.collect(metrics)['loss']
    for n in range(len(s.fold_N)):
        w, losses = s.expected_weights(n)
        np.testing.assert_allclose(found.params['w'][n], w, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(loss_NxS[n], losses, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            found.batch_stats['seen'][n],
            s.mel[s.fold_N[n]].sum((0, 1, 2), float),
            rtol=1e-5,
            atol=1e-5,
        )
    assert (found.step == S).all()


def test_predictions_are_those_of_each_run_on_the_batch_of_its_fold(case):
    """Runs by examples, from the run's own parameters."""
    s, state, _ = case
    x_NxBxM = s.mel[s.fold_N, 0].astype(float).sum(2)
    expected = np.einsum('nbm,nm->nb', x_NxBxM, s.collect(state.params['w']))
    np.testing.assert_allclose(s.predict(state), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('arm', BATCH_NORM_MODES)
def test_a_batch_over_two_devices_has_one_statistic_a_side(arm):
    """Parameters and running statistics under every arm, where the sides are mixed, a device each, or one alone: 1e-6."""
    random, target_SxB = (
        np.random.default_rng(0),
        np.float32([[0, 1, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]),
    )
    batches = {
        'mel_BxTxM': np.float16(random.normal(1, 2, size=(1, S, 1, B, T, M))),
        'frames_B': np.int32(random.integers(1, T + 1, (1, S, 1, B))),
        'target_B': target_SxB[None, :, None],
        'y_B': np.float32(random.normal(size=(1, S, 1, B))),
    }
    hyper = {'slot': np.zeros((1, 1), np.int32)}

    def init(hyper):
        variables = BatchNorm(arm).init(
            jax.random.PRNGKey(0), jnp.zeros((1, T, M)), jnp.ones((1, T)), jnp.zeros(1), train=False
        )
        return State(
            0, variables['params'], variables.get('batch_stats', {}), {}, (), jax.random.PRNGKey(0)
        )

    def update(state, batch, hyper):
        mask_BxT, x_BxTxM = frame_mask(batch['frames_B'], T), batch['mel_BxTxM'].astype(jnp.float32)

        def loss(params):
            variables = {'params': params, 'batch_stats': state.batch_stats}
            y, new = BatchNorm(arm).apply(
                variables, x_BxTxM, mask_BxT, batch['target_B'], train=True, mutable=['batch_stats']
            )
            return (y**2 * mask_BxT[..., None] * batch['y_B'][:, None, None]).mean(), new.get(
                'batch_stats', {}
            )

        (value, batch_stats), g = jax.value_and_grad(loss, has_aux=True)(state.params)
        params = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, g)
        return state.replace(params=params, batch_stats=batch_stats), {'loss': value}

    ends = []
    for data in (1, 2):
        layout = Layout(1, jax.devices()[:data], data)
        programs = parallel.compile_step(Step(init, update, None), layout, T)
        state = programs.init(layout.put_runs_on_devices(hyper))
        end = programs.train_chunk(
            state,
            SharedArrays(),
            layout.put_batch_on_devices(batches, 3),
            np.ones(S, bool),
            layout.put_runs_on_devices(hyper),
        )
        ends.append(jax.tree.map(layout.collect, (end[0].params, end[0].batch_stats, end[1])))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(ends))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), *ends)


def test_keep_picks_run_by_run(case):
    """Where a run is better its new parameters and statistics are taken, and elsewhere the old ones stay."""
    s, state, _ = case
    new = (state.params, state.batch_stats)
    old = jax.tree.map(lambda x: x - 1000, new)
    better_N = np.random.default_rng(1).random(len(s.fold_N)) < 0.5
    kept = s.programs.update_best(
        old, state, s.layout.put_runs_on_devices(s.layout.group_by_device(better_N))
    )
    for k, o, n in zip(*(jax.tree.leaves(s.collect(tree)) for tree in (kept, old, new))):
        np.testing.assert_array_equal(k, np.where(better_N[:, None], n, o))


def test_features_on_the_device_are_those_a_batch_would_bring(case):
    """Cut out of the corpus where `first_B` says: the same state and the same scores, to the bit."""
    s, state, _ = case
    jax.tree.map(np.testing.assert_array_equal, s.collect(s.train(resident=True)), s.collect(state))
    np.testing.assert_array_equal(s.predict(state, resident=True), s.predict(state))


def test_features_of_a_neighbour_are_never_read():
    """What lies around the frames of an example in the corpus may be anything."""
    s = Sweep(2, 3)
    expected = s.collect(s.train())
    own = np.unique((s.first[..., None] + np.arange(T))[np.arange(T) < s.frames[..., None]])
    assert len(own) < len(s.corpus_RxM)
    s.corpus_RxM[np.setdiff1d(np.arange(60), own)] = np.nan
    jax.tree.map(np.testing.assert_array_equal, s.collect(s.train(resident=True)), expected)
    assert np.isfinite(s.predict(s.train(resident=True), resident=True)).all()


def test_every_device_has_its_share_of_the_runs():
    """As many runs on each; two devices hold a run only where they share out its batch."""
    for data, runs_each in ((1, 2), (2, 4)):
        w = Sweep(3, 5, devices=8, data=data).train().params['w']
        assert w.shape == (8 // data, runs_each, M)
        assert {shard.data.shape for shard in w.addressable_shards} == {(1, runs_each, M)}
        assert len({shard.device for shard in w.addressable_shards}) == 8


def compiled_text(s: Sweep) -> str:
    """The compiled chunk."""
    hyper = s.layout.put_runs_on_devices(s.hyper)
    batches = s.layout.put_batch_on_devices(s.batches(), 3)
    return (
        s.programs.train_chunk.lower(
            s.programs.init(hyper), SharedArrays(), batches, np.ones(S, bool), hyper
        )
        .compile()
        .as_text()
    )


@pytest.mark.parametrize('in_turn', [True, False])
def test_runs_never_talk_to_each_other(in_turn):
    """The compiled chunk holds no collective; where a batch is shared out, none but between the devices of a run."""
    assert not COLLECTIVE.findall(compiled_text(Sweep(3, 5, devices=8, in_turn=in_turn)))
    lines = compiled_text(Sweep(3, 3, devices=8, data=2, in_turn=in_turn)).splitlines()
    called = [line for line in lines if re.search(rf'({COLLECTIVE.pattern})[-\w]*\(', line)]
    assert called
    pairs = re.compile(r'replica_groups=(\[4,2\]<=\[8\]|\{\{0,1\},\{2,3\},\{4,5\},\{6,7\}\})')
    assert all(pairs.search(line) for line in called), called


def test_a_skipped_step_changes_no_bit():
    """What fills an epoch's last chunk: the state stays, and the metrics say NaN rather than a number."""
    s = Sweep(2, 3)
    state, loss_NxS = s.train(steps=2), s.collect(s.metrics)['loss']
    hyper, batches = (
        s.layout.put_runs_on_devices(s.hyper),
        s.layout.put_batch_on_devices(s.batches(), 3),
    )
    one_by_one = s.programs.init(hyper)
    for n in range(2):
        one_by_one, _ = s.programs.train_chunk(
            one_by_one, SharedArrays(), batches, np.arange(S) == n, hyper
        )
    jax.tree.map(np.testing.assert_array_equal, state, one_by_one)
    assert (np.asarray(state.step) == 2).all()
    assert np.isfinite(loss_NxS[:, :2]).all()
    assert np.isnan(loss_NxS[:, 2:]).all()


def test_other_values_trace_nothing():
    """Coefficients, rates and seeds are arguments of the program, not part of it."""
    s = Sweep(2, 3)
    s.train()
    before = len(s.traced)
    s.train(hyper=s.hyper | {'lr': s.hyper['lr'] * 2, 'seed': s.hyper['seed'] + 5})
    assert before > 0
    assert len(s.traced) == before


@pytest.mark.parametrize('in_turn', [True, False])
def test_a_diverging_run_leaves_the_others_alone(in_turn):
    """Whatever becomes of one, the other runs of the program are the same to the bit."""
    s = Sweep(2, 3, in_turn=in_turn)
    calm = s.collect(s.train().params['w'])
    for lr in (1e30, np.inf):
        hyper = s.hyper | {'lr': np.where(s.hyper['seed'] == 1, np.float32(lr), s.hyper['lr'])}
        wild = s.collect(s.train(hyper=hyper).params['w'])
        assert not np.isfinite(wild[s.seed_N == 1]).any()
        np.testing.assert_array_equal(wild[s.seed_N != 1], calm[s.seed_N != 1])


@pytest.mark.parametrize(
    ('count', 'devices', 'data', 'expected'),
    [
        (30, 1, 1, (1, 30)),
        (1, 8, 1, (1, 1)),
        (6, 8, 1, (6, 1)),
        (10, 8, 1, (8, 2)),
        (40, 8, 1, (8, 5)),
        (9, 8, 2, (4, 3)),
    ],
)
def test_every_device_gets_as_few_runs_as_can_be(count, devices, data, expected):
    """No more devices than runs; `data` devices count as one."""
    layout = Layout(count, jax.devices()[:devices], data)
    assert expected == (layout.D, layout.R)
    assert layout.mesh.devices.shape == (layout.D, data)


def test_devices_that_cannot_share_out_batches_are_refused():
    """Seven devices, two to a batch."""
    with pytest.raises(UserError, match=r'config.data_devices is 2, and there are 7'):
        Layout(10, jax.devices()[:7], data_devices=2)


def test_runs_are_spread_in_order_and_collected_again():
    """Run n is number n % R of device n // R; what is left over repeats the last run, and is gone when collected."""
    layout = Layout(5, jax.devices()[:3])
    array_NxM = np.arange(10).reshape(5, 2)
    spread = layout.group_by_device(array_NxM)
    np.testing.assert_array_equal(spread, array_NxM[[[0, 1], [2, 3], [4, 4]]])
    np.testing.assert_array_equal(layout.collect(layout.put_runs_on_devices(spread)), array_NxM)


def test_the_last_group_of_a_sweep_fills_the_layout_of_the_first():
    """Fewer runs than there are places: the same shapes, hence the same program, and nothing but those runs comes back."""
    whole = Layout(20, jax.devices()[:3], R=4)
    fewer = whole.with_count(5)
    assert (whole.count, fewer.count, fewer.D, fewer.R) == (20, 5, 3, 4)
    spread = fewer.group_by_device(np.arange(5))
    np.testing.assert_array_equal(spread, [[0, 1, 2, 3], [4, 4, 4, 4], [4, 4, 4, 4]])
    np.testing.assert_array_equal(fewer.collect(spread), np.arange(5))


def test_a_device_holds_the_folds_that_its_runs_need_and_no_other():
    """Every run finds its fold at its slot; a device that needs fewer folds than another repeats its last."""
    fold_N = np.array([0, 0, 0, 2, 2, 2, 2, 5, 5])
    layout = Layout(9, jax.devices()[:3])
    fold_DxF, slot_N = layout.assign_slots(fold_N)
    np.testing.assert_array_equal(fold_DxF, [[0, 0], [2, 2], [2, 5]])
    np.testing.assert_array_equal(slot_N, [0, 0, 0, 0, 0, 0, 0, 1, 1])
    assert slot_N.dtype == np.int32
    wider_DxF, same_N = layout.assign_slots(
        fold_N, F=3
    )  # as another group of the same program needs
    np.testing.assert_array_equal(wider_DxF, [[0, 0, 0], [2, 2, 2], [2, 5, 5]])
    np.testing.assert_array_equal(same_N, slot_N)


def test_slots_lead_every_run_to_its_fold():
    """Whatever the order of the folds and the number of devices."""
    random = np.random.default_rng(0)
    for count, devices in ((1, 8), (7, 3), (30, 8), (30, 1)):
        fold_N = random.integers(0, 6, count)
        layout = Layout(count, jax.devices()[:devices])
        fold_DxF, slot_N = layout.assign_slots(fold_N)
        np.testing.assert_array_equal(fold_DxF[np.arange(count) // layout.R, slot_N], fold_N)
        of_device = np.split(layout.group_by_device(fold_N), layout.D)
        assert [set(row) for row in fold_DxF] == [set(row.ravel()) for row in of_device]
        assert fold_DxF.shape[1] == max(len(set(row.ravel())) for row in of_device)
