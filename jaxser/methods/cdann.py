"""Class-conditional adversary: makes the domains alike within each emotion.

It is meant for speakers whose emotions are not equally frequent. The conditional part of Li et al.
2018, "Deep domain generalization via conditional invariant adversarial networks", without their
class-prior-normalised part. Ramp, weights and sizes are as in dann: our defaults.
"""

import jax
import jax.numpy as jnp

from jaxser import losses
from jaxser.interfaces import Encoder, Method, Sizes
from jaxser.methods import _adversarial
from jaxser.nn import heads
from jaxser.nn.output_head import make_output_head


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """As dann, with one head for each domain d and emotion in place of one for each domain.

    The task's loss + domain_weight sum_d CE(d | reverse_gradient(z, lam ramp(progress)), emotion).
    The mean is over the examples whose emotion and domain are known, each with weight 1;
    unlabelled target examples do not count.
    """
    output_head = make_output_head(config, sizes)
    domain_heads = heads.domain_heads(config, sizes)
    classes = [str(c) for c in range(sizes.emotions)]

    def init(key, z_1xD):
        params = output_head.init(key, z_1xD)
        for n, (domain, head) in enumerate(domain_heads.items(), 1):
            class_keys = jax.random.split(jax.random.fold_in(key, n), len(classes))
            params[domain] = {c: head.init(k, z_1xD) for c, k in zip(classes, class_keys)}
        return params, {}

    def class_scores(domain, head_params, z_BxD, emotion_B):
        """Returns scores_BxK, each example's by the head of its emotion."""
        per_class = [head_params[c] for c in classes]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *per_class)
        scores_CxBxK = jax.vmap(domain_heads[domain].apply, (0, None))(stacked, z_BxD)
        return jnp.take_along_axis(scores_CxBxK, emotion_B[None, :, None], axis=0)[0]

    def domain_loss(domain, head_params, z_BxD, batch):
        scores_BxK = class_scores(domain, head_params, z_BxD, batch['emotion_B'])
        # The head of an emotion learns from examples of this emotion only: where the emotion is
        # unknown, the domain is taken as unknown too.
        is_labelled_B = batch['labelled_B'] > 0
        domain_B = jnp.where(is_labelled_B, batch[f'{domain}_B'], -1)
        return losses.domain_cross_entropy(domain, scores_BxK, batch | {f'{domain}_B': domain_B})

    method = _adversarial.make_reversed(
        config, encoder, sizes, domains=tuple(domain_heads), init=init, domain_loss=domain_loss
    )
    return method._replace(within_emotions=True, needs_classes=True)
