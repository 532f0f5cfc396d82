"""Tests of a fine-tuned encoder: its start, which weights are trained, and at which rate."""

import dataclasses
import functools
import operator
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict
from helpers import parity
from jax.ad_checkpoint import print_saved_residuals
from jax.extend.core import jaxprs_in_params

from configs import base
from data_pipelines.errors import UserError
from data_pipelines.features import decode, upstream
from jaxser.features import SharedArrays, normalise
from jaxser.interfaces import Sizes
from jaxser.models import fine_tuned
from jaxser.nn.encoder import make_dummy_batch
from jaxser.plugins import make_method
from jaxser.pretrained import extractor
from jaxser.pretrained.encoder import read_encoder
from jaxser.training import parallel, step
from jaxser.training.validate import plan_programs

B, D, C, K, STEPS = 4, 5, 2, 3, 8
CASES = ('hubert base', 'wavlm large', 'whisper')
FRAMES = np.int32([8, 5, 3, 6])  # of 10 ms
quick = functools.partial(jax.jit, compiler_options={'xla_backend_optimization_level': 0})


@pytest.fixture(
    scope='session',
    params=[c if c == 'whisper' else pytest.param(c, marks=pytest.mark.slow) for c in CASES],
)
def folder(request, once):
    """A small encoder of each family."""
    return once(request.param.replace(' ', '_'), lambda path: parity.write(request.param, path))


def configuration(folder, **changes):
    config = base.get_config()
    config.model.name, config.model.upstream, config.model.dim = 'fine_tuned', str(folder), D
    config.model.batch_norm = 'none'
    config.domain_hidden, config.train.warmup = 4, 0.0
    config.update_from_flattened_dict(changes)
    return config


def sizes(folder) -> Sizes:
    return Sizes(
        extractor.input_from_folder(folder).bands,
        C,
        {'speaker': K, 'language': 1, 'corpus': 1},
        STEPS,
    )


def make_batch(folder, examples: int = B, seed: int = 0) -> dict:
    """Returns examples of K speakers, zero beyond their frames."""
    random, bands = np.random.default_rng(seed), sizes(folder).bands
    frames = np.resize(FRAMES, examples)
    mel = random.normal(size=(examples, FRAMES.max(), bands)) * (
        0.1 if bands == upstream.HOP_SAMPLES else 1
    )
    return {
        'mel_BxTxM': np.where(
            np.arange(FRAMES.max())[:, None] < frames[:, None, None], mel, 0
        ).astype(np.float16),
        'frames_B': frames,
        'mean_BxM': np.zeros((examples, bands), np.float32),
        'scale_BxM': np.ones((examples, bands), np.float32),
        'emotion_B': np.arange(examples, dtype=np.int32) % C,
        'labelled_B': np.float32(random.uniform(0.5, 2, examples)),
        'target_B': np.zeros(examples, np.float32),
        'speaker_B': np.arange(examples, dtype=np.int32) % K,
        'speaker_seen_K': np.ones(K, np.float32),
    }


HYPER = {'lr': 0.1, 'weight_decay': 0.0, 'dropout': 0.0, 'time_mask': 0.0, 'band_mask': 0.0}


def make_hyper(**knobs) -> dict:
    return {k: np.float32(v) for k, v in (HYPER | knobs).items()} | {
        'seed': np.int32(0),
        'fold': np.int32(0),
    }


def shifted(params, size: float = 0.1):
    """Returns parameters away from their initialisation, so that no change of a weight is zero."""
    random = np.random.default_rng(5)
    return jax.tree.map(lambda x: np.float32(x + size * random.normal(size=x.shape)), params)


