"""Tests of the properties that every encoder must have.

A new file in jaxser/models is tested without a change here.
"""

import functools
import operator
import tempfile
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import parity

from configs import base
from data_pipelines.errors import UserError
from jaxser.features import normalise
from jaxser.interfaces import Sizes
from jaxser.nn.batch_norm import BATCH_NORM_MODES
from jaxser.nn.encoder import make_dummy_batch
from jaxser.plugins import load_plugin, make_method, plugin_names

ENCODERS = plugin_names('models')
B, T, M, D, MORE = 6, 25, 6, 5, 14
FRAMES = np.int32([25, 13, 7, 18, 21, 10])
TARGET = np.float32([0, 1, 0, 1, 0, 1])  # three a side: of two, BatchNorm leaves only the sign
HYPER = {'dropout': jnp.float32(0.2)}
SIZES = Sizes(M, 3, {'speaker': 3, 'language': 2, 'corpus': 2}, 20)


UPSTREAM = tempfile.TemporaryDirectory()


@functools.cache
def whisper() -> Path:
    """Returns the folder of a small Whisper of M bands that takes the longest batch here."""
    return parity.write('whisper', Path(UPSTREAM.name))


def configuration(name: str, mode: str = 'joint'):
    config = base.get_config()
    config.model.name, config.model.batch_norm = name, mode
    config.model.tdnn, config.model.channels = ((3, 1, 3), (3, 2, 1)), (3, 4)
    config.model.width, config.model.hidden, config.model.dim = 5, 4, D
    config.model.states, config.model.upstream = f'whisper-3x{M // 3}-all-00000000', str(whisper())
    return config


class Case:
    """An encoder with a mode of BatchNorm; its parameters are shifted, as after training."""

    def __init__(self, name: str, mode: str):
        self.mode = mode
        self.encoder = load_plugin('models', name).make(configuration(name, mode).model)
        self.frozen_arrays = {} if self.encoder.frozen is None else {'frozen': self.encoder.frozen}
        batch = make_dummy_batch(M, self.encoder.frozen) | self.frozen_arrays
        variables = jax.jit(self.encoder.init)(jax.random.PRNGKey(0), batch)
        random = np.random.default_rng(1)

        def shift(path, x):
            scale = 0.1 if 'upstream' in str(path) else 1
            return x + np.float32(scale * random.uniform(0.1, 0.5, x.shape))

        self.params, self.batch_stats = jax.tree_util.tree_map_with_path(shift, variables)
        self.forward = jax.jit(self._summed, static_argnums=3)
        self.gradient = jax.jit(
            jax.value_and_grad(self._summed, argnums=(0, 1), has_aux=True), static_argnums=3
        )

    def _summed(self, params, mel_BxTxM, target_B, train):
        """Returns a scalar to differentiate, and (z, new statistics)."""
        moments = {'mean_BxM': jnp.full((B, M), 0.5), 'scale_BxM': jnp.full((B, M), 2.0)}
        batch = {
            'mel_BxTxM': mel_BxTxM,
            'frames_B': FRAMES,
            'target_B': target_B,
            **moments,
            **self.frozen_arrays,
        }
        out = self.encoder.apply(
            params, self.batch_stats, normalise(batch), HYPER, jax.random.PRNGKey(2), train
        )
        return (
            out[0] * jnp.sin(jnp.arange(1.0, 1.0 + out[0].size)).reshape(out[0].shape)
        ).sum(), out


make_case = functools.cache(Case)


CASES = [(name, mode) for name in ENCODERS for mode in ('joint', 'domain', 'none')]
# Over a pretrained encoder. Their BatchNorm is the one that all encoders share at their end.
PRETRAINED = ('layer_sum', 'fine_tuned')


@pytest.fixture(
    params=[
        pytest.param(c, marks=pytest.mark.slow) if c[0] in PRETRAINED and c[1] != 'joint' else c
        for c in CASES
    ],
    ids='-'.join,
)
def case(request):
    return make_case(*request.param)


def features(length: int = T) -> np.ndarray:
    """Returns noise, also beyond the valid frames."""
    return np.float32(np.random.default_rng(3).normal(size=(B, T + MORE, M))[:, :length])


@pytest.mark.parametrize('train', [False, True], ids=['eval', 'train'])
def test_more_padding_changes_nothing(case, train):
    """z and statistics differ by less than 5e-4: BatchNorm over two examples magnifies rounding."""
    _, (z_BxD, batch_stats) = case.forward(case.params, features(), TARGET, train)
    _, longer = case.forward(case.params, features(T + MORE), TARGET, train)
    assert z_BxD.shape == (B, D)
    assert np.ptp(z_BxD, axis=0).max() > 0.01
    chex.assert_trees_all_close(longer, (z_BxD, batch_stats), rtol=5e-4, atol=5e-4)
    changes = jax.tree.leaves(
        jax.tree.map(lambda a, b: float(np.abs(a - b).max()), batch_stats, case.batch_stats)
    )
    assert all(change > 0 if train else change == 0 for change in changes), (
        'the statistics change in training, and only there'
    )


