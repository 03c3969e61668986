"""The last step of the offline engine, in blocks: from the network's spectra to a waveform.

hibari's own `dsp.synth` makes a sentence's waveform in one go. The inverse transform only reaches two frames to either side,
so the same waveform can be made block by block: the first half second of a long sentence leaves before the rest is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from hibari import dsp
from numpy.typing import NDArray

Array = NDArray[Any]

_CONTEXT_FRAMES: Final = 2
"""Frames to either side that reach into a block: half a window (600 samples) is two hops (300)."""


class BlockVocoder:
    """The waveform of one sentence, 24 kHz float32 in [-1, 1], from first to last."""

    def __init__(self, spectra: Sequence[Array], noise: np.random.Generator) -> None:
        """`spectra` are the network's outputs lh, theta, ln, lr, phi, each (bins, frames), and f0 (frames)."""
        *self._parts, f0 = spectra
        self._noise = noise
        self._next = 0
        self.frames = len(f0)
        # The pulses' phase runs through the sentence, so they are made at once; they are a small part of the work.
        pulses = np.pad(dsp.pulses(f0), dsp.N_FFT // 2, mode="reflect")
        self._windows: Array = np.lib.stride_tricks.sliding_window_view(pulses, dsp.N_FFT)[:: dsp.HOP]

    @property
    def done(self) -> bool:
        """Whether the whole waveform was given."""
        return self._next >= self.frames

    def block(self, frames: int) -> Array:
        """The next `frames` frames of 12.5 ms, fewer at the end."""
        begin = self._next
        end = min(begin + frames, self.frames)
        low = max(0, begin - _CONTEXT_FRAMES)
        high = min(self.frames, end + _CONTEXT_FRAMES)
        self._next = end
        wave: Array = dsp.ola(self._spectrum(low, high))
        return wave[(begin - low) * dsp.HOP : (end - low) * dsp.HOP]

    def _spectrum(self, low: int, high: int) -> Array:
        """Harmonics, noise and the free-phase part of some frames: (bins, frames), complex64."""
        harmonic, phase, noise, free, free_phase = (part[:, low:high] for part in self._parts)
        spectrum: Array = np.ascontiguousarray(dsp.rfft(self._windows[low:high] * dsp.WIN_SRC, 1).T)
        spectrum *= _polar(dsp.ex(harmonic), np.pi * np.tanh(phase))
        shape = (noise.shape[0], 2 * noise.shape[1])
        spectrum += self._noise.standard_normal(shape, dtype=np.float32).view(np.complex64) * dsp.ex(noise)
        spectrum += _polar(dsp.ex(free), free_phase)
        return spectrum


def _polar(magnitude: Array, angle: Array) -> Array:
    result = np.empty(magnitude.shape, np.complex64)
    np.cos(angle, out=result.real)
    np.sin(angle, out=result.imag)
    result *= magnitude
    return result