class Case:
    """An encoder of a configuration, with its initial parameters."""

    def __init__(self, folder, **changes):
        self.folder, self.config = folder, configuration(folder, **changes)
        self.encoder, self.method = make_method(self.config, sizes(folder))
        self.frozen = self.encoder.frozen
        batch = make_dummy_batch(sizes(folder).bands, self.frozen)
        variables = quick(self.encoder.init)(jax.random.PRNGKey(0), batch)
        self.params, self.batch_stats = jax.device_get(variables)
        self.forward = quick(self._z, static_argnums=3)
        self.gradient = quick(
            jax.grad(lambda params, batch, frozen: self._sum(params, batch, frozen))
        )

    def _z(self, params, batch, frozen, train: bool = False):
        batch = normalise(batch) | {'frozen': frozen}
        return self.encoder.apply(
            params, self.batch_stats, batch, {'dropout': 0.0}, jax.random.PRNGKey(1), train
        )[0]

    def _sum(self, params, batch, frozen):
        """Returns a scalar to differentiate that depends on all of z."""
        z_BxD = self._z(params, batch, frozen, True)
        return (z_BxD * jnp.sin(jnp.arange(1.0, 1.0 + z_BxD.size)).reshape(z_BxD.shape)).sum()

    def z(self, params=None, batch=None, train: bool = False) -> np.ndarray:
        params = self.params if params is None else params
        return np.asarray(
            self.forward(
                params, make_batch(self.folder) if batch is None else batch, self.frozen, train
            )
        )

    def slopes(self, params) -> dict:
        return jax.device_get(self.gradient(params, make_batch(self.folder), self.frozen))


def test_at_first_it_equals_layer_sum_over_the_frozen_encoder(folder):
    """Up to the rounding of stored states to float16; also with adapters."""
    case = Case(folder)
    batch = make_batch(folder)
    pretrained = read_encoder(folder)
    spec = extractor.states_from_folder(folder, 'all')
    layer_sum = configuration(folder, **{'model.name': 'layer_sum', 'model.states': spec.name})
    encoder, _ = make_method(
        layer_sum, Sizes(spec.bands, C, {'speaker': K, 'language': 1, 'corpus': 1}, STEPS)
    )
    x = np.float32(batch['mel_BxTxM'])
    inputs, length_B = (
        (x.reshape(B, -1), upstream.HOP_SAMPLES * FRAMES)
        if pretrained.input_kind == 'wave'
        else (x, FRAMES)
    )
    states, frames_B = quick(pretrained.module.apply)(
        {'params': pretrained.params}, inputs, length_B
    )
    mel_BxTxM = (
        np.stack(states, 2).reshape(B, len(states[0][0]), -1).astype(np.float16).astype(np.float32)
    )
    shared = {k: v for k, v in shifted(case.params).items() if k != 'upstream'}
    shared['layers'] = np.float32(np.linspace(-0.1, 0.2, pretrained.state_count))
    stored_batch = {'mel_BxTxM': mel_BxTxM, 'frames_B': frames_B, 'target_B': batch['target_B']}
    expected = quick(lambda p, b: encoder.apply(p, {}, b, {}, None, False)[0])(shared, stored_batch)
    assert np.ptp(expected, axis=0).max() > 0.01
    chex.assert_trees_all_close(
        case.z(shared | {'upstream': case.params['upstream']}), expected, rtol=2e-3, atol=2e-3
    )
    adapted = Case(folder, **{'model.lora': 2})
    z, adapted_z = (c.z(shared | {'upstream': c.params['upstream']}) for c in (case, adapted))
    chex.assert_trees_all_close(adapted_z, z, rtol=1e-6, atol=1e-6)


def test_the_transformer_is_trained_and_the_convolutions_are_not(folder):
    """Every parameter gets a gradient; positions and biases of keys are not parameters."""
    case = Case(folder)
    trained_paths = set(flatten_dict(case.params['upstream']))
    all_paths = set(flatten_dict(case.frozen))
    assert {p for p in all_paths - trained_paths if p[0] not in fine_tuned.FROZEN_MODULES} == {
        p for p in all_paths if p[-2:] == ('k_proj', 'bias')
    }
    assert not {p for p in trained_paths if p[0] in fine_tuned.FROZEN_MODULES}
    for path, g in flatten_dict(case.slopes(shifted(case.params))).items():
        assert np.abs(g).max() > 1e-6, path


