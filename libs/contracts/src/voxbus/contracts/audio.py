"""The audio format inside the platform: PCM16 little-endian, mono, 16 kHz, in frames of 20 ms."""

from __future__ import annotations

from typing import Final

SAMPLE_RATE: Final = 16_000
SAMPLE_BYTES: Final = 2
FRAME_MS: Final = 20
FRAME_SAMPLES: Final = SAMPLE_RATE * FRAME_MS // 1000
FRAME_BYTES: Final = FRAME_SAMPLES * SAMPLE_BYTES
FRAME_US: Final = FRAME_MS * 1000
MAX_FRAMES_PER_MESSAGE: Final = 50
"""One audio message carries 1 to 50 whole frames, that is up to a second."""


def pcm_duration_ms(size_bytes: int, sample_rate: int = SAMPLE_RATE) -> float:
    """Duration in milliseconds of `size_bytes` of PCM16 mono."""
    return size_bytes * 1000 / (SAMPLE_BYTES * sample_rate)
