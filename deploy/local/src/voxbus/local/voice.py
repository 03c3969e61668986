"""Where the voice in a piece of audio ends."""

from __future__ import annotations

from typing import Final

import numpy as np

_WINDOW_S: Final = 0.01
_BELOW_PEAK: Final = 0.02
"""A window this far below the loudest one (34 dB) holds no voice."""


def voice_end_s(pcm: bytes, sample_rate: int) -> float:
    """When the last voice in PCM16 mono ends, in seconds from its start; its whole duration when it is all silence."""
    window = int(sample_rate * _WINDOW_S)
    samples = np.frombuffer(pcm[: len(pcm) & ~1], "<i2").astype(np.float32)
    whole = len(samples) // window
    if not whole:
        return len(samples) / sample_rate
    loudness = np.sqrt((samples[: whole * window].reshape(whole, window) ** 2).mean(axis=1))
    voiced = np.flatnonzero(loudness > loudness.max() * _BELOW_PEAK)
    return float(voiced[-1] + 1) * _WINDOW_S if len(voiced) else len(samples) / sample_rate
