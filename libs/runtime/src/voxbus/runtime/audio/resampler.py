"""Sample-rate conversion of PCM16 mono streams between 8, 16, 24 and 48 kHz. See docs/decisions/0005-resampling.md."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from voxbus.contracts.audio import SAMPLE_BYTES
from voxbus.runtime.audio.filters import DELAY_US, Filter, Samples, filter_for

__all__ = ["DELAY_US", "RATES", "StreamResampler", "resample"]

RATES: Final = (8_000, 16_000, 24_000, 48_000)
_PIECE_MS: Final = 100
"""One-shot conversion goes in pieces: a larger matrix product makes BLAS start threads, which other streams' work pays for."""


class StreamResampler:
    """Converts one stream of PCM16 mono, chunk by chunk, with `delay_us` of delay.

    20 ms in give exactly 20 ms out, and so it is with every chunk that is a whole number of samples at both rates; of any
    other chunk the odd samples wait for the next. The output is the same bytes however the stream was cut.
    Not for use from two threads at once.
    """

    def __init__(self, in_rate: int, out_rate: int) -> None:
        """Raises ValueError when a rate is not one of `RATES`."""
        for rate in (in_rate, out_rate):
            if rate not in RATES:
                raise ValueError(f"sample rate {rate} is not supported, only {', '.join(map(str, RATES))}")
        self.in_rate = in_rate
        self.out_rate = out_rate
        self.delay_us = 0 if in_rate == out_rate else DELAY_US
        self._filter = None if in_rate == out_rate else filter_for(in_rate, out_rate)
        self._history: Samples = np.zeros(0)
        self._odd = b""
        self.reset()

    def reset(self) -> None:
        """Forget the past: what follows is a new stream."""
        self._history = np.zeros(self._filter.history if self._filter else 0)
        self._odd = b""

    def process(self, pcm: bytes) -> bytes:
        """The next output. Raises ValueError when `pcm` is not a whole number of samples."""
        if len(pcm) % SAMPLE_BYTES:
            raise ValueError(f"PCM16 has 2 bytes per sample, got {len(pcm)} bytes")
        if self._filter is None:
            return pcm
        return self._convert(self._filter, self._whole(self._filter.down, pcm))

    def _whole(self, down: int, pcm: bytes) -> NDArray[np.int16]:
        """The samples to convert now: a multiple of `down`."""
        if self._odd:
            pcm = self._odd + pcm
        odd_bytes = len(pcm) % (down * SAMPLE_BYTES)
        self._odd = pcm[len(pcm) - odd_bytes :]
        return np.frombuffer(pcm, dtype="<i2", count=(len(pcm) - odd_bytes) // SAMPLE_BYTES)

    def _convert(self, filter_: Filter, samples: NDArray[np.int16]) -> bytes:
        count, history, block = len(samples), filter_.history, filter_.block
        if not count:
            return b""
        blocks = -(-count // block)
        line = np.empty(history + blocks * block)
        line[:history] = self._history
        line[history : history + count] = samples
        line[history + count :] = 0
        self._history = line[count : count + history]
        # Overlapping rows as a view, then one copy of them: BLAS wants rows of its own.
        step = line.itemsize
        rows = np.ndarray((blocks, history + block), np.float64, line, 0, (block * step, step))
        output = (np.ascontiguousarray(rows) @ filter_.taps).reshape(-1)[: count * filter_.up // filter_.down]
        return _to_pcm(output)


def _to_pcm(samples: Samples) -> bytes:
    """Rounded and saturated PCM16; overwrites `samples`."""
    np.rint(samples, out=samples)
    np.minimum(samples, 32_767, out=samples)
    np.maximum(samples, -32_768, out=samples)
    return samples.astype("<i2").tobytes()


def resample(pcm: bytes, in_rate: int, out_rate: int) -> bytes:
    """A whole utterance of PCM16 mono at `out_rate`, without the delay of a stream; its length is the input's, rounded up.

    Raises ValueError when a rate is not one of `RATES` or `pcm` is not a whole number of samples.
    """
    if in_rate == out_rate:
        return StreamResampler(in_rate, out_rate).process(pcm)
    stream = StreamResampler(in_rate, out_rate)
    # Silence after the end pushes the last samples through the filter; a little more makes up for a last odd sample.
    tail = bytes(SAMPLE_BYTES * (DELAY_US * in_rate // 1_000_000 + in_rate // 1000))
    piece = SAMPLE_BYTES * _PIECE_MS * in_rate // 1000
    padded = pcm + tail
    output = b"".join(stream.process(padded[start : start + piece]) for start in range(0, len(padded), piece))
    skip = SAMPLE_BYTES * (DELAY_US * out_rate // 1_000_000)
    length = SAMPLE_BYTES * -(-len(pcm) // SAMPLE_BYTES * out_rate // in_rate)
    return output[skip : skip + length]
