"""A call's audio on its own time line. Times are milliseconds of the call's caller audio."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from voxbus.contracts.audio import SAMPLE_BYTES, SAMPLE_RATE

BYTES_PER_MS: Final = SAMPLE_RATE * SAMPLE_BYTES // 1000
LONGEST_GAP_MS: Final = 600_000


def to_float(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """PCM16 samples as floats from -1 to 1, what the models read."""
    return samples.astype(np.float32) / np.float32(32768.0)


class GapError(ValueError):
    """The audio jumps further than any call can be silent."""


class Timeline:
    """Lays received audio end to end: silence where some is missing, nothing twice."""

    def __init__(self, timestamp_us: int) -> None:
        self._origin_us = timestamp_us
        self._bytes = 0

    @property
    def origin_ms(self) -> int:
        """When the stream's first sample was."""
        return self._origin_us // 1000

    @property
    def end_ms(self) -> int:
        """When the next sample is expected."""
        return self.origin_ms + self._bytes // BYTES_PER_MS

    def place(self, timestamp_us: int, pcm: bytes) -> bytes:
        """What comes next on the time line because `pcm` starts at `timestamp_us`.

        That is `pcm`, after silence if it comes late, without its beginning if that was there before. Raises GapError.
        """
        wanted = (timestamp_us - self._origin_us) * SAMPLE_RATE // 1_000_000 * SAMPLE_BYTES
        gap = wanted - self._bytes
        if gap > LONGEST_GAP_MS * BYTES_PER_MS:
            raise GapError(f"the audio jumps by {gap // BYTES_PER_MS / 1000:.0f} s, from {self.end_ms} ms")
        placed = bytes(gap) + pcm if gap >= 0 else pcm[-gap:]
        self._bytes += len(placed)
        return placed


class AudioBuffer:
    """The recent audio of a call, by time."""

    def __init__(self, start_ms: int) -> None:
        self._start_ms = start_ms
        self._pcm = bytearray()

    @property
    def start_ms(self) -> int:
        """Time of the first sample still held."""
        return self._start_ms

    @property
    def end_ms(self) -> int:
        """Time after the last sample."""
        return self._start_ms + len(self._pcm) // BYTES_PER_MS

    def append(self, pcm: bytes) -> None:
        """Add PCM16 of any whole number of samples."""
        self._pcm += pcm

    def samples(self, from_ms: int, to_ms: int) -> NDArray[np.int16]:
        """A copy of what is held between the two times, shape (n,)."""
        first = max(0, from_ms - self._start_ms) * BYTES_PER_MS
        last = max(0, to_ms - self._start_ms) * BYTES_PER_MS
        return np.frombuffer(bytes(self._pcm[first:last]), dtype="<i2")

    def trim(self, before_ms: int) -> None:
        """Forget what was before."""
        surplus_ms = min(before_ms, self.end_ms) - self._start_ms
        if surplus_ms > 0:
            del self._pcm[: surplus_ms * BYTES_PER_MS]
            self._start_ms += surplus_ms


def quietest_ms(samples: NDArray[np.int16]) -> int:
    """Where in `samples` (shape (n,), at least 100 ms) the quietest 100 ms have their middle, in ms from the beginning."""
    block = 10 * SAMPLE_RATE // 1000
    blocks = samples[: len(samples) // block * block].reshape(-1, block).astype(np.float32)
    energy = np.convolve((blocks**2).mean(axis=1), np.ones(10), mode="valid")
    return int(energy.argmin()) * 10 + 50
