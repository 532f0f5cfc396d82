"""Domain-adversarial training against speakers, languages, corpora, or several of them at once.

Over speakers a re-instantiation of Lian et al. 2019 (arXiv 1910.13807); over languages, with an
unlabelled target in the batch, of Cai et al. 2020 (arXiv 2012.11174). Gradient reversal is that of
Ganin et al. 2016, the network that of Tu et al. 2019 (arXiv 1903.09606). Sizes and schedule are
our defaults.
"""

from jaxser.interfaces import Encoder, Method, Sizes
from jaxser.methods import _adversarial
from jaxser.nn import heads
from jaxser.nn.output_head import make_output_head


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """The task's loss + domain_weight sum_d CE(d | reverse_gradient(z, lam ramp(progress))).

    The sum is over the domains d; progress is the fraction of the training that is done. `lam`
    scales only the gradient that reaches the encoder: the domain heads train in the same way at any
    lam. If lam is negative, the encoder learns to keep the domains. `domain_weight` scales both.
    `head_rate` is a factor on the learning rate of the domain heads. An example of unknown domain
    does not count in that domain's loss. The loss, and the way of lam, are in
    jaxser/methods/_adversarial.py.
    """
    domain_heads = heads.domain_heads(config, sizes)
    return _adversarial.make_reversed(
        config,
        encoder,
        sizes,
        domains=tuple(domain_heads),
        init=_adversarial.init_heads(make_output_head(config, sizes), domain_heads),
        domain_loss=_adversarial.head_cross_entropy(domain_heads),
    )
