"""Equalities that every method must keep: one table, which a new file of jaxser/methods joins by being there."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

import jaxser.methods
from configs import base
from jaxser import parallel, step, sweep, train
from jaxser.interfaces import Sizes

METHODS = sorted(p.stem for p in Path(jaxser.methods.__path__[0]).glob('*.py') if '\ndef make(config' in p.read_text())
F, V, S, B, T, M, K, C = 2, 3, 5, 4, 24, 6, 5, 3
SIZES = Sizes(M, C, {'speaker': K, 'language': 2, 'corpus': 2}, steps=20)


def configuration(name: str) -> ConfigDict:
    config = base.get_config()
    config.method = name
    config.domain_hidden = config.model.width = config.model.hidden = config.model.dim = 8
    config.model.tdnn = ((3, 1, 2), (3, 2, 1))
    return config


def make_step(name: str) -> tuple[step.Step, dict]:
    config = configuration(name)
    encoder, method = train.method(config, SIZES)
    return step.make(encoder, method, SIZES, config.train), method.hyper


def make_batches(seed: int = 0) -> dict[str, np.ndarray]:
    """Five steps of two folds; every utterance has another length."""
    r = np.random.default_rng(seed)
    shape = (S, F, B)
    frames = r.integers(8, T + 1, shape).astype(np.int32)
    mel = r.normal(size=(*shape, T, M)) * (np.arange(T) < frames[..., None])[..., None]
    return {
        'mel_BxTxM': mel.astype(np.float16),
        'frames_B': frames,
        'mean_BxM': r.normal(size=(*shape, M)).astype(np.float32),
        'scale_BxM': r.uniform(0.5, 2, (*shape, M)).astype(np.float32),
        'emotion_B': r.integers(0, C, shape).astype(np.int32),
        'labelled_B': np.ones(shape, np.float32),
        **{f'{d}_B': r.integers(0, n, shape).astype(np.int32) for d, n in SIZES.domains.items()},
        **{f'{d}_seen_K': np.ones((S, F, n), np.float32) for d, n in SIZES.domains.items()},
    }


def make_hyper(knobs: dict) -> dict[str, np.ndarray]:
    """Three variants that differ in everything."""
    options = {**{k: v for k, v in knobs.items()}, 'lr': 1e-3, 'weight_decay': 0.01, 'dropout': 0.2, 'time_mask': 0.1}
    runs = [
        options | {'band_mask': 0.1, 'lr': 1e-3 * (v + 1), 'seed': v} | ({'lam': 0.3 * v} if 'lam' in knobs else {})
        for v in range(V)
    ]
    every = [r | {'fold': f} for f in range(F) for r in runs]
    hyper = sweep.hyper(every, sweep.Part({}, None, runs))
    return {k: x[None] for k, x in hyper.items()} | {'slot': hyper['fold'][None]}


def trained(one: step.Step, batches: dict, hyper: dict, in_turn: bool, **compiler):
    """All runs after five steps as one program on one device: state and metrics, which lead with the run."""
    programs = parallel.make(one, parallel.Layout(F * V, jax.devices()[:1]), T, in_turn=in_turn)
    arguments = programs.init(hyper), None, {k: x[None] for k, x in batches.items()}, np.ones(S, bool), hyper
    chunk = programs.chunk.lower(*arguments).compile(compiler_options=compiler) if compiler else programs.chunk
    state, metrics = jax.device_get(chunk(*arguments))
    return jax.tree.map(lambda x: x[0], state), {k: x[0] for k, x in metrics.items()}


def single(one: step.Step, batches: dict, hyper: dict, run: int):
    """A run alone, step by step."""
    h = {k: x[0, run] for k, x in hyper.items()}
    state, update = one.init(h), jax.jit(one.update)
    for s in range(S):
        state, _ = update(state, {k: x[s, run // V] for k, x in batches.items()}, h)
    return state


@pytest.fixture(scope='module', params=METHODS)
def case(request):
    """A method, its step, batches, hyper-parameters, and all runs after five steps, vmapped as on accelerators."""
    one, knobs = make_step(request.param)
    batches, hyper = make_batches(), make_hyper(knobs)
    return request.param, one, batches, hyper, *trained(one, batches, hyper, in_turn=False)


def close(a, b, tolerance: float) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance), a, b)


def same(a, b) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_training_moves_encoder_and_emotion_head_and_stays_finite(case):
    """Five steps change both, and nothing is NaN."""
    _, one, _, hyper, state, metrics = case
    before = jax.device_get(jax.vmap(one.init)({k: x[0] for k, x in hyper.items()})).params
    for part in ('encoder', 'emotion'):
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), before[part], state.params[part])
        assert all(m > 0 for m in jax.tree.leaves(moved))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((state, metrics)))


def test_vmapped_runs_equal_single_runs(case):
    """A run of a sweep is what it would be alone: 1e-6 after 5 steps in float32."""
    _, one, batches, hyper, state, _ = case
    for run in (0, F * V - 1):
        alone = single(one, batches, hyper, run)
        close(alone.params, jax.tree.map(lambda x: x[run], state.params), 1e-6)  # noqa: B023
        close(alone.batch_stats, jax.tree.map(lambda x: x[run], state.batch_stats), 1e-6)  # noqa: B023


def test_runs_in_turn_equal_vmapped_runs(case):
    """As on a CPU, so on accelerators: 1e-6 after 5 steps."""
    _, one, batches, hyper, state, _ = case
    close(trained(one, batches, hyper, in_turn=True)[0].params, state.params, 1e-6)


def predicted(case, batch: dict) -> tuple[np.ndarray, np.ndarray]:
    _, one, _, _, state, _ = case
    alone = jax.tree.map(lambda x: x[1], state)
    return jax.device_get(one.predict(alone.params, alone.batch_stats, batch))


def test_neither_padding_nor_company_changes_a_prediction(case):
    """More padding, and being scored alone: 1e-5."""
    batch = {k: x[0, 0] for k, x in case[2].items()}
    padded = batch | {'mel_BxTxM': np.pad(batch['mel_BxTxM'], ((0, 0), (0, 13), (0, 0)), constant_values=7)}
    close(predicted(case, padded), predicted(case, batch), 1e-5)
    for b in range(B):
        one = {k: x[b : b + 1] if k.endswith(('_B', 'BxM', 'BxTxM')) else x for k, x in batch.items()}
        close(predicted(case, one), tuple(x[b : b + 1] for x in predicted(case, batch)), 1e-5)


def gradients(case, batch: dict, with_respect_to: str):
    """Of the loss of run 1, to the parameters or to the features."""
    name, _, _, hyper, state, _ = case
    _, method = train.method(configuration(name), SIZES)
    alone = jax.tree.map(lambda x: jnp.asarray(x[1]), state)
    h = {k: x[0, 1] for k, x in hyper.items()}

    def loss(params, mel):
        return method.loss(params, alone.replace(params=params), batch | {'mel_BxTxM': mel}, h, jax.random.PRNGKey(0))[0]

    mel = jnp.asarray(batch['mel_BxTxM'], jnp.float32)
    return jax.jit(jax.grad(loss, argnums=0 if with_respect_to == 'params' else 1))(alone.params, mel)


def test_padded_frames_get_no_gradient(case):
    """The loss does not depend on what is beyond the valid frames, under training's batch statistics too."""
    batch = {k: x[0, 0] for k, x in case[2].items()}
    g_BxTxM = gradients(case, batch, 'mel')
    padding = np.arange(T) >= batch['frames_B'][:, None]
    assert (g_BxTxM[padding] == 0).all()
    assert np.abs(g_BxTxM[~padding]).max() > 0


