"""Speaker normalisation: descent on the emotion, then ascent on the speaker, on separate batches.

A re-instantiation of TAP and SNP of Gat et al. 2022 (arXiv 2202.01252). From the paper: the four
steps, lam as the step size of the ascent, and identity batches that may come from another corpus.
The paper's encoder is HuBERT; here it is any, including a pretrained one
(jaxser/models/fine_tuned.py). Our defaults: the heads, AdamW with its warm-up and cosine, lam, and
the layer of SNP: a plain one, relu(W z + b), as wide as z.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from data_pipelines.errors import UserError
from jaxser import losses
from jaxser.interfaces import Aux, Batch, Encoder, Method, Sizes, State
from jaxser.methods._identity import split_batch
from jaxser.nn import heads
from jaxser.nn.output_head import OutputHead, make_output_head


class Variant(NamedTuple):
    """What distinguishes TAP and SNP."""

    ascending: str  # the branch of the parameters that ascends
    lam: float  # default step size of the ascent


VARIANTS = {'tap': Variant('encoder', 0.01), 'snp': Variant('layer', 0.1)}


def norm_ratio(ascent, descent) -> jax.Array:
    """Returns the norm of one tree over that of another; 0 if the latter is 0."""
    descent_norm = optax.tree.norm(descent)
    ratio = optax.tree.norm(ascent) / jnp.where(descent_norm > 0, descent_norm, 1.0)
    return jnp.where(descent_norm > 0, ratio, 0.0)


def find_variant(name: str) -> Variant:
    """Returns the variant of that name; raises UserError if there is none."""
    if name not in VARIANTS:
        raise UserError(f'config.speaker_norm is {name!r}; expected one of {", ".join(VARIANTS)}.')
    return VARIANTS[name]


class Network(NamedTuple):
    """The encoder and the heads, as functions of their parameters."""

    encoder: Encoder
    output_head: OutputHead
    speaker_head: heads.Head

    def encode(self, params: dict, batch_stats, batch: Batch, hyper, key, train: bool):
        """Returns (z_BxD, batch_stats), z after the layer of SNP if there is one."""
        z_BxD, batch_stats = self.encoder.apply(
            params['encoder'], batch_stats, batch, hyper, key, train=train
        )
        if 'layer' in params:
            layer = heads.make_head(z_BxD.shape[1])
            z_BxD = jax.nn.relu(layer.apply(params['layer'], z_BxD))
        return z_BxD, batch_stats

    def task_loss(self, params: dict, state: State, batch: Batch, hyper, key):
        """L_er: `Method.loss` over the emotion examples."""
        emotion_batch, _ = split_batch(batch)
        z_BxD, batch_stats = self.encode(
            params, state.batch_stats, emotion_batch, hyper, key, train=True
        )
        value, metrics = self.output_head.loss(params, z_BxD, emotion_batch, key)
        return value, Aux(batch_stats, state.extra, metrics)

    def domain_loss(self, domain: str, head_params: dict, z_BxD: jax.Array, batch: Batch):
        """`Method.domain_loss` of the speaker head."""
        scores_BxK = self.speaker_head.apply(head_params, z_BxD)
        return losses.domain_cross_entropy(domain, scores_BxK, batch)

    def speaker_loss(self, params: dict, state: State, batch: Batch, hyper, key):
        """L_id: (CE(speaker | z), metrics) over the identity examples."""
        _, identity_batch = split_batch(batch)
        z_BxD, _ = self.encode(params, state.batch_stats, identity_batch, hyper, key, train=True)
        return self.domain_loss('speaker', params['speaker'], z_BxD, identity_batch)

    def predict(self, params: dict, batch_stats, batch: Batch):
        """`Method.predict`."""
        z_BxD, _ = self.encode(params, batch_stats, batch, {}, None, train=False)
        return z_BxD, self.output_head.apply(params, z_BxD)


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """Steps (1) w and (2) w_er descend dL_er, (3) w <- w + lam dL_id/dw, (4) w_id descends dL_id.

    L_er is the loss of the task, such as CE(emotion | z), of the emotion examples, L_id
    CE(speaker | z) of the identity examples. (1) and (2) are one backward pass, from one point; so
    are (3) and (4), from the w that (1) left. TAP: w is the encoder. SNP: w has one more layer,
    between encoder and heads, which alone ascends; prediction goes through it.

    The descents are the optimiser's. The ascent is a plain step under any optimiser, is not
    clipped, does not follow the learning rate schedule, and is not scaled by an encoder's `rates`.
    Steps of AdamW do not shrink with the gradient, so that under AdamW lam must be larger than the
    paper's 1e-3 to have an effect, unless the learning rate is as small as a pretrained encoder's.
    Our default is the first power of ten that visibly raised the speaker loss on EMO-DB.

    Identity examples are normalised by the statistics of their batch and do not change the running
    ones. The metric `ascent` is the norm of step (3) over that of step (1), of the branch that
    ascends; 0 if nothing descends.
    """
    variant = find_variant(config.speaker_norm)
    output_head = make_output_head(config, sizes)
    speaker_head = heads.make_head(sizes.domains['speaker'], hidden=config.domain_hidden)
    network = Network(encoder, output_head, speaker_head)

    def init(key, z_1xD):
        modules = {'speaker': speaker_head}
        if variant.ascending == 'layer':
            modules['layer'] = heads.make_head(z_1xD.shape[1])
        params = output_head.init(key, z_1xD)
        return params | heads.init_further_heads(modules, key, z_1xD), {}

    def descend_task(state, batch, hyper, key, descend):
        """Steps (1) and (2)."""
        value_and_gradient = jax.value_and_grad(network.task_loss, has_aux=True)
        (value, aux), gradients = value_and_gradient(state.params, state, batch, hyper, key)
        del gradients['speaker']
        state = descend(state, gradients).replace(batch_stats=aux.batch_stats)
        return state, {'loss': value, **aux.metrics}

    def ascend_speaker(state, batch, hyper, key, descend):
        """Steps (3) and (4); also returns the change of step (3)."""
        value_and_gradient = jax.value_and_grad(network.speaker_loss, has_aux=True)
        (_, metrics), gradients = value_and_gradient(state.params, state, batch, hyper, key)
        branch = variant.ascending
        ascent = jax.tree.map(lambda g: hyper['lam'] * g, gradients[branch])
        ascended = optax.apply_updates(state.params[branch], ascent)
        state = descend(state, {'speaker': gradients['speaker']})
        return state.replace(params=state.params | {branch: ascended}), metrics, ascent

    def descend_then_ascend(state, batch, hyper, key, descend):
        """`Method.update`: the four steps."""
        start = state.params[variant.ascending]
        state, task_metrics = descend_task(state, batch, hyper, key, descend)
        descended = state.params[variant.ascending]
        speaker_key = jax.random.fold_in(key, 1)
        state, speaker_metrics, ascent = ascend_speaker(state, batch, hyper, speaker_key, descend)
        descent = jax.tree.map(jnp.subtract, descended, start)
        metrics = task_metrics | speaker_metrics | {'ascent': norm_ratio(ascent, descent)}
        return state, metrics

    return Method(
        hyper={'lam': variant.lam},
        init=init,
        loss=network.task_loss,
        predict=network.predict,
        domains=('speaker',),
        identity=True,
        update=descend_then_ascend,
        domain_loss=network.domain_loss,
    )
