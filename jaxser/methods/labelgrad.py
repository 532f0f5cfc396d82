"""The control of cross-gradient training: moves features along the emotion's own gradient.

LabelGrad of Shankar et al. 2018. It uses no domain, so what crossgrad gains over it is due to the
domain. eps and alpha are our defaults.
"""

import jax

from jaxser.interfaces import Aux, Encoder, Method, Sizes
from jaxser.methods import _perturbation, erm
from jaxser.nn.output_head import make_output_head


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """(1 - alpha) J_e(x) + alpha J_e(x_e), x_e = x + eps clip(grad_x J_e(x)).

    J_e is the loss of the task, such as CE(emotion | z), and x_e is a constant. Batch statistics,
    dropout and the losses of single examples are as in crossgrad. alpha = 0 is plain training.
    """
    output_head = make_output_head(config, sizes)
    plain = erm.make(config, encoder, sizes)

    def loss(params, state, batch, hyper, key):
        fixed = jax.lax.stop_gradient(params)

        def task_loss(z_BxD):
            return output_head.per_example_loss(fixed, z_BxD, batch)

        (x_e,) = _perturbation.ascend_losses(
            _perturbation.make_encode(encoder, fixed, state, batch, hyper, key),
            batch,
            hyper['eps'],
            _perturbation.Objective(task_loss, output_head.counted(batch)),
        )
        versions = _perturbation.encode_versions(
            _perturbation.make_encode(encoder, params, state, batch, hyper, key),
            batch['mel_BxTxM'],
            x_e,
        )
        z_BxD, z_e_BxD = versions.z_VxBxD
        clean, metrics = output_head.loss(params, z_BxD, batch, key)
        moved, _ = output_head.loss(params, z_e_BxD, batch, key)
        metrics['emotion_shift'] = versions.distance_V[1]
        total = (1 - hyper['alpha']) * clean + hyper['alpha'] * moved
        return total, Aux(versions.batch_stats, state.extra, metrics)

    return Method(
        hyper={'eps': 1.0, 'alpha': 0.5}, init=plain.init, loss=loss, predict=plain.predict
    )
