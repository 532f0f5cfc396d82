"""Tests of the similarity penalty: its formula, what does not count in it, and identity batches."""

import chex
import jax
import numpy as np
import pytest
from helpers import linear
from helpers.linear import BATCH, KEY, RAMPED, Case, differences, emotion_loss, encode
from ml_collections import ConfigDict

from data_pipelines.errors import UserError
from jaxser.methods import similarity
from jaxser.plugins import load_plugin

N, D = 24, 5
LAM = 0.7
NO_IDENTITY = {'identity': ()}


def make_case(form: str = 'conditional', identity: tuple = (), **options) -> Case:
    return Case('similarity', similarity=form, protocol={'identity': identity}, **options)


def penalty(z_BxD, domain_B, group_B) -> float:
    """Returns D, pair by pair."""
    used = np.flatnonzero((domain_B >= 0) & (group_B >= 0))
    centred = z_BxD - z_BxD[used].mean(0)
    within, between = [], []
    for i in used:
        for j in used:
            if i == j or group_B[i] != group_B[j]:
                continue
            norms = np.sqrt([(centred[k] ** 2).sum() + 1e-6 for k in (i, j)])
            value = centred[i] @ centred[j] / norms.prod()
            (within if domain_B[i] == domain_B[j] else between).append(value)
    return np.mean(within) - np.mean(between)


def groups(form: str, batch=BATCH) -> np.ndarray:
    """Returns group_B of the method: the emotion if it is labelled, or one group."""
    if form == 'unconditional':
        return np.zeros(len(batch['emotion_B']), int)
    return np.where(batch['labelled_B'] > 0, batch['emotion_B'], -1)


