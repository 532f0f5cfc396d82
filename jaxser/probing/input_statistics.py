"""Statistics of the network's input, which are probed as a reference for the representation."""

import numpy as np

# Inputs with more columns, such as an encoder's states, are reduced to their first principal
# components.
MAX_INPUT_COMPONENTS = 128
MIN_RELATIVE_NORM = 1e-6  # a principal component with a lower norm than this share is rounding


def input_statistics(task, fold_index: int, rows: np.ndarray) -> np.ndarray:
    """Returns x_Nx2M: mean and standard deviation of the normalised bands of each utterance.

    If the features of every utterance are a single frame, they are returned as x_NxM.
    """
    table = task.table
    utterances = task.utterances
    moments_N = table.moments_index_FxN[fold_index, rows]
    scale_NxM = table.scale[moments_N]
    mean_NxM = (utterances.mean_NxM[rows] - table.mean[moments_N]) * scale_NxM
    if utterances.frames_N.max() == 1:
        return mean_NxM
    deviation_NxM = np.sqrt(utterances.variance_NxM[rows]) * scale_NxM
    return np.concatenate([mean_NxM, deviation_NxM], 1)


def principal_components(x_NxM: np.ndarray, is_fitted_N: np.ndarray) -> np.ndarray:
    """Reduces x to the first principal components of the rows in the mask.

    An input with at most MAX_INPUT_COMPONENTS columns is returned unchanged. The components are
    rotated at random, because the attackers scale every column to variance 1: without a rotation
    the last component would count as much as the first.
    """
    if x_NxM.shape[1] <= MAX_INPUT_COMPONENTS:
        return x_NxM
    mean_M = x_NxM[is_fitted_N].mean(0, dtype=float)
    centred_NxM = x_NxM - mean_M
    fitted_SxM = centred_NxM[is_fitted_N]
    size = min(MAX_INPUT_COMPONENTS, len(fitted_SxM))
    direction_MxD = _principal_directions(fitted_SxM, size)
    rotation_DxD, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(size, size)))
    return (centred_NxM @ direction_MxD @ rotation_DxD).astype(np.float32)


def _principal_directions(centred_SxM: np.ndarray, size: int) -> np.ndarray:
    """Returns the first `size` principal directions MxD of centred data.

    They come from the smaller one of the products x'x and xx', which is much faster than the
    singular values of x. A direction without variance is a vector of zeros.
    """
    from scipy import linalg

    S, M = centred_SxM.shape
    if M <= S:
        _, direction_MxD = linalg.eigh(
            centred_SxM.T @ centred_SxM, subset_by_index=(M - size, M - 1)
        )
        return direction_MxD
    variance_D, left_SxD = linalg.eigh(
        centred_SxM @ centred_SxM.T, subset_by_index=(S - size, S - 1)
    )
    norm_D = np.sqrt(np.maximum(variance_D, 0))
    has_variance_D = norm_D > MIN_RELATIVE_NORM * norm_D.max()
    return centred_SxM.T @ (left_SxD * np.where(has_variance_D, 1 / np.maximum(norm_D, 1e-30), 0))
