"""One training step: where its randomness comes from, and what it does to the features; on an encoder of one matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from jaxser.interfaces import Aux, Encoder, Sizes
from jaxser.methods import erm
from jaxser.training import optimizer, step

B, T, M, D, C = 4, 6, 3, 2, 3
SIZES = Sizes(M, C, {}, steps=20)
RANDOM = np.random.default_rng(0)
BATCH = {
    'mel_BxTxM': np.float16(RANDOM.normal(size=(B, T, M))),
    'frames_B': np.array([6, 5, 4, 2], np.int32),
    'mean_BxM': np.float32(RANDOM.normal(size=(B, M))),
    'scale_BxM': np.float32(RANDOM.uniform(0.5, 2, (B, M))),
    'emotion_B': np.array([0, 1, 2, 0], np.int32),
    'labelled_B': np.ones(B, np.float32),
}
NORMALISED = (BATCH['mel_BxTxM'] - BATCH['mean_BxM'][:, None]) * BATCH['scale_BxM'][:, None]
SUM = (NORMALISED * (np.arange(T) < BATCH['frames_B'][:, None])[..., None]).sum(1)


def apply(params, batch_stats, batch, hyper, key, train):
    """The sum over frames; in training it is remembered, with a number that the key draws."""
    sum_BxM = batch['mel_BxTxM'].sum(1)
    if train:
        batch_stats = {'sum_BxM': sum_BxM, 'drawn': jax.random.uniform(key)}
    return sum_BxM @ params['w'], batch_stats


ENCODER = Encoder(
    lambda key, batch: (
        {'w': jax.random.normal(key, (M, D))},
        {'sum_BxM': jnp.zeros((B, M)), 'drawn': jnp.zeros(())},
    ),
    apply,
)


def hyper(seed: int = 0, fold: int = 0, lr: float = 0.1, mask: float = 0.0) -> dict:
    real = {'lr': lr, 'weight_decay': 0.01, 'dropout': 0.1, 'time_mask': mask, 'band_mask': mask}
    return {k: np.float32(v) for k, v in real.items()} | {
        'seed': np.int32(seed),
        'fold': np.int32(fold),
    }


@pytest.fixture(scope='module')
def one() -> step.Step:
    """The compiled step."""
    config = ConfigDict({'warmup': 0.1, 'clip': 5.0, 'optimizer': 'adamw'})
    made = step.make_step(ENCODER, erm.make(ConfigDict(), ENCODER, SIZES), SIZES, config)
    return step.Step(jax.jit(made.init), jax.jit(made.update), jax.jit(made.predict))


def wild(of: dict) -> step.Step:
    """A method whose loss is the sum of its parameters, each branch's times a constant, clipped to 0.1."""
    loss = lambda params, state, batch, hyper, key: (  # noqa: E731
        sum(of[k] * x.sum() for k, branch in params.items() for x in jax.tree.leaves(branch)),
        Aux(state.batch_stats, state.extra, {}),
    )
    method = erm.make(ConfigDict(), ENCODER, SIZES)._replace(loss=loss)
    return step.make_step(
        ENCODER, method, SIZES, ConfigDict({'warmup': 0.0, 'clip': 0.1, 'optimizer': 'adamw'})
    )


def test_a_huge_gradient_of_a_head_leaves_the_encoder_alone():
    """Clipping is by branch: what a head does, NaN included, changes no bit of the encoder's step."""
    states = []
    for size in (1.0, 1e9, np.nan):
        one = wild({'encoder': 1.0, 'emotion': size})
        states.append(jax.jit(one.update)(one.init(hyper()), BATCH, hyper())[0])
    for state in states[1:]:
        jax.tree.map(
            np.testing.assert_array_equal, state.params['encoder'], states[0].params['encoder']
        )
        jax.tree.map(
            np.testing.assert_array_equal,
            state.opt_state['encoder'],
            states[0].opt_state['encoder'],
        )


