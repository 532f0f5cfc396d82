"""Reads samples by soundfile, block by block, whatever length the header states."""

import os
import threading

import numpy as np
import soundfile

from data_pipelines.features.rejection import check_sample_rate
from data_pipelines.features.sample_blocks import SampleBlocks

BLOCK_FRAMES = 1 << 18  # read at once
MAX_FRAMES = 1 << 48  # libsndfile states more for a file without a length
# What libsndfile states as the length of these is an estimate, or the position of the last page.
ESTIMATED_FORMATS = ('MP3', 'OGG')


class SequentialFile(soundfile.SoundFile):
    """A sound file that soundfile reads in order, because not every file can seek."""

    def __init__(self, source):
        super().__init__(source)
        check_sample_rate(self.samplerate)
        if self.format == 'MP3' and super().seekable():
            # Changes the last bit of the samples: earlier versions did so, and features stay equal.
            self.seek(0)

    def seekable(self) -> bool:
        """Returns False: soundfile would seek after each block of a file that can seek."""
        return False

    @property
    def has_length(self) -> bool:
        """Whether the header states a length."""
        return self.frames < MAX_FRAMES

    @property
    def is_estimate(self) -> bool:
        """Whether the file may have more or fewer frames than it states."""
        is_lossy = self.format in ESTIMATED_FORMATS or self.subtype.startswith('MPEG')
        return is_lossy or not self.has_length

    def skip(self, frames: int) -> None:
        """Moves from the beginning past so many frames; reads them where the file cannot seek."""
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
    """Returns all samples of a file and their rate, which soundfile reads from a pipe.

    From a file libsndfile stops at the length that it estimates; from a pipe it estimates none.
    """
    read_end, write_end = os.pipe()

    def write() -> None:
        """Writes the content into the pipe, as far as it is read."""
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
