"""Tests of domain-adversarial training over a linear encoder."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from jaxser.interfaces import Encoder, Sizes, State
from jaxser.losses import cross_entropy
from jaxser.methods import dann, erm

B, T, M, D, STEPS, NOW = 6, 2, 3, 4, 20, 5
SIZES = Sizes(M, 3, {'speaker': 5, 'language': 2, 'corpus': 1}, STEPS)
RAMPED = np.tanh(5 * NOW / STEPS)
RANDOM = np.random.default_rng(0)
BATCH = {
    'mel_BxTxM': jnp.float32(RANDOM.normal(size=(B, T, M))),
    'frames_B': jnp.full(B, T),
    'emotion_B': jnp.array([0, 1, 2, 0, 1, 2]),
    'labelled_B': jnp.array([1.0, 0.5, 0.0, 2.0, 1.0, 0.0]),
    'speaker_B': jnp.array([0, 1, 3, 3, 1, 0]),
    'language_B': jnp.array([0, 1, 0, 1, 1, 0]),
    'corpus_B': jnp.zeros(B, int),
    'speaker_seen_K': jnp.array([1.0, 1.0, 0.0, 1.0, 0.0]),
    'language_seen_K': jnp.ones(2),
    'corpus_seen_K': jnp.ones(1),
}


quick = functools.partial(jax.jit, compiler_options={'xla_backend_optimization_level': 0})


def encode(params, mel_BxTxM) -> jax.Array:
    return jnp.tanh(mel_BxTxM.mean(1) @ params['w'])


ENCODER = Encoder(
    init=lambda key, batch: ({'w': jax.random.normal(key, (M, D))}, {}),
    apply=lambda params, batch_stats, batch, hyper, key, train: (
        encode(params, batch['mel_BxTxM']),
        batch_stats,
    ),
)


def gradient_at_z(loss_of_z):
    """Returns params -> the gradient of loss_of_z(z_BxD, params) with respect to z_BxD."""

    def gradient(params):
        return jax.grad(loss_of_z)(encode(params['encoder'], BATCH['mel_BxTxM']), params)

    return gradient


class Case:
    """dann after a quarter of its training, and its losses written out."""

    def __init__(self, domain: str):
        self.domain = domain
        self.method = dann.make(
            ConfigDict({'domain': domain, 'domain_hidden': 7, 'train': {}}), ENCODER, SIZES
        )
        encoder, _ = ENCODER.init(jax.random.PRNGKey(0), None)
        heads, extra = quick(self.method.init)(jax.random.PRNGKey(1), jnp.zeros((1, D)))
        self.params = {'encoder': encoder, **heads}
        self.state = State(jnp.int32(NOW), self.params, {}, extra, (), jax.random.PRNGKey(2))
        self._gradient = quick(jax.grad(self.loss, has_aux=True))
        self.emotion_loss = quick(self._emotion_loss)
        self.emotion_gradient = quick(jax.grad(self._emotion_loss))
        self.domain_loss = quick(self._domain_loss)
        self.domain_gradient = quick(jax.grad(self._domain_loss))
        self.emotion_gradient_at_z = quick(gradient_at_z(self._emotion_loss_of_z))
        self.domain_gradient_at_z = quick(gradient_at_z(self._domain_loss_of_z))

    def loss(self, params, lam: float = 0.3, domain_weight: float = 1.0, batch=BATCH):
        hyper = {
            'lam': jnp.asarray(lam, jnp.float32),
            'domain_weight': jnp.asarray(domain_weight, jnp.float32),
        }
        return self.method.loss(params, self.state, batch, hyper, None)

    def gradient(self, lam: float = 0.3, domain_weight: float = 1.0, batch=BATCH):
        return self._gradient(self.params, lam, domain_weight, batch)[0]

    def _emotion_loss(self, params):
        return self._emotion_loss_of_z(encode(params['encoder'], BATCH['mel_BxTxM']), params)

    def _emotion_loss_of_z(self, z_BxD, params):
        head = params['emotion']['layers_0']
        scores = z_BxD @ head['kernel'] + head['bias'][None]
        return cross_entropy(scores, BATCH['emotion_B'], BATCH['labelled_B'])

    def _domain_loss(self, params):
        """Returns CE(domain) without reversal, over the seen classes."""
        return self._domain_loss_of_z(encode(params['encoder'], BATCH['mel_BxTxM']), params)

    def _domain_loss_of_z(self, z_BxD, params):
        first, second = (params[self.domain][k] for k in ('layers_0', 'layers_2'))
        hidden = jax.nn.relu(z_BxD @ first['kernel'] + first['bias'][None])
        scores = hidden @ second['kernel'] + second['bias'][None]
        seen = np.flatnonzero(BATCH[f'{self.domain}_seen_K'])
        domain_B = np.searchsorted(seen, BATCH[f'{self.domain}_B'])
        return cross_entropy(scores[:, seen], domain_B, jnp.ones(B))


@pytest.fixture(scope='module', params=['speaker', 'language'])
def case(request):
    return Case(request.param)


@pytest.mark.parametrize(('lam', 'domain_weight'), [(0.0, 1.0), (0.7, 1.0), (0.7, 0.5)])
def test_the_encoder_gets_the_reversed_domain_gradient_and_each_head_its_own(
    case, lam, domain_weight
):
    """The encoder gets emotion minus lam ramp(p) domain; each head gets that of its own loss."""
    gradient = case.gradient(lam=lam, domain_weight=domain_weight)
    emotion = case.emotion_gradient(case.params)
    domain = case.domain_gradient(case.params)
    adversarial = lam * RAMPED * domain_weight
    chex.assert_trees_all_close(
        gradient['encoder'],
        jax.tree.map(lambda e, d: e - adversarial * d, emotion['encoder'], domain['encoder']),
        rtol=1e-5,
        atol=1e-6,
    )
    chex.assert_trees_all_close(gradient['emotion'], emotion['emotion'], rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(
        gradient[case.domain],
        jax.tree.map(lambda d: domain_weight * d, domain[case.domain]),
        rtol=1e-5,
        atol=1e-6,
    )


def test_an_encoder_step_raises_the_domain_loss_and_a_head_step_lowers_it(case):
    """Both steps follow the negative gradient of the method's loss."""
    gradient = case.gradient(lam=1.0, batch=BATCH | {'labelled_B': jnp.zeros(B)})
    before = case.domain_loss(case.params)
    for part, sign in (('encoder', 1), (case.domain, -1)):
        moved = jax.tree.map(lambda p, g: p - 0.01 * g, case.params[part], gradient[part])
        assert sign * (case.domain_loss(case.params | {part: moved}) - before) > 1e-5


