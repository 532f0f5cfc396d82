"""Reads samples by soundfile from the beginning to the end, whatever length the header states."""

import io
import os
import threading

import numpy as np
import soundfile

from data_pipelines.features.rejection import check_sample_rate
from data_pipelines.features.sample_blocks import SampleBlocks

BLOCK_FRAMES = 1 << 18
MAX_FRAMES = 1 << 48  # more are stated for a file without a length
# The lengths of these are estimates, or the position of the last page.
ESTIMATED_FORMATS = ('MP3', 'OGG')


class SequentialFile(soundfile.SoundFile):
    """A file that is read without a seek after each block: not every file can seek."""

    def __init__(self, source):
        super().__init__(source)
        check_sample_rate(self.samplerate)
        if self.format == 'MP3' and super().seekable():
            # Changes the last bit of the samples: earlier versions did so, and features stay equal.
            self.seek(0)

    def seekable(self) -> bool:
        """Returns False, so that soundfile reads on, and reads no more than it is asked for."""
        return False

    @property
    def has_length(self) -> bool:
        """Whether the header states a length."""
        return self.frames < MAX_FRAMES

    @property
    def is_estimate(self) -> bool:
        """Whether the number of frames is not to be relied upon."""
        is_lossy = self.format in ESTIMATED_FORMATS or self.subtype.startswith('MPEG')
        return is_lossy or not self.has_length

    def skip(self, frames: int) -> None:
        """Moves to a frame from the beginning, by reading where the file cannot seek."""
        if frames and super().seekable():
            self.seek(frames)
            return
        while frames:
            count = len(self.read(min(frames, BLOCK_FRAMES), dtype=np.float32))
            if not count:
                return
            frames -= count

    def read_blocks(self, frames: int | None) -> np.ndarray:
        """Returns the next frames, float32 of shape (time, channels); fewer at the end.

        None reads up to the end.
        """
        blocks = SampleBlocks()
        if frames is not None:
            blocks.check_room(frames, self.channels, self.samplerate)
        while frames is None or blocks.frames < frames:
            count = BLOCK_FRAMES
            if frames is not None:
                count = min(count, frames - blocks.frames)
            block = self.read(count, dtype=np.float32, always_2d=True)
            blocks.add(block, self.samplerate)
            if len(block) < count:
                break
        return blocks.join()


def read_from_pipe(content: bytes) -> tuple[np.ndarray, int]:
    """Returns all samples of a file and their rate, as soundfile reads them from a pipe.

    There libsndfile estimates no length of MPEG audio, at which it would stop.
    """
    read_end, write_end = os.pipe()

    def write() -> None:
        try:
            with os.fdopen(write_end, 'wb') as pipe:
                pipe.write(content)
        except OSError:  # the reader has stopped
            pass

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        with SequentialFile(read_end) as file:
            return file.read_blocks(None), file.samplerate
    finally:
        thread.join()


def open_content(content: bytes) -> SequentialFile:
    """Opens a file whose content is in memory."""
    return SequentialFile(io.BytesIO(content))
