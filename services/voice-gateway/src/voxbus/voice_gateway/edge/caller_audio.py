"""The caller's audio, as it comes from a client, in frames of the platform."""

from __future__ import annotations

from collections.abc import Callable

from voxbus.contracts.audio import FRAME_BYTES, SAMPLE_BYTES, SAMPLE_RATE
from voxbus.runtime.audio import Reframer, StreamResampler
from voxbus.voice_gateway.edge.limits import TokenBucket


class CallerAudio:
    """PCM16 at the client's rate in, frames of 20 ms at 16 kHz out; at most `burst_s` ahead of real time."""

    def __init__(self, sample_rate: int, burst_s: float, deliver: Callable[[bytes], None]) -> None:
        """`deliver` is called with each frame: exactly 640 bytes. Raises ValueError for an unknown sample rate."""
        self._bytes_per_s = sample_rate * SAMPLE_BYTES
        self._resampler = StreamResampler(sample_rate, SAMPLE_RATE) if sample_rate != SAMPLE_RATE else None
        self._reframer = Reframer()
        self._ahead = TokenBucket(rate=1.0, capacity=burst_s)
        self._deliver = deliver
        self.dropped_s = 0.0
        """Audio refused so far, in seconds."""

    def push(self, pcm: bytes) -> bool:
        """Deliver whole frames; the rest waits for the next audio. False when it came too fast: then it is dropped.

        Raises ValueError when `pcm` is not a whole number of samples.
        """
        if len(pcm) % SAMPLE_BYTES:
            raise ValueError(f"PCM16 has 2 bytes per sample, got {len(pcm)} bytes")
        duration_s = len(pcm) / self._bytes_per_s
        if not self._ahead.take(duration_s):
            self.dropped_s += duration_s
            return False
        if self._resampler is not None:
            pcm = self._resampler.process(pcm)
        frames = self._reframer.push(pcm)
        for start in range(0, len(frames), FRAME_BYTES):
            self._deliver(frames[start : start + FRAME_BYTES])
        return True
