"""Linear erasure after plain training: the control that an adversary has to outperform.

LEACE of Belrose et al. 2023 (arXiv 2306.03819): of all affine maps after which no linear classifier
of the domain is better than its prior, the one that moves the representation least. The formula is
the paper's. Our defaults: erasing from a network trained for this purpose, several domains at once,
and the tolerances.
"""

import jax.numpy as jnp
import numpy as np

from jaxser.interfaces import Encoder, Method, Sizes
from jaxser.methods import erm
from jaxser.methods._closed_form import update_without
from jaxser.nn.output_head import make_output_head

# A direction whose singular value, relative to the largest, is below D times this is only rounding
# of float32.
SPREAD_TOLERANCE = float(np.finfo(np.float32).eps)
# A canonical correlation of z and the domains below this is only rounding of float64.
CORRELATION_TOLERANCE = float(np.sqrt(np.finfo(np.float64).eps))


def centred_indicators(index_N: np.ndarray) -> np.ndarray:
    """Returns d_NxK, one-hot domains, centred over known rows; rows of -1 (unknown) become 0.

    Each column is divided by the root of its count.
    """
    known_N = index_N >= 0
    classes_K = np.unique(index_N[known_N])
    d_NxK = (index_N[:, None] == classes_K).astype(np.float64)
    d_NxK /= np.sqrt(d_NxK.sum(0))
    return (d_NxK - d_NxK.sum(0) / known_N.sum()) * known_N[:, None]


def fit_eraser(
    z_NxD: np.ndarray, domain_index: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (A_DxD, mean_D) of the eraser r(z) = z - A (z - mean), A = W^+ P W.

    W = Sigma_zz^(-1/2) where z varies, and P is the projection onto the columns of W Sigma_zd, d
    the one-hot domains. Computed in float64 by the singular values of the centred z. K domains take
    K - 1 directions; if z varies in no more, r(z) is the mean. Rows of which no domain is known are
    left out.
    """
    known_N = np.any([index_N >= 0 for index_N in domain_index.values()], 0)
    indicators = [centred_indicators(index_N[known_N]) for index_N in domain_index.values()]
    d_NxK = np.concatenate(indicators, 1)
    z_NxD = z_NxD[known_N].astype(np.float64)
    mean_D = z_NxD.mean(0)
    u_NxD, spread_D, v_DxD = np.linalg.svd(z_NxD - mean_D, full_matrices=False)
    varies_D = spread_D > len(mean_D) * SPREAD_TOLERANCE * spread_D[0]
    u_NxR, spread_R, v_RxD = u_NxD[:, varies_D], spread_D[varies_D], v_DxD[varies_D]
    p_RxK, correlation_K, _ = np.linalg.svd(u_NxR.T @ d_NxK, full_matrices=False)
    p_RxK = p_RxK[:, correlation_K > CORRELATION_TOLERANCE]
    A_DxD = (v_RxD.T * spread_R) @ p_RxK @ p_RxK.T @ (v_RxD / spread_R[:, None])
    return A_DxD, mean_D


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """Trains exactly as erm; after training, every prediction replaces z by r(z).

    r is fitted on whole utterances of the fold's training data, encoded by the selected parameters
    in evaluation mode. Parameters are selected on dev without r. The heads of the task read r(z) as
    they were trained to read z: they are not refitted. If z is not finite, nothing is erased.
    """
    output_head = make_output_head(config, sizes)
    plain = erm.make(config, encoder, sizes)
    domains = tuple(config.domain.split('+'))

    def init(key, z_1xD):
        params, extra = plain.init(key, z_1xD)
        D = z_1xD.shape[-1]
        no_eraser = {'A': jnp.zeros((D, D)), 'mean': jnp.zeros(D)}
        return params | {'eraser': no_eraser}, extra

    def predict(params, batch_stats, batch):
        z_BxD, _ = plain.predict(params, batch_stats, batch)
        A_DxD = params['eraser']['A']
        mean_1xD = params['eraser']['mean'][None]
        # In float32 on every device: an accelerator's shorter default would leave a trace of the
        # domain.
        z_BxD = z_BxD - jnp.matmul(z_BxD - mean_1xD, A_DxD.T, precision='highest')
        return z_BxD, output_head.apply(params, z_BxD)

    def fit(params, z_NxD, domain_index):
        if not np.isfinite(z_NxD).all():
            return params
        A_DxD, mean_D = fit_eraser(z_NxD, domain_index)
        return params | {'eraser': {'A': np.float32(A_DxD), 'mean': np.float32(mean_D)}}

    return Method(
        hyper={},
        init=init,
        loss=plain.loss,
        predict=predict,
        domains=domains,
        update=update_without('eraser', plain.loss),
        fit=fit,
    )
