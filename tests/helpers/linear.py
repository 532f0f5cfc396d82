"""Shared by the tests of single methods: a linear encoder, a batch, and numerical derivatives.

The encoder is one matrix. The batch has every kind of example: labelled and unlabelled, source and
target, of known and unknown domain.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxser.interfaces import Encoder, Sizes, State
from jaxser.plugins import load_plugin

B, T, M, D, C, STEPS, NOW = 8, 2, 3, 4, 3, 20, 5
SIZES = Sizes(M, C, {'speaker': 5, 'language': 2, 'corpus': 1}, STEPS)
RAMPED = np.tanh(5 * NOW / STEPS)
KEY = jax.random.PRNGKey(3)
KEEP_BxD = np.asarray(jax.random.bernoulli(KEY, 0.8, (B, D)), np.float64)
BATCH = {
    'mel_BxTxM': np.float32(np.random.default_rng(0).normal(size=(B, T, M))),
    'frames_B': np.array([2, 2, 1, 2, 1, 2, 2, 2]),
    'emotion_B': np.array([0, 1, 2, 0, 1, 2, 0, 1]),
    'labelled_B': np.float32([1, 0.5, 0, 2, 1, 0, 1, 0]),
    'target_B': np.float32([0, 0, 1, 0, 0, 1, 0, 1]),
    'speaker_B': np.array([0, 1, 3, 3, 1, 0, -1, 1]),
    'language_B': np.array([0, 1, 0, 1, 1, 0, 0, -1]),
    'corpus_B': np.zeros(B, int),
    'speaker_seen_K': np.float32([1, 1, 0, 1, 0]),
    'language_seen_K': np.ones(2, np.float32),
    'corpus_seen_K': np.ones(1, np.float32),
}

quick = functools.partial(jax.jit, compiler_options={'xla_backend_optimization_level': 0})


def apply(params, batch_stats, batch, hyper, key, train):
    """Ignores padding. In training drops units by the key and keeps the mean of its input."""
    mel_BxTxM = batch['mel_BxTxM']
    z_BxD = jnp.tanh(mel_BxTxM.mean(1) @ params['w'])
    if not train:
        return z_BxD, batch_stats
    return z_BxD * jax.random.bernoulli(key, 0.8, z_BxD.shape), {'mean': mel_BxTxM.mean()}


ENCODER = Encoder(
    lambda key, batch: ({'w': jax.random.normal(key, (M, D))}, {'mean': jnp.zeros(())}), apply
)


class Case:
    """A method over the linear encoder, after a quarter of its training."""

    def __init__(self, name: str, domain: str = 'speaker', sizes: Sizes = SIZES, **keys):
        """`keys` are those of the configuration that only this method reads."""
        common = {'domain': domain, 'domain_hidden': 3, 'speaker_norm': 'tap', 'train': {}}
        config = ConfigDict(common | keys)
        self.method = load_plugin('methods', name).make(config, ENCODER, sizes)
        encoder, batch_stats = ENCODER.init(jax.random.PRNGKey(0), None)
        heads, extra = quick(self.method.init)(jax.random.PRNGKey(1), jnp.zeros((1, D)))
        self.params = jax.device_get({'encoder': encoder, **heads})
        self.state = State(jnp.int32(NOW), self.params, batch_stats, extra, (), KEY)
        self._value_and_gradient = quick(jax.value_and_grad(self._loss, has_aux=True))

    def _loss(self, params, batch, hyper):
        return self.method.loss(params, self.state, batch, hyper, KEY)

    def value_and_gradient(self, params=None, batch=BATCH, **hyper):
        """Returns ((value, aux), gradient); hyper-parameters not given have their defaults."""
        if params is None:
            params = self.params
        hyper = {k: np.float32(v) for k, v in {**self.method.hyper, **hyper}.items()}
        return jax.device_get(self._value_and_gradient(params, batch, hyper))

    def gradient(self, params=None, batch=BATCH, **hyper):
        return self.value_and_gradient(params, batch, **hyper)[1]

    @property
    def float64_params(self):
        """The parameters in float64."""
        return jax.tree.map(np.float64, self.params)


def encode(params, mel_BxTxM=BATCH['mel_BxTxM'], keep_BxD=KEEP_BxD) -> np.ndarray:
    return np.tanh(np.float64(mel_BxTxM).mean(1) @ params['encoder']['w']) * keep_BxD


def linear(head: dict, z: np.ndarray) -> np.ndarray:
    """Returns the scores of a head of one layer or two."""
    scores = z @ head['layers_0']['kernel'] + head['layers_0']['bias']
    if 'layers_2' not in head:
        return scores
    return np.maximum(scores, 0) @ head['layers_2']['kernel'] + head['layers_2']['bias']


def log_p(scores: np.ndarray) -> np.ndarray:
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def emotion_each(params, z_BxD) -> np.ndarray:
    """Returns CE(emotion) of each example."""
    return -log_p(linear(params['emotion'], z_BxD))[np.arange(B), BATCH['emotion_B']]


def emotion_loss(params, z_BxD) -> float:
    return (emotion_each(params, z_BxD) * BATCH['labelled_B']).sum() / BATCH['labelled_B'].sum()


def domain_each(head: dict, domain: str, z_BxD) -> np.ndarray:
    """Returns CE(domain) of each example over the seen classes; 0 for an unknown domain."""
    log_p_BxK = domain_log_p(head, domain, z_BxD)
    known_B = BATCH[f'{domain}_B'] >= 0
    index_B = np.where(known_B, BATCH[f'{domain}_B'], 0)
    return np.where(known_B, -log_p_BxK[np.arange(B), index_B], 0)


def domain_log_p(head: dict, domain: str, z_BxD) -> np.ndarray:
    """Returns log p of the seen classes, and 0 for the others."""
    seen = np.flatnonzero(BATCH[f'{domain}_seen_K'])
    log_p_BxK = np.zeros((B, len(BATCH[f'{domain}_seen_K'])))
    log_p_BxK[:, seen] = log_p(linear(head, z_BxD)[:, seen])
    return log_p_BxK


def domain_loss(head: dict, domain: str, z_BxD) -> float:
    return domain_each(head, domain, z_BxD).sum() / (BATCH[f'{domain}_B'] >= 0).sum()


def differences(f, tree, h: float = 1e-6):
    """Returns the gradient of f at a tree of float64 arrays, by central differences."""
    tree = jax.tree.map(np.array, tree)

    def derivatives(x: np.ndarray) -> np.ndarray:
        gradient = np.zeros_like(x)
        for index in np.ndindex(x.shape):
            value = x[index]
            x[index] = value + h
            above = f(tree)
            x[index] = value - h
            gradient[index] = (above - f(tree)) / (2 * h)
            x[index] = value
        return gradient

    return jax.tree.map(derivatives, tree)
