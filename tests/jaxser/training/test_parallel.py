"""Tests of runs as one program over several devices, on a step known in closed form."""

import re

import chex
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

S, B, T, M = 4, 4, 3, 2  # steps, examples, frames, bands
CORPUS_FRAMES = 60
COLLECTIVE = re.compile('all-reduce|all-gather|all-to-all|collective|reduce-scatter')


def sum_frames(batch: dict) -> jax.Array:
    """Returns x_BxM, the inputs of the regression: features summed over frames."""
    return batch['mel_BxTxM'].astype(jnp.float32).sum(1)


def make_step() -> tuple[Step, list]:
    """Returns gradient descent of a linear regression, and a list that grows with every tracing."""
    traced = []

    def init(hyper):
        start_M = jnp.stack([hyper['seed'], hyper['fold']]).astype(jnp.float32)
        return State(
            step=jnp.zeros((), jnp.int32),
            params={'w': start_M},
            batch_stats={'seen': jnp.zeros(M)},
            extra={},
            opt_state=(),
            key=jax.random.PRNGKey(hyper['seed']),
        )

    def update(state, batch, hyper):
        traced.append('update')
        x_BxM = sum_frames(batch)

        def squared_error(params):
            return ((x_BxM @ params['w'] - batch['y_B']) ** 2).mean()

        loss, gradients = jax.value_and_grad(squared_error)(state.params)
        params = jax.tree.map(lambda w, g: w - hyper['lr'] * g, state.params, gradients)
        batch_stats = {'seen': state.batch_stats['seen'] + x_BxM.sum(0)}
        state = state.replace(step=state.step + 1, params=params, batch_stats=batch_stats)
        return state, {'loss': loss}

    def predict(params, batch_stats, batch):
        x_BxM = sum_frames(batch)
        return x_BxM, x_BxM @ params['w'][:, None]

    return Step(init, update, predict), traced


class Sweep:
    """Folds and variants on devices, as trainer.Group lays them out, over a corpus of noise."""

    def __init__(
        self,
        folds: int,
        variants: int,
        devices: int = 1,
        data: int = 1,
        mode: str = 'jit',
        in_turn: bool = True,
        block: int = 1,
    ):
        random = np.random.default_rng(0)
        self.corpus_RxM = np.float16(random.normal(size=(CORPUS_FRAMES, M)))
        shape = (folds, S, B)
        self.first = random.integers(0, CORPUS_FRAMES - T, shape)
        self.frames = random.integers(1, T + 1, shape)
        self.y = np.float32(random.normal(size=shape))
        is_valid = np.arange(T) < self.frames[..., None]
        mel = self.corpus_RxM[self.first[..., None] + np.arange(T)]
        self.mel = np.where(is_valid[..., None], mel, np.float16(0))

        fold_and_seed = np.mgrid[:folds, :variants].astype(np.int32)
        self.fold_N = fold_and_seed[0].ravel()
        self.seed_N = fold_and_seed[1].ravel()
        self.lr_N = np.linspace(0.01, 0.05, variants, dtype=np.float32)[self.seed_N]
        self.layout = Layout(len(self.fold_N), jax.devices()[:devices], data)
        self.fold_DxF, slot_N = self.layout.assign_slots(self.fold_N)
        hyper_N = {'lr': self.lr_N, 'seed': self.seed_N, 'fold': self.fold_N, 'slot': slot_N}
        self.hyper = jax.tree.map(self.layout.group_by_device, hyper_N)
        self.step, self.traced = make_step()
        self.programs = parallel.compile_step(self.step, self.layout, T, mode, in_turn, block)

    def batches(self, resident: bool = False) -> dict:
        """Returns arrays DxSxFxB... of all steps, with features or with where they begin."""
        arrays = {'y_B': self.y, 'frames_B': np.int32(self.frames)}
        if resident:
            arrays['first_B'] = np.int32(self.first)
        else:
            arrays['mel_BxTxM'] = self.mel
        return {name: x[self.fold_DxF].swapaxes(1, 2) for name, x in arrays.items()}

    def put_shared(self, resident: bool) -> SharedArrays:
        """Returns the features of the corpus on the devices, or nothing."""
        shared = SharedArrays(self.corpus_RxM if resident else None)
        return self.layout.put_on_devices(shared, parallel.REPLICATED)

    def train(self, steps: int = S, hyper: dict | None = None, resident: bool = False) -> State:
        """Returns the state after the first `steps`; the other steps of the chunk are left out."""
        hyper = self.layout.put_runs_on_devices(hyper or self.hyper)
        batches = self.layout.put_batch_on_devices(self.batches(resident), 3)
        state = self.programs.init(hyper)
        state, self.metrics = self.programs.train_chunk(
            state, self.put_shared(resident), batches, np.array([0, steps], np.int32), hyper
        )
        return state

    def predict(self, state: State, resident: bool = False) -> np.ndarray:
        """Returns scores_NxB of every run for the first batch of its fold; checks z, the inputs."""
        first_batch = {name: x[:, 0] for name, x in self.batches(resident).items()}
        predict = self.programs.predict_for_frames(T)
        z_and_scores = predict(
            state.params,
            state.batch_stats,
            self.put_shared(resident),
            self.layout.put_batch_on_devices(first_batch, 2),
            self.layout.put_runs_on_devices(self.hyper),
        )
        z, scores = self.collect(z_and_scores)
        x_NxBxM = self.mel[self.fold_N, 0].astype(float).sum(2)
        np.testing.assert_allclose(z, x_NxBxM, rtol=1e-5, atol=1e-6)
        return scores[..., 0]

    def collect(self, tree):
        """Returns every array by run, on the host."""
        return jax.tree.map(self.layout.collect, tree)

    def expected_weights(self, n: int) -> tuple[np.ndarray, list[float]]:
        """Returns the weights of run n after all steps, and its losses, in float64."""
        fold = self.fold_N[n]
        w = np.array([self.seed_N[n], fold], float)
        losses = []
        for mel, y in zip(self.mel[fold].astype(float), self.y[fold].astype(float)):
            x = mel.sum(1)
            losses.append(((x @ w - y) ** 2).mean())
            w -= self.lr_N[n] * 2 / B * x.T @ (x @ w - y)
        return w, losses