def test_a_method_may_take_its_own_steps():
    """`update` in place of one step down a loss: here the encoder moves twice, and the head never."""

    def update(state, batch, hyper, key, descend):
        for _ in range(2):
            state = descend(
                state, {'encoder': jax.tree.map(jnp.ones_like, state.params['encoder'])}
            )
        return state, {'steps': jnp.float32(2)}

    method = erm.make(ConfigDict(), ENCODER, SIZES)._replace(update=update)
    one = step.make_step(
        ENCODER, method, SIZES, ConfigDict({'warmup': 0.0, 'clip': 1e9, 'optimizer': 'sgd'})
    )
    before, h = one.init(hyper()), hyper() | {'weight_decay': np.float32(0)}
    state, metrics = jax.jit(one.update)(before, BATCH, h)
    rates = sum(
        0.1 * optimizer.learning_rate_schedule(jnp.float32(n), SIZES.steps, 0.0) for n in range(2)
    )
    np.testing.assert_allclose(
        state.params['encoder']['w'], before.params['encoder']['w'] - rates, rtol=1e-5
    )
    jax.tree.map(np.testing.assert_array_equal, state.params['emotion'], before.params['emotion'])
    assert (int(state.step), set(metrics)) == (1, {'steps'})


def differ(a, b) -> bool:
    return any((x != y).any() for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)))


def test_seed_and_fold_choose_the_beginning_and_nothing_else_does(one):
    """Runs that differ in a coefficient or rate start from the same parameters and draw the same numbers."""
    first = one.init(hyper())
    same = one.init(hyper(lr=7.0, mask=0.5))
    jax.tree.map(np.testing.assert_array_equal, (first.params, first.key), (same.params, same.key))
    for other in (hyper(seed=1), hyper(fold=1)):
        assert differ(one.init(other).params['encoder'], first.params['encoder'])
        assert differ(
            one.init(other).params['emotion']['layers_0']['kernel'],
            first.params['emotion']['layers_0']['kernel'],
        )


def test_training_sees_normalised_features(one):
    """The mean and scale that the protocol allows, and zero beyond the valid frames."""
    state, _ = one.update(one.init(hyper()), BATCH, hyper())
    np.testing.assert_allclose(state.batch_stats['sum_BxM'], SUM, rtol=1e-5, atol=1e-5)


def test_prediction_sees_normalised_features_without_masks(one):
    """What is scored is the utterance itself."""
    state = one.init(hyper(mask=0.9))
    z_BxD, _ = one.predict(state.params, state.batch_stats, BATCH)
    np.testing.assert_allclose(
        z_BxD, SUM @ np.asarray(state.params['encoder']['w']), rtol=1e-4, atol=1e-5
    )


def test_every_step_draws_anew_and_each_the_same_again(one):
    """Dropout and masks are a function of the run's key and the number of the step: what resuming rests on."""
    h = hyper(mask=0.5)
    first, _ = one.update(one.init(h), BATCH, h)
    again, _ = one.update(one.init(h), BATCH, h)
    jax.tree.map(np.testing.assert_array_equal, first, again)
    second, _ = one.update(first, BATCH, h)
    assert differ(first.batch_stats['drawn'], second.batch_stats['drawn'])
    assert differ(first.batch_stats['sum_BxM'], second.batch_stats['sum_BxM'])
    np.testing.assert_array_equal(first.key, second.key)
    assert (int(first.step), int(second.step)) == (1, 2)


def test_a_step_is_one_of_the_optimiser_down_the_loss(one):
    """After the warm-up AdamW moves every parameter by at most the rate and what decays, and the loss falls."""
    h, state = hyper(lr=0.05), one.init(hyper(lr=0.05))
    losses = []
    for _ in range(6):
        before = state.params
        state, metrics = one.update(state, BATCH, h)
        losses.append(float(metrics['loss']))
        moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), state.params, before)
    assert losses[-1] < losses[1]
    assert 0 < max(jax.tree.leaves(moved)) < 0.1
