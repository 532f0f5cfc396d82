"""Speaker normalisation: descent on the emotion, then ascent on who speaks, each on batches of its own.

A re-instantiation of TAP and SNP of Gat et al. 2022 (arXiv 2202.01252). The paper's: the four steps, that lam is itself the step
of the ascent, and identity batches that may come from another corpus. Its encoder is HuBERT; here it is any, also one that is
pretrained (jaxser/models/fine_tuned.py). Our defaults: the heads, AdamW with its warm-up and cosine, lam, and the layer of SNP: a
plain one, relu(W z + b), as wide as z.
"""

import jax
import jax.numpy as jnp
import optax

from data_pipelines.errors import UserError
from jaxser import losses
from jaxser.interfaces import Aux, Batch, Encoder, Method, Sizes
from jaxser.nn import heads

ASCENT_TARGETS = {'tap': ('encoder', 0.01), 'snp': ('layer', 0.1)}  # what does, and by which lam


def split_batch(batch: Batch) -> tuple[Batch, Batch]:
    """The emotion examples and the identity examples of a batch, which has as many of each."""
    B = len(batch['frames_B']) // 2
    of_examples = {k for k in batch if k.rpartition('_')[2].startswith('B')}
    first, second = (
        {k: x[at : at + B] if k in of_examples else x for k, x in batch.items()} for at in (0, B)
    )
    return first, second


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """Steps (1) w and (2) w_er descend along dL_er, (3) w <- w + lam dL_id/dw, (4) w_id descends along dL_id/dw_id.

    L_er is CE(emotion | z) of the emotion examples, L_id CE(speaker | z) of the identity examples. (1) and (2) are one backward
    pass, from one point; so are (3) and (4), from the w that (1) left. TAP: w is the encoder. SNP: w has a layer more, between
    encoder and heads, and it alone ascends; prediction goes through it.
    Descents are the optimiser's. The ascent is plain under any optimiser, is not clipped, and neither falls with the learning
    rate nor takes an encoder's `rates`. Steps of AdamW do not shrink with the gradient: there lam must be larger than the paper's
    1e-3 to weigh anything, unless the rate is as small as a pretrained encoder's. Ours is the first power of ten that visibly
    raised the speaker loss on EMO-DB.
    Identity examples are normalised by the statistics of their batch, and the running ones never hear them. `ascent` is the norm
    of step (3) over that of step (1) of what ascends; 0 where nothing descends.
    """
    if config.speaker_norm not in ASCENT_TARGETS:
        raise UserError(
            f'config.speaker_norm is {config.speaker_norm!r}; expected one of {", ".join(ASCENT_TARGETS)}.'
        )
    ascends, lam = ASCENT_TARGETS[config.speaker_norm]
    emotion = heads.make_head(sizes.emotions)
    speaker = heads.make_head(sizes.domains['speaker'], hidden=config.domain_hidden)

    def init(key, z_1xD):
        layer = {'layer': heads.make_head(z_1xD.shape[1])} if ascends == 'layer' else {}
        return heads.init_heads({'emotion': emotion, 'speaker': speaker, **layer}, key, z_1xD), {}

    def represent(params, batch_stats, batch, hyper, key, train):
        z_BxD, batch_stats = encoder.apply(
            params['encoder'], batch_stats, batch, hyper, key, train=train
        )
        if 'layer' in params:
            z_BxD = jax.nn.relu(heads.make_head(z_BxD.shape[1]).apply(params['layer'], z_BxD))
        return z_BxD, batch_stats

    def loss(params, state, batch, hyper, key):
        examples, _ = split_batch(batch)
        z_BxD, batch_stats = represent(params, state.batch_stats, examples, hyper, key, train=True)
        value, metrics = losses.emotion_cross_entropy(
            emotion.apply(params['emotion'], z_BxD), examples
        )
        return value, Aux(batch_stats, state.extra, metrics)

    def domain(d, of_head, z_BxD, examples):
        return losses.domain_cross_entropy(d, speaker.apply(of_head, z_BxD), examples)

    def speaker_loss(params, batch_stats, batch, hyper, key):
        _, examples = split_batch(batch)
        z_BxD, _ = represent(params, batch_stats, examples, hyper, key, train=True)
        return domain('speaker', params['speaker'], z_BxD, examples)

    def update(state, batch, hyper, key, descend):
        (value, aux), gradients = jax.value_and_grad(loss, has_aux=True)(
            state.params, state, batch, hyper, key
        )
        after = descend(state, {k: g for k, g in gradients.items() if k != 'speaker'}).replace(
            batch_stats=aux.batch_stats
        )
        before, w = state.params[ascends], after.params[ascends]

        here = after.params, after.batch_stats, batch, hyper, jax.random.fold_in(key, 1)
        (_, measured), gradients = jax.value_and_grad(speaker_loss, has_aux=True)(*here)
        up = jax.tree.map(lambda g: hyper['lam'] * g, gradients[ascends])
        after = descend(after, {'speaker': gradients['speaker']})
        after = after.replace(params=after.params | {ascends: optax.apply_updates(w, up)})

        down = optax.tree.norm(jax.tree.map(jnp.subtract, w, before))
        ascent = jnp.where(down > 0, optax.tree.norm(up) / jnp.where(down > 0, down, 1.0), 0.0)
        return after, {'loss': value, **aux.metrics, **measured, 'ascent': ascent}

    def predict(params, batch_stats, batch):
        z_BxD, _ = represent(params, batch_stats, batch, {}, None, train=False)
        return z_BxD, emotion.apply(params['emotion'], z_BxD)

    return Method(
        {'lam': lam},
        init,
        loss,
        predict,
        ('speaker',),
        identity=True,
        update=update,
        domain_loss=domain,
    )
