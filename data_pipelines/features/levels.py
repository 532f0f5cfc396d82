"""Measures the level of a recording, and the silence at its beginning.

They say nothing about the words, and little about the voice. If they predict the emotion, a
classifier may learn how a corpus was recorded and cut (protocols/shortcuts.py).
"""

import numpy as np

FRAME_SECONDS = 0.01
SILENCE_DB = 40.0  # a frame is silent if it is this much below the loudest one
MIN_POWER = 1e-20  # -200 dB of full scale


def measure_level(wave: np.ndarray) -> float:
    """Returns the root mean square of the samples of shape (time,), in dB of full scale."""
    power = float(np.mean(np.square(wave, dtype=float)))
    return float(10 * np.log10(max(power, MIN_POWER)))


def measure_leading_silence(wave: np.ndarray, rate: int) -> float:
    """Returns the seconds before the first frame of 10 ms that is not silent.

    `wave` has shape (time,), and `rate` is its sampling rate in Hz.
    """
    length = round(FRAME_SECONDS * rate)
    count = max(len(wave) // length, 1)
    frames_TxL = np.square(wave[: count * length], dtype=float).reshape(count, -1)
    power_T = frames_TxL.mean(axis=1)
    threshold = power_T.max() * 10 ** (-SILENCE_DB / 10)
    return float(np.argmax(power_T >= threshold) * FRAME_SECONDS)
