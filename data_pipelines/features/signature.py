"""TODO: data_pipelines.features.signature."""

import numpy as np

SIGNATURE_GRID = (32, 16)  # of a signature: slices of time, groups of bands

SIGNATURE_SIZE = 1 + SIGNATURE_GRID[0] * SIGNATURE_GRID[1]


def compute_signature(mel_TxM: np.ndarray) -> np.ndarray:
    """signature_S: float16, nearly the same for copies that differ by level, codec, rate, faint noise or silence at their ends.

    First the frames over which the energy extends, then a grid of unit norm: amplitude in 32 slices of that time and 16 groups of
    bands, less each group's mean. The time is +-1.8 standard deviations about the energy's centre: where a recording is quiet it
    weighs nothing, so that neither silence nor noise there moves it, as they would move a threshold. The lower three eighths of
    the bands have twelve of the groups: voices that say the same differ in pitch. data_pipelines/audit.py has what this achieves.
    """
    power_TxM = np.exp(mel_TxM.astype(np.float32, copy=False) - np.float32(mel_TxM.max()))
    power_T, at_T, (slices, groups) = (
        power_TxM.sum(axis=1, dtype=float),
        np.arange(len(mel_TxM)) + 0.5,
        SIGNATURE_GRID,
    )
    centre = np.average(at_T, weights=power_T)
    spread = 1.8 * max(np.sqrt(np.average((at_T - centre) ** 2, weights=power_T)), 1.0)
    low = 3 * groups // 4
    share = np.concatenate(
        [np.linspace(0, 3 / 8, low, endpoint=False), np.linspace(3 / 8, 1, groups - low + 1)]
    )
    edges = np.unique(
        (share * mel_TxM.shape[1]).astype(int)
    )  # fewer groups where there are few bands
    amplitude_TxG = np.sqrt(np.add.reduceat(power_TxM, edges[:-1], axis=1) / np.diff(edges))
    passed_TxG = np.concatenate(
        [np.zeros((1, len(edges) - 1)), np.cumsum(amplitude_TxG, axis=0, dtype=float)]
    )
    cuts = np.clip(np.linspace(centre - spread, centre + spread, slices + 1), 0, len(amplitude_TxG))
    before = np.minimum(cuts.astype(int), len(amplitude_TxG) - 1)
    grid = np.diff(passed_TxG[before] + (cuts - before)[:, None] * amplitude_TxG[before], axis=0)
    flat_S = np.zeros(SIGNATURE_SIZE)
    flat_S[1 : 1 + grid.size] = (grid - grid.mean(axis=0)).ravel()
    flat_S /= max(np.linalg.norm(flat_S), 1e-9)
    flat_S[0] = min(2 * spread, 65_000)  # float16 ends soon after
    return flat_S.astype(np.float16)
