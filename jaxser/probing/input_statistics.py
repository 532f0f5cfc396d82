"""Statistics of the network's input, which are probed as a reference for the representation."""

import numpy as np

# Inputs with more columns, such as an encoder's states, are reduced to their first principal
# components.
MAX_INPUT_COMPONENTS = 128


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


def principal_components(x_NxM: np.ndarray, seen_N: np.ndarray) -> np.ndarray:
    """Reduces x to the first principal components of its rows seen in training (a mask).

    An input with at most MAX_INPUT_COMPONENTS columns is returned unchanged. The components are
    rotated at random, because the classifiers scale every column to variance 1: without a rotation
    the last component would count as much as the first.
    """
    if x_NxM.shape[1] <= MAX_INPUT_COMPONENTS:
        return x_NxM
    from sklearn.decomposition import PCA

    component_count = min(MAX_INPUT_COMPONENTS, int(seen_N.sum()))
    pca = PCA(component_count, svd_solver='full').fit(x_NxM[seen_N])
    size = pca.n_components_
    rotation_DxD, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(size, size)))
    return (pca.transform(x_NxM) @ rotation_DxD).astype(np.float32)
