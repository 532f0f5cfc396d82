"""Nuisance attribute projection: removes the training speakers' mean directions from the input.

Solomonoff et al. 2005, "Advances in channel compensation for SVM speaker recognition", and Campbell
et al. 2006. They remove the leading directions of the variation within a class; here the class is
everything, the variation is that of the speakers' means, and all of its directions are removed. A
control without training: what is left of a speaker is not in the mean of the input.
"""

import jax.numpy as jnp
import numpy as np

from data_pipelines.errors import UserError
from jaxser.interfaces import Encoder, Method, Sizes
from jaxser.methods import erm
from jaxser.methods._closed_form import update_without

TOLERANCE = 1e-5  # relative to the largest singular value; below is rounding of float32


def mean_deviations(x_NxM: np.ndarray, index_N: np.ndarray) -> np.ndarray:
    """Returns deviation_KxM, the mean of each domain minus the mean of these means.

    Rows of an unknown domain, with index -1, are left out.
    """
    means = [x_NxM[index_N == k].mean(0) for k in np.unique(index_N[index_N >= 0])]
    means_KxM = np.reshape(means, (-1, x_NxM.shape[1]))
    return means_KxM - means_KxM.sum(0) / max(len(means_KxM), 1)


def fit_basis(x_NxM: np.ndarray, domain_index: dict[str, np.ndarray]) -> np.ndarray:
    """Returns basis_MxR, orthonormal, of the span of the mean deviations of all domains.

    K domains have R = K - 1 directions, or fewer. Raises UserError if the span is everything.
    """
    x_NxM = x_NxM.astype(np.float64)
    deviations = [mean_deviations(x_NxM, index_N) for index_N in domain_index.values()]
    _, spread_R, basis_RxM = np.linalg.svd(np.concatenate(deviations), full_matrices=False)
    scale = np.abs(x_NxM).max(initial=0)
    # Where no domain deviates, even the largest singular value is only rounding.
    smallest = TOLERANCE * max(spread_R.max(initial=0), scale)
    basis_RxM = basis_RxM[spread_R > smallest]
    M = x_NxM.shape[1]
    if len(basis_RxM) >= M:
        raise UserError(
            f'projection removes one direction less than there are training domains '
            f'({", ".join(domain_index)}), and the features have only {M}, so that nothing would '
            'be left. Use it on features with more dimensions, such as the states of a pretrained '
            'encoder (config.data.upstream).'
        )
    return basis_RxM.T


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """Trains and predicts exactly as erm on x - Q Q^T x, for every normalised frame x.

    Q is an orthonormal basis of the span of the training speakers' mean deviations: the mean over a
    speaker's utterances of the utterance's mean frame, minus the mean of these means over speakers.
    It is computed once before training from the training data of the fold. Likewise for any other
    domain; for several, the directions of all are removed. A domain with two values takes one
    direction. If the features are normalised by utterance or by speaker, the means of the speakers
    are equal and nothing is removed.
    """
    plain = erm.make(config, encoder, sizes)
    domains = tuple(config.domain.split('+'))
    # At most: the training speakers are not more than all speakers. Unused columns are 0.
    directions = sum(max(sizes.domains[domain] - 1, 1) for domain in domains)
    directions = min(directions, sizes.bands)

    def init(key, z_1xD):
        params, extra = plain.init(key, z_1xD)
        return params | {'projection': {'basis': jnp.zeros((sizes.bands, directions))}}, extra

    def fit_input(params, x_NxM, domain_index):
        basis_MxR = np.zeros((sizes.bands, directions), np.float32)
        fitted_MxR = fit_basis(x_NxM, domain_index)
        basis_MxR[:, : fitted_MxR.shape[1]] = fitted_MxR
        return params | {'projection': {'basis': basis_MxR}}

    def project(params, batch):
        """Returns the batch with projected features; padded frames stay 0."""
        basis_MxR = params['projection']['basis']
        x_BxTxM = batch['mel_BxTxM']
        # In float32 on every device: an accelerator's shorter default would leave a trace.
        coordinates_BxTxR = jnp.matmul(x_BxTxM, basis_MxR, precision='highest')
        removed_BxTxM = jnp.matmul(coordinates_BxTxR, basis_MxR.T, precision='highest')
        return batch | {'mel_BxTxM': x_BxTxM - removed_BxTxM}

    def loss(params, state, batch, hyper, key):
        return plain.loss(params, state, project(state.params, batch), hyper, key)

    def predict(params, batch_stats, batch):
        return plain.predict(params, batch_stats, project(params, batch))

    return Method(
        hyper={},
        init=init,
        loss=loss,
        predict=predict,
        domains=domains,
        update=update_without('projection', loss),
        fit_input=fit_input,
    )
