"""The reference of a probe: the input of the network."""

import numpy as np

from jaxser.probing.input_statistics import MAX_INPUT_COMPONENTS, principal_components


def pairwise_distances(x_NxD: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x_NxD[:, None] - x_NxD[None, :], axis=-1)


def test_wide_inputs_are_reduced_to_principal_components_of_the_training_data():
    """With as many components as training examples, the distances between these are preserved."""
    columns = 4 * MAX_INPUT_COMPONENTS
    random = np.random.default_rng(0)
    x_NxM = random.normal(size=(60, columns)) * np.geomspace(1, 0.01, columns)
    x_NxM = x_NxM.astype(np.float32)
    seen_N = np.arange(60) < 40
    z_NxD = principal_components(x_NxM, seen_N)
    assert z_NxD.shape == (60, 40)
    # No column is small, which the classifiers would scale up.
    assert np.ptp(np.log10(z_NxD[:40].std(0))) < 0.5
    np.testing.assert_allclose(
        pairwise_distances(z_NxD[:40]), pairwise_distances(x_NxM[:40]), rtol=1e-3
    )
    # Utterances not seen in training have no influence on the components.
    moved_NxM = x_NxM.copy()
    moved_NxM[40:] += 5
    moved_NxD = principal_components(moved_NxM, seen_N)
    np.testing.assert_allclose(moved_NxD[:40], z_NxD[:40], atol=1e-4)


def test_narrow_inputs_are_left_as_they_are():
    x_NxM = np.ones((60, MAX_INPUT_COMPONENTS), np.float32)
    assert principal_components(x_NxM, np.arange(60) < 40) is x_NxM
