"""Silence around speech, cut to a sensible length while the speech streams."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from voxbus.contracts.audio import SAMPLE_RATE

SILENT: Final = 32
"""Samples up to this magnitude (-60 dB of full scale) are silence; a synthetic voice's own silence is near -140 dB."""
LEAD_MS: Final = 20
"""Kept before the first sound, for the breath of a soft consonant."""


class SilenceTrimmer:
    """Drops the silence before the first sound and all but `tail_ms` of the silence after the last.

    Holds back nothing but silence, so the first sound leaves at once. PCM16 mono, 16 kHz.
    """

    def __init__(self, tail_ms: int) -> None:
        self._lead = LEAD_MS * SAMPLE_RATE // 1000
        self._tail = tail_ms * SAMPLE_RATE // 1000
        self._held: NDArray[np.int16] = np.zeros(0, np.int16)
        self._started = False

    def push(self, pcm: bytes) -> bytes:
        """The next speech; empty while there is only silence."""
        samples = np.concatenate([self._held, np.frombuffer(pcm, "<i2")])
        loud = np.flatnonzero((samples > SILENT) | (samples < -SILENT))
        if not loud.size:
            self._held = samples if self._started else samples[-self._lead :]
            return b""
        first, end = int(loud[0]), int(loud[-1]) + 1
        start = 0 if self._started else max(0, first - self._lead)
        self._started = True
        self._held = samples[end:]
        return samples[start:end].tobytes()

    def finish(self) -> bytes:
        """What is kept of the silence at the end; empty when there was no sound at all."""
        return self._held[: self._tail].tobytes() if self._started else b""
