"""Linear erasure after plain training: the control that tells what an adversary does beyond removing a linear trace.

LEACE of Belrose et al. 2023 (arXiv 2306.03819): of all affine maps after which no linear classifier tells the domain better than
its prior does, the one that moves the representation least. The formula is the paper's; erasing from a network trained for this
purpose, several domains at once, and the tolerances are our defaults.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxser.interfaces import Encoder, Method, Sizes
from jaxser.methods import erm
from jaxser.nn import heads

SPREAD_TOLERANCE = float(
    np.finfo(np.float32).eps
)  # times D: a direction of so little spread, beside the widest, is float32's rounding
CORRELATION_TOLERANCE = float(
    np.sqrt(np.finfo(np.float64).eps)
)  # a canonical correlation of z and the domains that is float64's rounding


def centred_indicators(index_N: np.ndarray) -> np.ndarray:
    """d_NxK: which of K domains, centred over those that are known, each column divided by the root of its count; -1 is 0."""
    known_Nx1 = index_N[:, None] >= 0
    d_NxK = (index_N[:, None] == np.unique(index_N[index_N >= 0])).astype(np.float64)
    d_NxK /= np.sqrt(d_NxK.sum(0))
    return (d_NxK - d_NxK.sum(0) / known_Nx1.sum()) * known_Nx1


def fit_eraser(
    z_NxD: np.ndarray, domain_index: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """(A_DxD, mean_D) of r(z) = z - A (z - mean), A = W^+ P W; rows of which no domain is known are left out.

    W = Sigma_zz^(-1/2) where z varies, P the projection onto the columns of W Sigma_zd, d the one-hot domains. In float64, by the
    singular values of the centred z. K domains take K - 1 directions; where z varies in no more, r(z) is the mean.
    """
    known_N = np.any([index_N >= 0 for index_N in domain_index.values()], 0)
    d_NxK = np.concatenate(
        [centred_indicators(index_N[known_N]) for index_N in domain_index.values()], 1
    )
    z_NxD = z_NxD[known_N].astype(np.float64)
    mean_D = z_NxD.mean(0)
    u_NxD, spread_D, v_DxD = np.linalg.svd(z_NxD - mean_D, full_matrices=False)
    varies = spread_D > len(mean_D) * SPREAD_TOLERANCE * spread_D[0]
    u_NxR, spread_R, v_RxD = u_NxD[:, varies], spread_D[varies], v_DxD[varies]
    p_RxK, correlation_K, _ = np.linalg.svd(u_NxR.T @ d_NxK, full_matrices=False)
    p_RxK = p_RxK[:, correlation_K > CORRELATION_TOLERANCE]
    return (v_RxD.T * spread_R) @ p_RxK @ p_RxK.T @ (v_RxD / spread_R[:, None]), mean_D


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """erm, to the bit; after training z becomes r(z), for every prediction.

    r is fitted on what the fold's training hears, whole utterances in evaluation mode, by the selected parameters; dev, which
    selects them, is scored without it. The emotion head reads r(z) as it was trained to read z: it is not refitted. A
    representation that is not finite is left as it is.
    """
    emotion, plain = heads.make_head(sizes.emotions), erm.make(config, encoder, sizes)
    domains = tuple(config.domain.split('+'))

    def init(key, z_1xD):
        params, extra = plain.init(key, z_1xD)
        D = z_1xD.shape[-1]
        return params | {'eraser': {'A': jnp.zeros((D, D)), 'mean': jnp.zeros(D)}}, extra

    def update(state, batch, hyper, key, descend):
        # The eraser is no branch of the descent: its gradient would be 0, and it would decay.
        learned = {k: x for k, x in state.params.items() if k != 'eraser'}
        (value, aux), gradients = jax.value_and_grad(plain.loss, has_aux=True)(
            learned, state, batch, hyper, key
        )
        state = descend(state, gradients).replace(batch_stats=aux.batch_stats, extra=aux.extra)
        return state, {'loss': value, **aux.metrics}

    def predict(params, batch_stats, batch):
        z_BxD, _ = plain.predict(params, batch_stats, batch)
        A_DxD, mean_D = params['eraser']['A'], params['eraser']['mean'][None]
        # Float32 everywhere: in the shorter products of accelerators a trace would stay.
        z_BxD = z_BxD - jnp.matmul(z_BxD - mean_D, A_DxD.T, precision='highest')
        return z_BxD, emotion.apply(params['emotion'], z_BxD)

    def fit(params, z_NxD, index):
        if not np.isfinite(z_NxD).all():
            return params
        A_DxD, mean_D = fit_eraser(z_NxD, index)
        return params | {'eraser': {'A': np.float32(A_DxD), 'mean': np.float32(mean_D)}}

    return Method({}, init, plain.loss, predict, domains, update=update, fit=fit)