def test_only_queries_and_values_have_adapters(folder):
    """Each layer has 2 r (D + D) numbers; at first only the factor that is zero gets a gradient."""
    rank = 3
    case = Case(folder, **{'model.lora': rank})
    pretrained = read_encoder(folder)
    change = flatten_dict(case.params['upstream'])
    assert {p[-3] for p in change} == {'q_proj', 'v_proj'}
    assert (
        sum(x.size for x in change.values())
        == (pretrained.state_count - 1) * 2 * rank * 2 * pretrained.width
    )
    assert all((x == 0).all() == (p[-1] == 'b') for p, x in change.items())
    for path, g in flatten_dict(case.slopes(case.params)['upstream']).items():
        assert (np.abs(g).max() > 1e-8) == (path[-1] == 'b'), path


def test_adapters_equal_weights_to_which_their_product_was_added(folder):
    """To 1e-5: W + A B is never computed, but the states are those of an encoder that has it."""
    case = Case(folder, **{'model.lora': 3})
    params = shifted(case.params)
    frozen = flatten_dict(case.frozen)
    for path, a in flatten_dict(params['upstream']).items():
        if path[-1] == 'a':
            b = params['upstream']
            for name in (*path[:-1], 'b'):
                b = b[name]
            frozen[path[:-1]] = frozen[path[:-1]] + a @ b
    merged = Case(folder)
    no_change = merged.params['upstream']
    merged.frozen = unflatten_dict(frozen)
    expected = merged.z(params | {'upstream': no_change})
    assert np.abs(case.z() - expected).max() > 0.01
    chex.assert_trees_all_close(case.z(params), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('train', [False, True])
def test_padding_and_other_examples_change_nothing(folder, train):
    """More padding with any content, or an example without others, changes less than 1e-5."""
    case, batch = Case(folder), make_batch(folder)
    params = shifted(case.params)
    expected = case.z(params, batch, train)
    padding = np.pad(batch['mel_BxTxM'], ((0, 0), (0, 5), (0, 0)))
    padding[np.arange(padding.shape[1]) >= FRAMES[:, None]] = 7
    chex.assert_trees_all_close(
        case.z(params, batch | {'mel_BxTxM': padding}, train), expected, rtol=1e-5, atol=1e-5
    )
    example = {k: x[1:2] if k.rpartition('_')[2].startswith('B') else x for k, x in batch.items()}
    chex.assert_trees_all_close(case.z(params, example, train), expected[1:2], rtol=1e-5, atol=1e-5)


def test_whisper_uses_thirty_seconds_and_no_more(whisper):
    """Its limit is 40 frames here; later frames are cut off."""
    case, batch = Case(whisper), make_batch(whisper)
    long = np.resize(batch['mel_BxTxM'], (B, 60, batch['mel_BxTxM'].shape[2]))
    expected = case.z(batch=batch | {'mel_BxTxM': long[:, :40], 'frames_B': np.full(B, 40)})
    chex.assert_trees_all_equal(
        case.z(batch=batch | {'mel_BxTxM': long, 'frames_B': np.full(B, 55)}), expected
    )


@pytest.mark.slow
@pytest.mark.parametrize('lora', [0, 2])
def test_remat_and_accumulate_change_nothing(folder, lora):
    """z and gradients in training are equal to 1e-5, also with adapters."""
    plain = Case(folder, **{'model.lora': lora})
    params = shifted(plain.params)
    expected = plain.z(params, train=True), plain.slopes(params)
    for changes in (
        {'model.remat': True},
        {'model.accumulate': 2},
        {'model.accumulate': 4, 'model.remat': True},
    ):
        case = Case(folder, **{'model.lora': lora, **changes})
        chex.assert_trees_all_close(
            (case.z(params, train=True), case.slopes(params)), expected, rtol=1e-5, atol=1e-5
        )


def test_remat_and_accumulate_keep_less_for_the_backward_pass(whisper, capsys):
    """With bfloat16, the factors of products are saved in bfloat16."""
    batch, kept = make_batch(whisper), {}
    for key, value in (('remat', False), ('remat', True), ('accumulate', 2), ('bfloat16', True)):
        case = Case(whisper, **{f'model.{key}': value})
        print_saved_residuals(
            lambda params, case=case: case._sum(params, batch, case.frozen), case.params
        )
        lines = [
            line
            for line in capsys.readouterr().out.splitlines()
            if ' output of ' in line and '(apply_change)' not in line
        ]
        shapes = [m for line in lines if (m := re.match(r'b?f(\d+)\[([\d,]+)\]', line))]
        kept[key if value else ''] = sum(
            int(m[1]) // 8 * np.prod([int(n) for n in m[2].split(',')]) for m in shapes
        )
    assert kept['remat'] < 0.3 * kept['']
    assert kept['accumulate'] < 0.3 * kept['']
    factors = [line for line in lines if '(_einsum_forward)' in line]
    assert factors
    assert all(line.startswith('bf16[') for line in factors)


@pytest.mark.slow
def test_bfloat16_is_near_float32_and_its_parameters_are_float32(folder):
    """z and the direction of the gradient differ, but by less than 5 %."""
    case, coarse = Case(folder), Case(folder, **{'model.bfloat16': True})
    params = shifted(case.params)
    params['BatchNorm_0']['bias'] += 10  # so that no ReLU is near its kink
    z, rough = case.z(params, train=True), coarse.z(params, train=True)
    assert 0 < np.abs(z - rough).max() < 0.05 * np.ptp(z, axis=0).max()
    assert rough.dtype == np.float32
    slopes, steep = (jax.flatten_util.ravel_pytree(c.slopes(params))[0] for c in (case, coarse))
    assert steep.dtype == np.float32
    assert jnp.linalg.norm(slopes - steep) < 0.05 * jnp.linalg.norm(slopes)
    assert all(x.dtype == np.float32 for x in jax.tree.leaves((coarse.params, coarse.frozen)))


def test_products_of_bfloat16_are_summed_in_float32():
    """Of 4,096 ones bfloat16 would count only 256, forward and backward."""
    from jaxser.pretrained.transformer import rounded_einsum

    a, b = jnp.ones((1, 4096)), jnp.ones((4096, 1))

    def inner_product(a, b):
        return rounded_einsum('ab,bc->ac', a, b, jnp.bfloat16)[0, 0]

    def outer_sum(weight):
        return rounded_einsum('ab,bc->ac', a.T, weight, jnp.bfloat16).sum()

    assert inner_product(a, b) == 4096
    assert jax.grad(outer_sum)(jnp.ones((1, 1))) == 4096
    chex.assert_trees_all_equal(jax.grad(inner_product)(a, b), a)


@pytest.mark.parametrize(('wide', 'out'), [(3, 5), (5, 3)])
def test_rounded_einsum_has_the_gradients_of_einsum(wide, out):
    """For weights that are wider or narrower than their input, and for attention."""
    from jaxser.pretrained.transformer import rounded_einsum

    def sine_of_rounded(axes, a, b):
        return jnp.sin(rounded_einsum(axes, a, b, jnp.float32)).sum()

    def sine_of_exact(axes, a, b):
        return jnp.sin(jnp.einsum(axes, a, b)).sum()

    random = np.random.default_rng(0)
    for axes, shapes in (
        ('btd,df->btf', ((2, 4, wide), (wide, out))),
        ('bqhd,bkhd->bhqk', ((2, 4, 3, wide), (2, out, 3, wide))),
        ('bhqk,bkhd->bqhd', ((2, 3, 4, wide), (2, wide, 3, out))),
    ):
        a, b = (jnp.asarray(random.normal(size=s), jnp.float32) for s in shapes)
        gradients = jax.grad(sine_of_rounded, (1, 2))(axes, a, b)
        expected = jax.grad(sine_of_exact, (1, 2))(axes, a, b)
        chex.assert_trees_all_close(gradients, expected, rtol=1e-5, atol=1e-5)


def run_of(folder, method: str = 'erm', **changes):
    """Returns the step of a method over the encoder, and its initial state."""
    config = configuration(
        folder, **{'method': method, 'train.optimizer': 'sgd', 'train.clip': 1e9, **changes}
    )
    encoder, built = make_method(config, sizes(folder))
    run_step = step.make_step(encoder, built, sizes(folder), config.train)
    hyper = make_hyper(**built.hyper)
    return run_step, encoder, jax.device_get(quick(run_step.init)(hyper)), hyper


def test_a_step_is_scaled_by_the_rate_of_its_layer(whisper):
    """The scale is rate decay^k, k the layers above; other parameters take the full step."""
    batch = make_batch(whisper)
    moves = []
    for rates in (
        {'model.upstream_rate': 1.0},
        {'model.upstream_rate': 0.5, 'model.layer_decay': 0.25},
    ):
        run_step, encoder, state, hyper = run_of(whisper, **rates)
        trained, _ = quick(run_step.update)(state, batch | {'frozen': encoder.frozen}, hyper)
        moves.append(
            flatten_dict(jax.tree.map(np.subtract, jax.device_get(trained.params), state.params))
        )
    full, scaled = moves
    factors = {'layers_1': 0.5, 'layer_norm': 0.5, 'layers_0': 0.125}
    for path, move in full.items():
        assert np.abs(move).max() > 0, path
        chex.assert_trees_all_close(
            scaled[path],
            move * (factors[path[2]] if path[1] == 'upstream' else 1.0),
            rtol=1e-6,
            atol=1e-6,
        )


def test_layers_are_counted_from_the_top(folder):
    """The norm after the last layer has 0 layers above it, what is below the first layer all."""
    pretrained = read_encoder(folder)
    layers_above = {
        path: fine_tuned.layers_above(path, pretrained) for path in flatten_dict(pretrained.params)
    }
    prefix = () if pretrained.input_kind == 'mel' else ('encoder',)
    for path, k in layers_above.items():
        if (
            path[: len(prefix)] == prefix
            and path[len(prefix)].startswith('layers_')
            and path[-2:] != ('k_proj', 'bias')
        ):
            assert k == 1 - int(path[len(prefix)][-1])
    last = pretrained.input_kind == 'mel' or pretrained.config['do_stable_layer_norm']
    assert layers_above[*prefix, 'layer_norm', 'scale'] == (0 if last else 2)
    if pretrained.input_kind == 'wave':
        assert {
            layers_above['feature_projection', 'projection', 'kernel'],
            layers_above['encoder', 'pos_conv_embed', 'conv', 'kernel'],
        } == {2}
        assert layers_above['feature_projection', 'layer_norm', 'bias'] == 2


METHODS = {
    'erm': {},
    'dann': {},
    'crossgrad': {},
    'tap': {'speaker_norm': 'tap'},
    'snp': {'speaker_norm': 'snp'},
}


RUN_LR = np.float32([0.1, 0.01])


def two_runs(run_step, batch: dict, block: int, in_turn: bool = False):
    """Returns the programs of two runs of a fold, and the arguments of two steps."""
    layout = parallel.Layout(2, jax.devices()[:1])
    programs = parallel.compile_step(run_step, layout, FRAMES.max(), in_turn=in_turn, block=block)
    # The axes are device, step, fold.
    chunk = {k: np.broadcast_to(x, (1, 2, 1, *x.shape)) for k, x in batch.items()}
    return programs, (chunk, np.array([0, 2], np.int32))


def two_hypers(hyper: dict) -> dict:
    """Returns the hyper-parameters of two runs, which differ in their learning rate."""
    hyper_1x2 = {k: np.stack([x, x])[None] for k, x in hyper.items()}
    return hyper_1x2 | {'lr': RUN_LR[None], 'slot': np.zeros((1, 2), np.int32)}


@pytest.mark.slow
@pytest.mark.parametrize(('block', 'in_turn'), [(1, False), (2, False), (2, True)])
@pytest.mark.parametrize('name', METHODS)
def test_methods_train_adapters_and_runs_share_the_frozen_weights(whisper, name, block, in_turn):
    """Two vmapped runs, or a block of two, equal single runs to 1e-5."""
    method, identity = ('speaker_norm', True) if name in ('tap', 'snp') else (name, False)
    run_step, encoder, state, hyper = run_of(
        whisper, method, **{'model.lora': 2, 'train.optimizer': 'adamw'}, **METHODS[name]
    )
    batch = make_batch(whisper, 2 * B if identity else B)
    programs, arguments = two_runs(run_step, batch, block, in_turn)
    hyper_1x2 = two_hypers(hyper)
    shared = SharedArrays(frozen=encoder.frozen)
    trained, metrics = programs.train_chunk(programs.init(hyper_1x2), shared, *arguments, hyper_1x2)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((trained, metrics)))
    update = quick(run_step.update)
    for n in range(2):
        single_run = state
        for _ in range(2):
            single_run, _ = update(
                single_run, batch | {'frozen': encoder.frozen}, hyper | {'lr': RUN_LR[n]}
            )
        vmapped_params = jax.tree.map(operator.itemgetter((0, n)), trained.params)
        chex.assert_trees_all_close(vmapped_params, single_run.params, rtol=1e-5, atol=1e-5)
    frozen = {x.shape for x in jax.tree.leaves(encoder.frozen) if x.ndim > 1}
    assert not frozen & {x.shape for x in jax.tree.leaves(state)}