def test_a_negative_lam_has_the_opposite_sign(case):
    """The encoder learns the domain, as in multi-task training; the heads learn as at any lam."""
    forget, plain, keep = (case.gradient(lam=lam) for lam in (0.7, 0.0, -0.7))
    difference = jax.tree.map(jnp.subtract, forget['encoder'], plain['encoder'])
    opposite = jax.tree.map(jnp.subtract, plain['encoder'], keep['encoder'])
    chex.assert_trees_all_close(difference, opposite, rtol=1e-4, atol=1e-6)
    assert max(np.abs(x).max() for x in jax.tree.leaves(difference)) > 1e-3
    for branch in ('emotion', case.domain):
        chex.assert_trees_all_equal(keep[branch], forget[branch])
    lowered = jax.tree.map(lambda p, g: p - 0.01 * g, case.params['encoder'], keep['encoder'])
    plainly = jax.tree.map(lambda p, g: p - 0.01 * g, case.params['encoder'], plain['encoder'])
    domain_losses = [
        float(case.domain_loss(case.params | {'encoder': encoder}))
        for encoder in (lowered, plainly)
    ]
    assert domain_losses[0] < domain_losses[1] - 1e-5


def test_only_lam_may_be_negative(case):
    assert case.method.may_be_negative == ('lam',)


def test_unlabelled_examples_train_the_domain_head(case):
    """The speaker is known even if the emotion is not."""
    unlabelled = BATCH | {'labelled_B': jnp.zeros(B)}
    chex.assert_trees_all_close(
        case.gradient(batch=unlabelled)[case.domain],
        case.domain_gradient(case.params)[case.domain],
        rtol=1e-5,
        atol=1e-6,
    )
    assert all((x == 0).all() for x in jax.tree.leaves(case.gradient(batch=unlabelled)['emotion']))


def test_unseen_domains_get_no_gradient():
    """The head has classes for dev and test speakers, which are never trained."""
    output = Case('speaker').gradient()['speaker']['layers_2']
    gradient_K = np.abs(output['kernel']).max(0) + np.abs(output['bias'])
    assert ((gradient_K > 0) == np.asarray(BATCH['speaker_seen_K'] > 0)).all()


def test_metrics_are_what_the_report_reads(case):
    """They have both losses, the ramped coefficient, and the number of domains of the fold."""
    value, aux = case.loss(case.params, lam=0.7, domain_weight=0.5)
    metrics = {k: float(v) for k, v in aux.metrics.items()}
    emotion, domain = float(case.emotion_loss(case.params)), float(case.domain_loss(case.params))
    assert metrics['emotion_loss'] == pytest.approx(emotion, rel=1e-5)
    assert metrics[f'{case.domain}_loss'] == pytest.approx(domain, rel=1e-5)
    assert float(value) == pytest.approx(emotion + 0.5 * domain, rel=1e-5)
    assert metrics['lam_p'] == pytest.approx(0.7 * RAMPED, rel=1e-5)
    assert metrics[f'{case.domain}_count'] == {'speaker': 3, 'language': 2}[case.domain]


