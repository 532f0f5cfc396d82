"""Tests of the properties that every method must have.

A new file in jaxser/methods is tested without a change here.
"""

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import chex
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import base
from jaxser import plugins
from jaxser.configuration import sweep
from jaxser.features import SharedArrays
from jaxser.interfaces import Method, Sizes
from jaxser.training import parallel, step

METHODS = plugins.plugin_names('methods')
F, V, S, B, T, M, K, C, A = 2, 3, 5, 4, 24, 6, 5, 3, 2
OTHER_EMOTION_LOSS = ('didan',)  # lam = 0 is not plain training
TARGET_B = np.float32([0, 1] * (B // 2))
SIZES = Sizes(M, C, {'speaker': K, 'language': 2, 'corpus': 2}, steps=20, ratings=A)
HEADS = {'emotion': ('emotion',), 'ratings': ('ratings',)}  # the branches of the heads, by task
QUICK_WITH_RATINGS = ('similarity',)  # the others are slow tests of ratings


def configuration(name: str, task: str = 'emotion') -> ConfigDict:
    config = base.get_config()
    config.method = name
    config.task = task
    config.domain_hidden = config.model.width = config.model.hidden = config.model.dim = 8
    config.model.tdnn = ((3, 2, 2),)
    return config


def make_step(name: str, task: str = 'emotion') -> tuple[step.Step, Method]:
    config = configuration(name, task)
    encoder, method = plugins.make_method(config, SIZES)
    return step.make_step(encoder, method, SIZES, config.train), method


def make_batches(identity: bool = False, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns five steps of two folds, of utterances that differ in length.

    Every other one is of the target, without an emotion label. With `identity`, as many identity
    examples follow.
    """
    if identity:
        emotion_batches, identity_batches = make_batches(), make_batches(seed=1)
        identity_batches['labelled_B'] *= 0
        identity_batches['rated_B'] *= 0
        return {
            k: x if k.endswith('_K') else np.concatenate([x, identity_batches[k]], axis=2)
            for k, x in emotion_batches.items()
        }
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
        'labelled_B': 1 - np.tile(TARGET_B, (S, F, 1)),
        'target_B': np.tile(TARGET_B, (S, F, 1)),
        'rating_BxA': np.random.default_rng(seed + 2)
        .uniform(-1, 1, (*shape, A))
        .astype(np.float32),
        'rated_B': 1 - np.tile(TARGET_B, (S, F, 1)),
        **{f'{d}_B': r.integers(0, n, shape).astype(np.int32) for d, n in SIZES.domains.items()},
        **{f'{d}_seen_K': np.ones((S, F, n), np.float32) for d, n in SIZES.domains.items()},
    }


def make_hyper(defaults: dict) -> dict[str, np.ndarray]:
    """Returns three variants that differ in everything; the first has lam = 0."""
    options = {'weight_decay': 0.01, 'dropout': 0.2, 'time_mask': 0.1, 'band_mask': 0.1}
    method_options = [
        {k: min(x, 0.3) * v if k == 'lam' else x * (1 - v / 4) for k, x in defaults.items()}
        for v in range(V)
    ]
    runs = [method_options[v] | options | {'lr': 1e-3 * (v + 1), 'seed': v} for v in range(V)]
    fold_runs = [r | {'fold': f} for f in range(F) for r in runs]
    hyper = sweep.hyper_arrays(fold_runs, sweep.Program({}, None, sweep.MethodFacts({}), runs))
    return {k: x[None] for k, x in hyper.items()} | {'slot': hyper['fold'][None]}


class Case:
    """A method, its step, batches and hyper-parameters, and all runs vmapped over five steps."""

    def __init__(self, name: str, task: str = 'emotion'):
        self.name = name
        self.task = task
        self.step, method = make_step(name, task)
        self.batches, self.hyper = make_batches(method.identity), make_hyper(method.hyper)
        self.update, self.predict = jax.jit(self.step.update), jax.jit(self.step.predict)
        self.initial_state, self.state, self.metrics = train_runs(
            self.step, self.batches, self.hyper, in_turn=False
        )
        self.single_run_state = functools.cache(self._train_alone)

    def _train_alone(self, run: int):
        """Returns the state of a run that is trained alone."""
        state = select_run(self.initial_state, run)
        for s in range(S):
            state, _ = self.update(state, self.batch(s, run), self.hyper_of(run))
        return jax.device_get(state)

    def hyper_of(self, run: int) -> dict:
        return {k: x[0, run] for k, x in self.hyper.items()}

    def batch(self, s: int, run: int) -> dict:
        return {k: x[s, run // V] for k, x in self.batches.items()}


def train_runs(run_step: step.Step, batches: dict, hyper: dict, in_turn: bool, **compiler):
    """Trains all runs as one program on one device for five steps.

    Returns the state before and after, and metrics; all with the run as first axis.
    """
    programs = parallel.compile_step(
        run_step, parallel.Layout(F * V, jax.devices()[:1]), T, in_turn=in_turn
    )
    state = programs.init(hyper)
    initial_state = jax.device_get(state)
    arguments = (
        state,
        SharedArrays(),
        {k: x[None] for k, x in batches.items()},
        np.array([0, S], np.int32),
        hyper,
    )
    chunk = (
        programs.train_chunk.lower(*arguments).compile(compiler_options=compiler)
        if compiler
        else programs.train_chunk
    )
    state, metrics = jax.device_get(chunk(*arguments))
    return tuple(jax.tree.map(lambda x: x[0], tree) for tree in (initial_state, state, metrics))


make_case = functools.cache(Case)


def list_cases() -> list:
    """Returns (method, task) of every method, also for ratings if it can train them."""
    cases = [pytest.param(name, 'emotion', id=name) for name in METHODS]
    for name in METHODS:
        if not make_step(name)[1].needs_classes:
            marks = () if name in QUICK_WITH_RATINGS else pytest.mark.slow
            cases.append(pytest.param(name, 'ratings', id=f'{name}-ratings', marks=marks))
    return cases


@pytest.fixture
def case(method, task):
    return make_case(method, task)


every_case = pytest.mark.parametrize(('method', 'task'), list_cases())


def select_run(tree, run: int):
    """Returns the part of a tree that belongs to one run."""
    return jax.tree.map(lambda x: x[run], tree)


@every_case
def test_training_changes_encoder_and_heads_and_stays_finite(case):
    """The training is five steps long."""
    for part in ('encoder', *HEADS[case.task]):
        moved = jax.tree.map(
            lambda a, b: np.abs(a - b).max(),
            case.initial_state.params[part],
            case.state.params[part],
        )
        assert all(m > 0 for m in jax.tree.leaves(moved))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((case.state, case.metrics)))


@every_case
@pytest.mark.parametrize('run', [0, F * V - 1])
def test_vmapped_runs_equal_single_runs(case, run):
    """To 1e-6 after five steps in float32."""
    chex.assert_trees_all_close(
        case.single_run_state(run).params, select_run(case.state.params, run), rtol=1e-6, atol=1e-6
    )
    chex.assert_trees_all_close(
        case.single_run_state(run).batch_stats,
        select_run(case.state.batch_stats, run),
        rtol=1e-6,
        atol=1e-6,
    )


@every_case
def test_neither_padding_nor_other_examples_change_a_prediction(case):
    """More padding, or an example without the others, changes less than 1e-5."""
    state, batch = select_run(case.state, 1), case.batch(0, 0)
    together = case.predict(state.params, state.batch_stats, batch)
    padded = batch | {
        'mel_BxTxM': np.pad(batch['mel_BxTxM'], ((0, 0), (0, 13), (0, 0)), constant_values=7)
    }
    for b in range(B):
        example = {
            k: x[b : b + 1] if k.endswith(('_B', 'BxM', 'BxA', 'BxTxM')) else x
            for k, x in padded.items()
        }
        alone = case.predict(state.params, state.batch_stats, example)
        chex.assert_trees_all_close(
            alone, tuple(x[b : b + 1] for x in together), rtol=1e-5, atol=1e-5
        )


@every_case
def test_padded_frames_do_not_change_a_training_step(case):
    """Parameters, statistics and metrics to the bit; valid frames do change them."""
    state, batch = select_run(case.state, 1), case.batch(0, 0)
    padding_BxTx1 = (np.arange(T) >= batch['frames_B'][:, None])[..., None]

    def after(changed_BxTx1: np.ndarray):
        mel_BxTxM = np.where(changed_BxTx1, np.float16(7), batch['mel_BxTxM'])
        return jax.device_get(
            case.update(state, batch | {'mel_BxTxM': mel_BxTxM}, case.hyper_of(1))
        )

    unchanged = after(np.zeros_like(padding_BxTx1))
    chex.assert_trees_all_equal(after(padding_BxTx1), unchanged)
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal(after(~padding_BxTx1), unchanged)


@every_case
def test_the_label_of_an_unlabelled_example_is_never_used(case):
    """If its weight is 0, another one changes nothing, to the bit; otherwise it does."""
    # With the first moments at 0, Adam's are the gradient.
    state = select_run(case.state, 1).replace(opt_state=select_run(case.initial_state.opt_state, 1))

    def after(select: Callable):
        batch = case.batch(0, 1)
        changed_B = select(batch['labelled_B'])
        other_emotion_B = (batch['emotion_B'] + 1) % C
        changed_batch = batch | {
            'emotion_B': np.where(changed_B, other_emotion_B, batch['emotion_B']).astype(np.int32),
            'rating_BxA': np.where(changed_B[:, None], -batch['rating_BxA'], batch['rating_BxA']),
        }
        return jax.device_get(case.update(state, changed_batch, case.hyper_of(1)))

    chex.assert_trees_all_equal(
        after(lambda labelled_B: labelled_B == 0), after(lambda labelled_B: labelled_B < 0)
    )
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal(
            after(lambda labelled_B: labelled_B > 0), after(lambda labelled_B: labelled_B < 0)
        )


def with_heads(params: dict, task: str) -> dict:
    return {k: params[k] for k in ('encoder', *HEADS[task])}


@every_case
def test_at_lam_0_a_method_equals_plain_training(case):
    """To 1e-6 after five steps. XLA may sum in another order here; the next test is to the bit."""
    if case.name in OTHER_EMOTION_LOSS or ('lam' not in case.hyper and case.name != 'leace'):
        pytest.skip('no lam, or another emotion loss')
    assert case.hyper_of(0).get('lam', 0) == 0
    plain = make_case('erm', case.task).single_run_state(0)
    chex.assert_trees_all_close(
        with_heads(case.single_run_state(0).params, case.task), plain.params, rtol=1e-6, atol=1e-6
    )
    chex.assert_trees_all_close(
        case.single_run_state(0).batch_stats, plain.batch_stats, rtol=1e-6, atol=1e-6
    )


def slow_but(*quick: str) -> list:
    return [n if n in quick else pytest.param(n, marks=pytest.mark.slow) for n in METHODS]


@pytest.mark.parametrize('task', ['emotion', pytest.param('ratings', marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    'name',
    [pytest.param(n, marks=pytest.mark.gate if n == 'dann' else pytest.mark.slow) for n in METHODS],
)
def test_at_lam_0_a_method_equals_plain_training_to_the_bit(name, task):
    """After five steps, compiled as for users, which takes half a minute."""
    method = make_step(name)[1]
    if name in OTHER_EMOTION_LOSS or ('lam' not in method.hyper and name != 'leace'):
        pytest.skip('no lam, or another emotion loss')
    if task == 'ratings' and method.needs_classes:
        pytest.skip('it cannot train ratings')
    optimised = {'xla_backend_optimization_level': 3}
    if 'fusion_emitters' in os.environ['XLA_FLAGS']:
        optimised['xla_cpu_use_fusion_emitters'] = True
    states = []
    for n in (name, 'erm'):
        run_step, method = make_step(n, task)
        hyper = make_hyper(method.hyper) | (
            {'lam': np.zeros((1, F * V), np.float32)} if 'lam' in method.hyper else {}
        )
        states.append(
            train_runs(run_step, make_batches(method.identity), hyper, True, **optimised)[1]
        )
    chex.assert_trees_all_equal(with_heads(states[0].params, task), states[1].params)
    chex.assert_trees_all_equal(states[0].batch_stats, states[1].batch_stats)


@pytest.mark.parametrize('name', slow_but('dann'))
def test_runs_in_turn_equal_vmapped_runs(name):
    """Runs one after the other, as on a CPU, equal vmapped ones to 1e-6."""
    case = make_case(name)
    chex.assert_trees_all_close(
        train_runs(case.step, case.batches, case.hyper, in_turn=True)[1].params,
        case.state.params,
        rtol=1e-6,
        atol=1e-6,
    )


@pytest.mark.slow
def test_the_method_of_the_documentation_passes_these_tests(tmp_path):
    """The method's file is added to a copy of the packages and tests."""
    root = Path(__file__).parents[3]
    for name in ('jaxser', 'data_pipelines', 'configs', 'tests'):
        shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns('__pycache__'))
    shutil.copy(root / 'pyproject.toml', tmp_path)
    (text,) = (
        b
        for b in (root / 'docs' / 'guide' / 'extending.md').read_text().split('```')
        if b.startswith('python\n') and 'def make(' in b
    )
    assert text.count('\n') < 40
    (tmp_path / 'jaxser' / 'methods' / 'entropy.py').write_text(text.removeprefix('python\n'))
    command = [
        sys.executable,
        '-m',
        'pytest',
        '-p',
        'no:cacheprovider',
        '-k',
        'entropy',
        str(Path(__file__).relative_to(root)),
    ]
    environment = os.environ | {'PYTHONPATH': str(tmp_path)}
    completed = subprocess.run(
        [*command, '-n0'], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert int(re.search(r'(\d+) passed', completed.stdout)[1]) >= 7, completed.stdout