def make_examples() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns z_NxD, domain_N and group_N, some of which are unknown."""
    r = np.random.default_rng(0)
    return r.normal(3, 1, (N, D)), r.integers(-1, 4, N), r.integers(-1, 3, N)


def domain_similarity(z_NxD, domain_N, group_N) -> float:
    return float(similarity.domain_similarity(np.float32(z_NxD), domain_N, group_N))


@pytest.mark.parametrize('domain', ['speaker', 'speaker+language'])
@pytest.mark.parametrize('form', similarity.VARIANTS)
def test_value_and_gradients_equal_the_formula(form, domain):
    """CE(emotion) + lam ramp(p) sum of D over the domains; gradients by finite differences."""
    case = make_case(form, domain=domain)

    def formula(params):
        z_BxD = encode(params)
        value = 0
        for name in domain.split('+'):
            value += penalty(z_BxD, BATCH[f'{name}_B'], groups(form))
        return emotion_loss(params, z_BxD) + LAM * RAMPED * value

    (value, aux), gradient = case.value_and_gradient(lam=LAM)
    assert value == pytest.approx(formula(case.float64_params), rel=1e-5)
    chex.assert_trees_all_close(
        gradient, differences(formula, case.float64_params), rtol=1e-4, atol=1e-5
    )
    assert aux.metrics['lam_p'] == pytest.approx(LAM * RAMPED)
    z_BxD = encode(case.float64_params)
    for name in domain.split('+'):
        expected = penalty(z_BxD, BATCH[f'{name}_B'], groups(form))
        assert aux.metrics[f'{name}_similarity'] == pytest.approx(expected, rel=1e-5)


def test_the_penalty_is_the_mean_over_the_pairs_of_one_group():
    """Of all groups together, so that a group with more pairs has more weight."""
    z_NxD, domain_N, group_N = make_examples()
    expected = penalty(z_NxD, domain_N, group_N)
    assert abs(expected) > 0.01
    assert domain_similarity(z_NxD, domain_N, group_N) == pytest.approx(expected, abs=1e-6)


def test_the_penalty_lies_between_perfect_recognition_and_none():
    """Two clusters: 2 if they are the speakers, about 0 if speakers are alike in each."""
    z_NxD = np.outer(np.repeat([1, -1], N // 2), np.ones(D))
    one_group_N = np.zeros(N, int)
    own_cluster_N = np.repeat([0, 1], N // 2)
    assert domain_similarity(z_NxD, own_cluster_N, one_group_N) == pytest.approx(2, abs=1e-5)
    both_clusters_N = np.tile([0, 1], N // 2)
    assert abs(domain_similarity(z_NxD, both_clusters_N, one_group_N)) < 0.1


NO_PAIRS = {
    'one speaker': (np.zeros(N, int), np.arange(N) % 3),
    'no two utterances of a speaker': (np.arange(N), np.arange(N) % 3),
    'no two examples of a group': (np.arange(N) % 4, np.arange(N)),
    'unknown speakers': (np.full(N, -1), np.arange(N) % 3),
    'no group': (np.arange(N) % 4, np.full(N, -1)),
}


@pytest.mark.parametrize(('domain_N', 'group_N'), NO_PAIRS.values(), ids=NO_PAIRS)
def test_without_pairs_of_both_kinds_the_penalty_is_0(domain_N, group_N):
    """And so is its gradient."""
    z_NxD = np.float32(make_examples()[0])
    value, gradient = jax.value_and_grad(similarity.domain_similarity)(z_NxD, domain_N, group_N)
    assert value == 0
    assert not gradient.any()


def test_equal_examples_have_no_similarity_and_a_finite_gradient():
    """All are at the mean, where a direction is not defined."""
    _, domain_N, group_N = make_examples()
    z_NxD = np.ones((N, D), np.float32)
    value, gradient = jax.value_and_grad(similarity.domain_similarity)(z_NxD, domain_N, group_N)
    assert value == pytest.approx(0, abs=1e-6)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize('scale', [0.1, 100.0])
def test_the_penalty_does_not_depend_on_the_scale_or_origin_of_z(scale):
    """So that the encoder cannot lower it by a smaller z."""
    z_NxD, domain_N, group_N = make_examples()
    value = domain_similarity(z_NxD, domain_N, group_N)
    moved = domain_similarity(scale * (z_NxD - 2), domain_N, group_N)
    assert moved == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize('unknown', ['speaker', 'group'])
def test_examples_of_unknown_speaker_or_group_do_not_count(unknown):
    """Neither in pairs nor in the mean, to the bit."""
    z_NxD, domain_N, group_N = make_examples()
    is_out_N = (domain_N if unknown == 'speaker' else group_N) < 0
    assert is_out_N.any()
    other_NxD = np.where(is_out_N[:, None], 100.0, z_NxD)
    value = domain_similarity(z_NxD, domain_N, group_N)
    assert domain_similarity(other_NxD, domain_N, group_N) == value


@pytest.mark.parametrize('form', similarity.VARIANTS)
def test_padding_does_not_count(form):
    """The table gives it the speaker of another utterance."""
    case = make_case(form)
    frames_B = np.where(np.arange(linear.B) == 3, 0, BATCH['frames_B'])
    values = []
    for speaker in (0, 1, 3):
        speaker_B = np.where(frames_B == 0, speaker, BATCH['speaker_B'])
        batch = BATCH | {'frames_B': frames_B, 'speaker_B': speaker_B}
        values.append(case.value_and_gradient(batch=batch)[0][1].metrics['speaker_similarity'])
    assert values[0] == values[1] == values[2]


def test_the_weight_of_a_class_does_not_weigh_pairs():
    """labelled_B is only a mask here."""
    case = make_case()
    equal = BATCH | {'labelled_B': np.float32(BATCH['labelled_B'] > 0)}
    first, second = (case.value_and_gradient(batch=batch)[0][1] for batch in (BATCH, equal))
    assert first.metrics['speaker_similarity'] == second.metrics['speaker_similarity']
    assert first.metrics['emotion_loss'] != second.metrics['emotion_loss']


def test_only_the_unconditional_form_uses_unlabelled_examples():
    """They change D if they are of another speaker."""
    is_unlabelled_B = BATCH['labelled_B'] == 0
    batch = BATCH | {'speaker_B': np.where(is_unlabelled_B, 4, BATCH['speaker_B'])}
    changes = []
    for form in similarity.VARIANTS:
        case = make_case(form)
        pair = [case.value_and_gradient(batch=b)[0][1].metrics for b in (BATCH, batch)]
        changes.append(pair[0]['speaker_similarity'] != pair[1]['speaker_similarity'])
    assert changes == [False, True]


def test_penalty_over_task_is_the_ratio_of_the_gradients_at_z():
    """lam ramp(p) |dD/dz| over |d emotion loss / dz|."""
    case = make_case()
    (_, aux), _ = case.value_and_gradient(lam=LAM)
    z_BxD = encode(case.float64_params)
    speakers = differences(lambda z: penalty(z, BATCH['speaker_B'], groups('conditional')), z_BxD)
    emotions = differences(lambda z: emotion_loss(case.float64_params, z), z_BxD)
    expected = LAM * RAMPED * np.linalg.norm(speakers) / np.linalg.norm(emotions)
    assert aux.metrics['penalty_over_task'] == pytest.approx(expected, rel=1e-4)


def make_identity_batch() -> dict:
    """Returns the batch with as many identity examples, which have no emotion labels."""
    r = np.random.default_rng(5)
    identity = dict(BATCH)
    identity['mel_BxTxM'] = np.float32(r.normal(size=BATCH['mel_BxTxM'].shape))
    identity['speaker_B'] = np.array([4, 4, 2, 2, 4, 2, -1, 2])
    identity['labelled_B'] = np.zeros(linear.B, np.float32)
    batch = {}
    for key, x in BATCH.items():
        batch[key] = x if key.endswith('_K') else np.concatenate([x, identity[key]])
    return batch


@pytest.mark.parametrize('form', similarity.VARIANTS)
def test_identity_examples_enter_the_penalty_as_a_group_of_their_own(form):
    """Conditionally; unconditionally all examples are one group."""
    case = make_case(form, identity=('ravdess',))
    assert case.method.identity
    batch = make_identity_batch()
    identity_key = jax.random.fold_in(KEY, 1)
    kept = jax.random.bernoulli(identity_key, 0.8, linear.KEEP_BxD.shape)
    group_B = np.concatenate([groups(form), np.full(linear.B, linear.C)])
    if form == 'unconditional':
        group_B = np.zeros(2 * linear.B, int)

    def formula(params):
        z_BxD = encode(params)
        identity_z = encode(params, batch['mel_BxTxM'][linear.B :], np.asarray(kept, np.float64))
        value = penalty(np.concatenate([z_BxD, identity_z]), batch['speaker_B'], group_B)
        return emotion_loss(params, z_BxD) + LAM * RAMPED * value

    (value, _), gradient = case.value_and_gradient(batch=batch, lam=LAM)
    assert value == pytest.approx(formula(case.float64_params), rel=1e-5)
    chex.assert_trees_all_close(
        gradient, differences(formula, case.float64_params), rtol=1e-4, atol=1e-5
    )


def test_with_identity_examples_lam_0_is_plain_training():
    """They change neither the gradient nor the running statistics."""
    case, plain = make_case(identity=('ravdess',)), Case('erm')
    (value, aux), gradient = case.value_and_gradient(batch=make_identity_batch(), lam=0)
    (expected, plain_aux), plain_gradient = plain.value_and_gradient()
    assert value == expected
    chex.assert_trees_all_equal(gradient, plain_gradient)
    chex.assert_trees_all_equal(aux.batch_stats, plain_aux.batch_stats)


def test_an_unknown_form_raises_a_user_error():
    config = ConfigDict({'domain': 'speaker', 'similarity': 'both', 'protocol': NO_IDENTITY})
    with pytest.raises(UserError, match=r"config\.similarity is 'both'"):
        load_plugin('methods', 'similarity').make(config, linear.ENCODER, linear.SIZES)