def test_reversed_over_task_is_the_ratio_of_the_gradients_at_z(case):
    """lam ramp(p) domain_weight |d domain loss / dz| over |d emotion loss / dz|."""
    _, aux = case.loss(case.params, lam=0.7, domain_weight=0.5)
    domain = np.linalg.norm(case.domain_gradient_at_z(case.params))
    emotion = np.linalg.norm(case.emotion_gradient_at_z(case.params))
    expected = 0.7 * RAMPED * 0.5 * domain / emotion
    assert float(aux.metrics['reversed_over_task']) == pytest.approx(expected, rel=1e-5)


def test_the_emotion_head_is_initialised_as_in_plain_training(case):
    """The same key gives the same head, so that lam = 0 is plain training to the bit."""
    plain, _ = erm.make(ConfigDict({'train': {}}), ENCODER, SIZES).init(
        jax.random.PRNGKey(1), jnp.zeros((1, D))
    )
    chex.assert_trees_all_equal(plain['emotion'], case.params['emotion'])


def test_prediction_needs_no_domain(case):
    """In evaluation the domain head is not used."""
    batch = {k: BATCH[k] for k in ('mel_BxTxM', 'frames_B')}
    params = {k: v for k, v in case.params.items() if k != case.domain}
    z_BxD, scores_BxC = case.method.predict(params, {}, batch)
    np.testing.assert_array_equal(z_BxD, encode(params['encoder'], BATCH['mel_BxTxM']))
    assert scores_BxC.shape == (B, 3)


def test_losses_of_several_domains_are_added():
    """Each domain has a head, and the encoder gets the reversed gradients of both."""
    both, speaker, language = Case('speaker+language'), Case('speaker'), Case('language')
    params = both.params
    assert set(params) == {'encoder', 'emotion', 'speaker', 'language'}
    gradient = both.gradient(lam=0.7)
    emotion = both.emotion_gradient(params)['encoder']
    gradients = [case._gradient(params, 0.7, 1.0, BATCH)[0] for case in (speaker, language)]
    chex.assert_trees_all_close(
        gradient['encoder'],
        jax.tree.map(lambda e, a, b: a + b - e, emotion, *(g['encoder'] for g in gradients)),
        rtol=1e-5,
        atol=1e-6,
    )
    for case, single in zip((speaker, language), gradients):
        chex.assert_trees_all_close(
            gradient[case.domain], single[case.domain], rtol=1e-5, atol=1e-6
        )


def test_loss_and_metrics_of_several_domains_are_of_their_sum():
    """reversed_over_task has the norm of the summed gradient; each domain has its own loss."""
    both, speaker, language = Case('speaker+language'), Case('speaker'), Case('language')
    params = both.params
    value, aux = both.loss(params, lam=0.7, domain_weight=0.5)
    losses = {case.domain: float(case.domain_loss(params)) for case in (speaker, language)}
    for domain, loss in losses.items():
        assert float(aux.metrics[f'{domain}_loss']) == pytest.approx(loss, rel=1e-5)
    expected_value = float(both.emotion_loss(params)) + 0.5 * sum(losses.values())
    assert float(value) == pytest.approx(expected_value, rel=1e-5)
    assert float(aux.metrics['lam_p']) == pytest.approx(0.7 * RAMPED, rel=1e-5)
    domains = speaker.domain_gradient_at_z(params) + language.domain_gradient_at_z(params)
    emotion = both.emotion_gradient_at_z(params)
    expected = 0.7 * RAMPED * 0.5 * np.linalg.norm(domains) / np.linalg.norm(emotion)
    assert float(aux.metrics['reversed_over_task']) == pytest.approx(expected, rel=1e-5)


def test_an_example_of_unknown_domain_does_not_count_in_the_domain_loss():
    """Its index is -1: the loss is that of the other examples only."""
    case = Case('speaker')
    rows = np.array([0, 2, 3, 5])
    batch = BATCH | {
        'speaker_B': BATCH['speaker_B'].at[jnp.array([1, 4])].set(-1),
        'labelled_B': jnp.zeros(B),
    }
    known_batch = {
        k: v[rows] if k.endswith('_B') or k == 'mel_BxTxM' else v for k, v in batch.items()
    }
    chex.assert_trees_all_close(
        case.gradient(batch=batch), case.gradient(batch=known_batch), rtol=1e-5, atol=1e-6
    )