def test_the_label_of_an_unlabelled_example_is_never_used(case):
    """Weight 0: another emotion there changes no gradient, to the bit."""
    batch = {k: x[0, 0] for k, x in case[2].items()} | {'labelled_B': np.array([1, 0, 1, 0], np.float32)}
    other = batch | {'emotion_B': (batch['emotion_B'] + np.array([0, 1, 0, 1], np.int32)) % C}
    same(gradients(case, batch, 'params'), gradients(case, other, 'params'))


def test_dann_at_lam_0_is_erm_exactly():
    """The encoder, its statistics and the emotion head after five steps are the same to the bit, compiled as for users."""
    optimised = {'xla_backend_optimization_level': 3}
    if 'fusion_emitters' in os.environ['XLA_FLAGS']:
        optimised['xla_cpu_use_fusion_emitters'] = True
    states = {}
    for name in ('erm', 'dann'):
        one, knobs = make_step(name)
        hyper = make_hyper(knobs) | ({'lam': np.zeros((1, F * V), np.float32)} if name == 'dann' else {})
        states[name], _ = trained(one, make_batches(), hyper, True, **optimised)
    same(states['erm'].params, {k: states['dann'].params[k] for k in ('encoder', 'emotion')})
    same(states['erm'].batch_stats, states['dann'].batch_stats)
    assert 'speaker' in states['dann'].params