@pytest.mark.parametrize('block', [1, 2])
def test_runs_of_a_block_share_what_is_below_the_first_adapter(whisper, block):
    """Convolutions and the first layer's products with frozen weights see B examples, not 2 B."""
    run_step, encoder, state, hyper = run_of(whisper, **{'model.lora': 2})

    def forward(state, batch, hyper):
        z_BxD, _ = run_step.predict(state.params, state.batch_stats, batch)
        return state, {'z': z_BxD}

    programs, arguments = two_runs(
        run_step._replace(update=forward), make_batch(whisper), block=block
    )
    state_1x2 = jax.tree.map(lambda x: np.stack([x, x])[None], state)
    jaxpr = jax.make_jaxpr(programs.train_chunk)(
        state_1x2, SharedArrays(frozen=encoder.frozen), *arguments, two_hypers(hyper)
    )
    shapes = {'conv_general_dilated': [], 'dot_general': []}
    for equation in all_equations(jaxpr.jaxpr):
        if equation.primitive.name in shapes:
            shapes[equation.primitive.name].append(equation.outvars[0].aval.shape)
    T, width = FRAMES.max(), read_encoder(whisper).width
    is_shared = block == 2
    one_batch = [(B, T, width), (B, T // 2, width)]
    assert (shapes['conv_general_dilated'] == one_batch) == is_shared
    # Of queries, keys and values of the first layer, for the one block of the two runs.
    assert shapes['dot_general'].count((1, B, T // 2, width)) == (3 if is_shared else 0)


def all_equations(jaxpr):
    """Yields the equations of a jaxpr, also those of the functions that it calls."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from all_equations(inner)


@pytest.mark.slow
@pytest.mark.parametrize('mode', ['jit', 'pmap'])
def test_devices_share_a_batch_or_runs_and_each_has_the_frozen_weights(whisper, mode):
    """One device, two devices for one run, and two for two runs are equal to 1e-5."""
    final_params = []
    for devices, changes in ((1, {}), (2, {'model.accumulate': 2})):
        run_step, encoder, _, hyper = run_of(
            whisper, 'dann', **{'model.batch_norm': 'joint', **changes}
        )
        count, data = (1, devices) if mode == 'jit' else (devices, 1)
        layout = parallel.Layout(count, jax.devices()[:devices], data)
        programs = parallel.compile_step(run_step, layout, FRAMES.max(), mode)
        hyper_by_device = {
            k: layout.group_by_device(np.stack([x] * count)) for k, x in hyper.items()
        }
        placed = layout.put_runs_on_devices(
            hyper_by_device | {'slot': np.zeros((layout.D, layout.R), np.int32)}
        )
        batch = {
            k: np.broadcast_to(x, (layout.D, 1, 1, *x.shape))
            for k, x in make_batch(whisper).items()
        }
        shared = layout.put_on_devices(SharedArrays(frozen=encoder.frozen), parallel.REPLICATED)
        trained, _ = programs.train_chunk(
            programs.init(placed),
            shared,
            layout.put_batch_on_devices(batch, 3),
            np.array([0, 1], np.int32),
            placed,
        )
        final_params.append(jax.tree.map(layout.collect, trained.params))
    jax.tree.map(
        lambda a, b: chex.assert_trees_all_close(
            np.broadcast_to(a, b.shape), b, rtol=1e-5, atol=1e-5
        ),
        *final_params,
    )


@pytest.mark.slow
def test_accumulate_changes_nothing_for_losses_that_couple_examples(whisper):
    """A step of speaker_norm with BatchNorm over the whole batch is equal to 1e-5."""
    results = []
    for pieces in (1, 2):
        changes = {'model.accumulate': pieces, 'model.batch_norm': 'joint'}
        run_step, encoder, state, hyper = run_of(whisper, 'speaker_norm', **changes)
        results.append(
            quick(run_step.update)(
                state, make_batch(whisper, 2 * B) | {'frozen': encoder.frozen}, hyper
            )
        )
    chex.assert_trees_all_close(*(jax.device_get(end) for end in results), rtol=1e-5, atol=1e-5)


def test_the_ascent_of_tap_changes_only_the_encoder(whisper):
    """It changes by lam times the gradient, whatever the learning rates."""
    batch = make_batch(whisper, 2 * B)
    final_params = []
    for lam in (0.0, 0.5, 1.0):
        rates = {'model.upstream_rate': 0.01, 'model.layer_decay': 0.5}
        run_step, encoder, state, hyper = run_of(whisper, 'speaker_norm', **rates)
        trained, _ = quick(run_step.update)(
            state, batch | {'frozen': encoder.frozen}, hyper | {'lam': np.float32(lam)}
        )
        final_params.append(jax.device_get(trained.params))
    none, half, full = final_params
    for branch in ('emotion', 'speaker'):
        chex.assert_trees_all_equal(half[branch], none[branch])
    for path, descended in flatten_dict(none['encoder']).items():
        ascent = flatten_dict(full['encoder'])[path] - descended
        assert np.abs(ascent).max() > 0, path
        chex.assert_trees_all_close(
            2 * (flatten_dict(half['encoder'])[path] - descended), ascent, rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('upstream', 'nowhere', 'nowhere is not a folder'),
        ('lora', -1, 'config.model.lora is -1; expected a rank'),
        ('lora', 17, 'config.model.lora is 17, a rank above the width of .*, 16: set a lower one'),
        ('upstream_rate', 0.0, 'config.model.upstream_rate is 0.0; expected a number above 0'),
        ('layer_decay', -1.0, 'config.model.layer_decay is -1.0'),
        ('layer_decay', 2.0, 'config.model.layer_decay is 2.0; expected a number above 0, up to 1'),
    ],
)
def test_invalid_values_are_refused(whisper, key, value, message):
    """The message has the key."""
    with pytest.raises(UserError, match=message):
        make_method(configuration(whisper, **{f'model.{key}': value}), sizes(whisper))


def test_a_batch_that_accumulate_does_not_divide_is_refused(whisper):
    """The message has both numbers."""
    with pytest.raises(
        UserError, match=r'config.data.batch is 32; expected a multiple of config.model.accumulate'
    ):
        plan_programs(configuration(whisper, **{'model.accumulate': 3}))


def test_encoder_input_is_named_by_its_kind_and_size(tmp_path):
    """Encoders of other weights share it; a malformed name is refused."""
    names = []
    for case in ('wav2vec2 base', 'hubert large', 'whisper'):
        folder = tmp_path / case.replace(' ', '_')
        folder.mkdir()
        names.append(extractor.input_from_folder(parity.write(case, folder)).name)
    assert names[0] == names[1]
    assert names[0].startswith('wave-160-heard-')
    assert names[2].startswith('whisper-6-heard-')
    for name in names:
        assert upstream.spec_from_name(name).name == name
    with pytest.raises(UserError, match='is not a name of encoder states'):
        upstream.spec_from_name('wave-160-heard-00000000')


def test_a_wave_is_stored_in_frames_of_ten_milliseconds():
    """In float16, without the samples that fill no frame."""
    encoder_input = upstream.EncoderInput('wave', 160)
    wave = np.float32(np.random.default_rng(0).uniform(-1, 1, 1000))
    frames_TxM = encoder_input.compute_frames(wave)
    assert (frames_TxM.shape, frames_TxM.dtype) == ((6, 160), np.float16)
    chex.assert_trees_all_close(
        frames_TxM.ravel().astype(np.float32), wave[:960], rtol=1e-3, atol=1e-3
    )
    with pytest.raises(decode.Rejection, match='samples as large as 100000'):
        encoder_input.compute_frames(1e5 * np.ones(320, np.float32))
    assert dataclasses.astuple(encoder_input) == ('wave', 160)