CASES = {
    'one device': {'folds': 2, 'variants': 3},
    'one device, vmapped': {'folds': 2, 'variants': 3, 'in_turn': False},
    'blocks of a fold in turn': {'folds': 2, 'variants': 4, 'block': 2},
    'blocks of a fold, vmapped': {'folds': 2, 'variants': 3, 'in_turn': False, 'block': 3},
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
    """A sweep, its state after training, and its metrics."""
    s = Sweep(**request.param)
    state = s.train()
    return s, state, s.metrics


def test_every_run_equals_that_run_by_itself(case):
    """To 1e-6, for any number of devices, with padding, by jit or pmap, with divided batches."""
    s, state, metrics = case
    end = s.collect(state)
    loss_NxS = s.collect(metrics)['loss']
    for n in range(len(s.fold_N)):
        w, losses = s.expected_weights(n)
        np.testing.assert_allclose(end.params['w'][n], w, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(loss_NxS[n], losses, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            end.batch_stats['seen'][n],
            s.mel[s.fold_N[n]].sum((0, 1, 2), float),
            rtol=1e-5,
            atol=1e-5,
        )
    assert (end.step == S).all()


def test_predictions_are_those_of_each_run_on_the_batch_of_its_fold(case):
    """They are computed with the run's own parameters."""
    s, state, _ = case
    x_NxBxM = s.mel[s.fold_N, 0].astype(float).sum(2)
    expected = np.einsum('nbm,nm->nb', x_NxBxM, s.collect(state.params['w']))
    np.testing.assert_allclose(s.predict(state), expected, rtol=1e-5, atol=1e-6)


def make_batch_norm_step(mode: str) -> Step:
    """Returns gradient descent on the square of the output of a BatchNorm."""
    module = BatchNorm(mode)

    def init(hyper):
        key = jax.random.PRNGKey(0)
        mel = jnp.zeros((1, T, M))
        variables = module.init(key, mel, jnp.ones((1, T)), jnp.zeros(1), train=False)
        return State(
            step=0,
            params=variables['params'],
            batch_stats=variables.get('batch_stats', {}),
            extra={},
            opt_state=(),
            key=key,
        )

    def update(state, batch, hyper):
        mask_BxT = frame_mask(batch['frames_B'], T)
        x_BxTxM = batch['mel_BxTxM'].astype(jnp.float32)

        def loss(params):
            variables = {'params': params, 'batch_stats': state.batch_stats}
            y, changed = module.apply(
                variables, x_BxTxM, mask_BxT, batch['target_B'], train=True, mutable=['batch_stats']
            )
            value = (y**2 * mask_BxT[..., None] * batch['y_B'][:, None, None]).mean()
            return value, changed.get('batch_stats', {})

        (value, batch_stats), gradients = jax.value_and_grad(loss, has_aux=True)(state.params)
        params = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, gradients)
        return state.replace(params=params, batch_stats=batch_stats), {'loss': value}

    return Step(init, update, None)


@pytest.mark.parametrize('mode', BATCH_NORM_MODES)
def test_batch_norm_of_a_divided_batch_is_that_of_the_whole(mode):
    """Parameters, running statistics and losses to 1e-6.

    The target's examples are mixed with the source's, on a device of their own, or alone.
    """
    random = np.random.default_rng(0)
    target_SxB = np.float32([[0, 1, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]])
    batches = {
        'mel_BxTxM': np.float16(random.normal(1, 2, size=(1, S, 1, B, T, M))),
        'frames_B': np.int32(random.integers(1, T + 1, (1, S, 1, B))),
        'target_B': target_SxB[None, :, None],
        'y_B': np.float32(random.normal(size=(1, S, 1, B))),
    }
    results = []
    for data_devices in (1, 2):
        layout = Layout(1, jax.devices()[:data_devices], data_devices)
        programs = parallel.compile_step(make_batch_norm_step(mode), layout, T)
        hyper = layout.put_runs_on_devices({'slot': np.zeros((1, 1), np.int32)})
        placed = layout.put_batch_on_devices(batches, 3)
        state, metrics = programs.train_chunk(
            programs.init(hyper), SharedArrays(), placed, np.array([0, S], np.int32), hyper
        )
        end = (state.params, state.batch_stats, metrics)
        results.append(jax.tree.map(layout.collect, end))
    chex.assert_tree_all_finite(results)
    chex.assert_trees_all_close(*results, rtol=1e-6, atol=1e-6)


def test_the_selected_parameters_are_updated_run_by_run(case):
    """A run that is better takes its new parameters and statistics; the others keep the old."""
    s, state, _ = case
    new = (state.params, state.batch_stats)
    old = jax.tree.map(lambda x: x - 1000, new)
    better_N = np.random.default_rng(1).random(len(s.fold_N)) < 0.5
    better_DxR = s.layout.put_runs_on_devices(s.layout.group_by_device(better_N))
    best = s.collect(s.programs.update_best(old, state, better_DxR))
    expected = jax.tree.map(
        lambda a, b: np.where(better_N[:, None], a, b), s.collect(new), s.collect(old)
    )
    chex.assert_trees_all_equal(best, expected)


def test_features_on_the_device_change_no_bit(case):
    """If they are cut from the corpus at `first_B`, state and scores are the same."""
    s, state, _ = case
    chex.assert_trees_all_equal(s.collect(s.train(resident=True)), s.collect(state))
    np.testing.assert_array_equal(s.predict(state, resident=True), s.predict(state))


def test_features_of_a_neighbour_are_never_read():
    """The frames around those of an example in the corpus may be anything."""
    s = Sweep(2, 3)
    expected = s.collect(s.train())
    used_rows = np.unique((s.first[..., None] + np.arange(T))[np.arange(T) < s.frames[..., None]])
    assert len(used_rows) < len(s.corpus_RxM)
    s.corpus_RxM[np.setdiff1d(np.arange(CORPUS_FRAMES), used_rows)] = np.nan
    chex.assert_trees_all_equal(s.collect(s.train(resident=True)), expected)
    assert np.isfinite(s.predict(s.train(resident=True), resident=True)).all()


def test_every_device_has_its_share_of_the_runs():
    """All have the same number; two devices have the same run only if they divide its batch."""
    for data, runs_each in ((1, 2), (2, 4)):
        w = Sweep(3, 5, devices=8, data=data).train().params['w']
        assert w.shape == (8 // data, runs_each, M)
        assert {shard.data.shape for shard in w.addressable_shards} == {(1, runs_each, M)}
        assert len({shard.device for shard in w.addressable_shards}) == 8


def compiled_text(s: Sweep) -> str:
    """Returns the text of the compiled training chunk."""
    hyper = s.layout.put_runs_on_devices(s.hyper)
    batches = s.layout.put_batch_on_devices(s.batches(), 3)
    lowered = s.programs.train_chunk.lower(
        s.programs.init(hyper), SharedArrays(), batches, np.array([0, S], np.int32), hyper
    )
    return lowered.compile().as_text()


@pytest.mark.parametrize('in_turn', [True, False])
def test_devices_of_different_runs_never_communicate(in_turn):
    """There is no collective, or only those between the devices that divide a batch."""
    assert not COLLECTIVE.findall(compiled_text(Sweep(3, 5, devices=8, in_turn=in_turn)))
    lines = compiled_text(Sweep(3, 3, devices=8, data=2, in_turn=in_turn)).splitlines()
    called = [line for line in lines if re.search(rf'({COLLECTIVE.pattern})[-\w]*\(', line)]
    assert called
    pairs = re.compile(r'replica_groups=(\[4,2\]<=\[8\]|\{\{0,1\},\{2,3\},\{4,5\},\{6,7\}\})')
    assert all(pairs.search(line) for line in called), called


def test_a_step_outside_the_span_changes_no_bit():
    """The last chunk of an epoch may have such steps; their metrics are NaN."""
    s = Sweep(2, 3)
    state = s.train(steps=2)
    loss_NxS = s.collect(s.metrics)['loss']
    hyper = s.layout.put_runs_on_devices(s.hyper)
    batches = s.layout.put_batch_on_devices(s.batches(), 3)
    one_by_one = s.programs.init(hyper)
    for n in range(2):
        one_by_one, _ = s.programs.train_chunk(
            one_by_one, SharedArrays(), batches, np.array([n, n + 1], np.int32), hyper
        )
    chex.assert_trees_all_equal(state, one_by_one)
    assert (np.asarray(state.step) == 2).all()
    assert np.isfinite(loss_NxS[:, :2]).all()
    assert np.isnan(loss_NxS[:, 2:]).all()


def test_other_hyper_parameters_compile_nothing():
    """Coefficients, learning rates and seeds are arguments of the program."""
    s = Sweep(2, 3)
    s.train()
    trace_count = len(s.traced)
    s.train(hyper=s.hyper | {'lr': s.hyper['lr'] * 2, 'seed': s.hyper['seed'] + 5})
    assert trace_count > 0
    assert len(s.traced) == trace_count


@pytest.mark.parametrize(
    ('slot_DxR', 'expected'),
    [
        ([[0, 0, 0, 1, 1, 1]], 3),
        ([[0, 0, 0, 0, 0, 0]], 6),
        ([[0, 0, 0, 0], [0, 0, 1, 1]], 2),
        ([[0, 0, 0, 0], [0, 1, 1, 1]], 1),
        ([[0]], 1),
    ],
)
def test_runs_of_a_block_have_the_same_fold(slot_DxR, expected):
    """Blocks have one size on all devices, and divide the runs of a device."""
    assert parallel.runs_per_block(np.array(slot_DxR)) == expected


@pytest.mark.parametrize(('in_turn', 'block'), [(True, 1), (False, 1), (True, 3)])
def test_a_diverging_run_does_not_change_the_others(in_turn, block):
    """The other runs of the program are the same to the bit."""
    s = Sweep(2, 3, in_turn=in_turn, block=block)
    expected = s.collect(s.train().params['w'])
    for lr in (1e30, np.inf):
        hyper = s.hyper | {'lr': np.where(s.hyper['seed'] == 1, np.float32(lr), s.hyper['lr'])}
        w_NxM = s.collect(s.train(hyper=hyper).params['w'])
        assert not np.isfinite(w_NxM[s.seed_N == 1]).any()
        np.testing.assert_array_equal(w_NxM[s.seed_N != 1], expected[s.seed_N != 1])


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
def test_every_device_gets_as_few_runs_as_possible(count, devices, data, expected):
    """No more devices are used than there are runs; `data` devices count as one."""
    layout = Layout(count, jax.devices()[:devices], data)
    assert expected == (layout.D, layout.R)
    assert layout.mesh.devices.shape == (layout.D, data)


def test_devices_that_cannot_divide_batches_raise_a_user_error():
    """For example seven devices with two for each batch."""
    with pytest.raises(
        UserError, match=r'data_devices is 2, and the number of devices is 7, which'
    ):
        Layout(10, jax.devices()[:7], data_devices=2)


def test_a_process_reads_the_examples_of_its_devices():
    """A batch of four devices of which the last two are its own; batches that are cut otherwise."""
    share = parallel._batch_share(np.array([[False, False, True, True]]))
    assert share == (2, 4, 4)
    np.testing.assert_array_equal(share.take(np.arange(8)[None], 1), [[4, 5, 6, 7]])
    assert parallel._batch_share(np.ones((3, 2), bool)) == (0, 2, 2)
    with pytest.raises(UserError, match=r'data_devices is 2\. It must divide'):
        parallel._batch_share(np.array([[True, True], [True, False]]))


def test_runs_are_grouped_in_order_and_collected_again():
    """Run n is number n % R of device n // R; padding repeats the last run."""
    layout = Layout(5, jax.devices()[:3])
    array_NxM = np.arange(10).reshape(5, 2)
    grouped = layout.group_by_device(array_NxM)
    np.testing.assert_array_equal(grouped, array_NxM[[[0, 1], [2, 3], [4, 4]]])
    np.testing.assert_array_equal(layout.collect(layout.put_runs_on_devices(grouped)), array_NxM)


def test_a_smaller_group_has_the_shapes_of_the_first():
    """It can use the same program; padding is removed when the runs are collected."""
    layout = Layout(20, jax.devices()[:3], R=4)
    smaller_layout = layout.with_count(5)
    assert (layout.count, smaller_layout.count, smaller_layout.D, smaller_layout.R) == (20, 5, 3, 4)
    grouped = smaller_layout.group_by_device(np.arange(5))
    np.testing.assert_array_equal(grouped, [[0, 1, 2, 3], [4, 4, 4, 4], [4, 4, 4, 4]])
    np.testing.assert_array_equal(smaller_layout.collect(grouped), np.arange(5))


def test_a_device_has_the_folds_that_its_runs_need_and_no_other():
    """A device that needs fewer folds than another repeats its last one."""
    fold_N = np.array([0, 0, 0, 2, 2, 2, 2, 5, 5])
    layout = Layout(9, jax.devices()[:3])
    fold_DxF, slot_N = layout.assign_slots(fold_N)
    np.testing.assert_array_equal(fold_DxF, [[0, 0], [2, 2], [2, 5]])
    np.testing.assert_array_equal(slot_N, [0, 0, 0, 0, 0, 0, 0, 1, 1])
    assert slot_N.dtype == np.int32
    # Another group of the same program may need three folds.
    wider_DxF, same_N = layout.assign_slots(fold_N, F=3)
    np.testing.assert_array_equal(wider_DxF, [[0, 0, 0], [2, 2, 2], [2, 5, 5]])
    np.testing.assert_array_equal(same_N, slot_N)


def test_the_slot_of_a_run_is_the_index_of_its_fold():
    """This holds for any order of the folds and any number of devices."""
    random = np.random.default_rng(0)
    for count, devices in ((1, 8), (7, 3), (30, 8), (30, 1)):
        fold_N = random.integers(0, 6, count)
        layout = Layout(count, jax.devices()[:devices])
        fold_DxF, slot_N = layout.assign_slots(fold_N)
        np.testing.assert_array_equal(fold_DxF[np.arange(count) // layout.R, slot_N], fold_N)
        needed = [set(fold_R) for fold_R in layout.group_by_device(fold_N)]
        assert [set(fold_F) for fold_F in fold_DxF] == needed
        assert fold_DxF.shape[1] == max(len(folds) for folds in needed)