def test_padded_frames_get_no_gradient_and_every_parameter_does(case):
    """A bias before BatchNorm would get only rounding errors, which Adam turns into steps."""
    _, (g_params, g_BxTxM) = case.gradient(case.params, features(), TARGET, True)
    padding = np.arange(T) >= FRAMES[:, None]
    assert (np.asarray(g_BxTxM)[padding] == 0).all()
    assert (np.abs(np.asarray(g_BxTxM)[~padding]).max(-1) > 0).any()
    for path, g in jax.tree_util.tree_leaves_with_path(g_params):
        assert np.abs(g).max() > 1e-4, jax.tree_util.keystr(path)


@pytest.mark.parametrize('name', ENCODERS)
def test_vmapped_runs_equal_single_runs(name):
    """Outputs and gradients are equal to 1e-5. test_batch_norm.py tests every mode."""
    case = make_case(name, 'joint')
    params = [case.params, jax.tree.map(lambda x: 0.5 * x, case.params)]
    mel_RxBxTxM = np.stack([features(), -features()])
    stacked = jax.tree.map(lambda *x: np.stack(x), *params)
    stacked_results = jax.jit(jax.vmap(lambda p, mel: case.gradient(p, mel, TARGET, True)))(
        stacked, mel_RxBxTxM
    )
    for r in range(2):
        chex.assert_trees_all_close(
            jax.tree.map(operator.itemgetter(r), stacked_results),
            case.gradient(params[r], mel_RxBxTxM[r], TARGET, True),
            rtol=1e-5,
            atol=1e-5,
        )


@pytest.mark.parametrize('name', ENCODERS)
@pytest.mark.parametrize('mode', BATCH_NORM_MODES)
def test_swapping_source_and_target_matters_in_the_modes_that_use_them(name, mode):
    """These are all modes but `joint` and `none` in training, and only `domain` in evaluation."""
    case = make_case(name, mode)
    swapped = np.float32([0, 1, 1, 0, 0, 1])
    for training, sensitive_modes in (
        (True, ('separate', 'domain', 'source')),
        (False, ('domain',)),
    ):
        z_BxD, changed_BxD = (
            case.forward(case.params, features(), t, training)[1][0] for t in (TARGET, swapped)
        )
        assert (np.abs(z_BxD - changed_BxD).max() > 1e-3) == (mode in sensitive_modes)


@pytest.mark.parametrize('name', ENCODERS)
@pytest.mark.parametrize('side', [0, 1], ids=['source alone', 'target alone'])
def test_every_layer_uses_source_and_target(name, side):
    """In mode `domain`, a batch of one side updates only its own statistics, in all layers."""
    case = make_case(name, 'domain')
    _, (_, new) = case.forward(case.params, features(), np.full(B, side, np.float32), True)
    for old, now in zip(jax.tree.leaves(case.batch_stats), jax.tree.leaves(new)):
        np.testing.assert_array_equal(now[1 - side], old[1 - side])
        assert (now[side] != old[side]).any()


CHECKED_SIZES = {
    'tdnn_lstm': ('width', 'hidden', 'dim', 'tdnn'),
    'cnn': ('channels', 'dim'),
    'layer_sum': ('dim',),
    'fine_tuned': ('dim', 'accumulate'),
}


@pytest.mark.parametrize('name', ENCODERS)
def test_invalid_sizes_are_refused(name):
    """An encoder checks its own keys, not those of others."""
    for key in {key for keys in CHECKED_SIZES.values() for key in keys}:
        config = configuration(name)
        config.model[key] = {'tdnn': ((3, 1, 0),), 'channels': (8, 0)}.get(key, 0)
        if key in CHECKED_SIZES.get(name, ()):
            with pytest.raises(UserError, match=rf'config.model.{key} is .*1 or more'):
                make_method(config, SIZES)
        else:
            make_method(config, SIZES)
    config = configuration(name, 'joined')
    with pytest.raises(UserError, match=r'config.model.batch_norm'):
        make_method(config, SIZES)


def test_a_layer_of_the_tdnn_is_three_numbers():
    """Two numbers are refused."""
    config = configuration('tdnn_lstm')
    config.model.tdnn = ((3, 1),)
    with pytest.raises(UserError, match='kernel, dilation, stride'):
        make_method(config, SIZES)
