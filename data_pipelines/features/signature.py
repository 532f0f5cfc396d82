"""The signature of a recording, with which the audit finds copies of it."""

import numpy as np

NUM_SLICES = 32  # of time
NUM_GROUPS = 16  # of mel bands
SIGNATURE_SIZE = 1 + NUM_SLICES * NUM_GROUPS
NUM_DEVIATIONS = 1.8  # the signature covers +-1.8 standard deviations of time
MAX_LENGTH = 65_000  # the largest float16 is 65,504


def compute_signature(mel_TxM: np.ndarray) -> np.ndarray:
    """Returns signature_S, float16, which is nearly the same for copies of a recording.

    Copies may differ by level, codec, sampling rate, faint noise, or silence at their ends.

    The first value is the number of frames over which the energy extends. The others are a grid of
    unit norm: the amplitude in 32 slices of that time and 16 groups of bands, minus each group's
    mean. The time is +-1.8 standard deviations of the frames weighted by their energy. So quiet
    frames have no influence, while silence and noise would move a threshold.
    The docstring of data_pipelines/audit.py says how well this works.

    Args:
      mel_TxM: Natural logarithms of the power in each frame and mel band.
    """
    power_TxM = np.exp(mel_TxM.astype(np.float32, copy=False) - np.float32(mel_TxM.max()))
    centre, half_length = _find_extent(power_TxM.sum(axis=1, dtype=float))
    edges = _group_edges(mel_TxM.shape[1])
    amplitude_TxG = np.sqrt(np.add.reduceat(power_TxM, edges[:-1], axis=1) / np.diff(edges))
    cuts = np.linspace(centre - half_length, centre + half_length, NUM_SLICES + 1)
    grid_CxG = _integrate_between(amplitude_TxG, cuts)
    signature_S = np.zeros(SIGNATURE_SIZE)
    signature_S[1 : 1 + grid_CxG.size] = (grid_CxG - grid_CxG.mean(axis=0)).ravel()
    signature_S /= max(np.linalg.norm(signature_S), 1e-9)
    signature_S[0] = min(2 * half_length, MAX_LENGTH)
    return signature_S.astype(np.float16)


def _find_extent(power_T: np.ndarray) -> tuple[float, float]:
    """Returns the centre of the energy and half of the time it extends over, both in frames."""
    time_T = np.arange(len(power_T)) + 0.5
    centre = np.average(time_T, weights=power_T)
    deviation = np.sqrt(np.average((time_T - centre) ** 2, weights=power_T))
    return centre, NUM_DEVIATIONS * max(deviation, 1.0)


def _group_edges(bands: int) -> np.ndarray:
    """Returns the first band of each group, and the number of bands at the end.

    Three quarters of the groups are in the lower three eighths of the bands: speakers who say the
    same words differ in pitch. There are fewer groups if there are too few bands.
    """
    num_low = 3 * NUM_GROUPS // 4
    low = np.linspace(0, 3 / 8, num_low, endpoint=False)
    high = np.linspace(3 / 8, 1, NUM_GROUPS - num_low + 1)
    return np.unique((np.concatenate([low, high]) * bands).astype(int))


def _integrate_between(amplitude_TxG: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Returns the integral of each group's amplitude between successive cuts, given in frames."""
    frames, groups = amplitude_TxG.shape
    cuts = np.clip(cuts, 0, frames)
    # The integral up to the beginning of each frame, and then up to each cut within its frame.
    sum_TxG = np.cumsum(amplitude_TxG, axis=0, dtype=float)
    before_TxG = np.concatenate([np.zeros((1, groups)), sum_TxG])
    frame = np.minimum(cuts.astype(int), frames - 1)
    within = (cuts - frame)[:, None] * amplitude_TxG[frame]
    return np.diff(before_TxG[frame] + within, axis=0)
