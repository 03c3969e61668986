"""The low-pass filters of the resampler: designed once per pair of rates, shared by every stream.

The design is a weighted least-squares fit, reweighted a few times towards equal ripple (Lawson's algorithm), which needs a third
less delay for the same rejection than a windowed sinc.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

DELAY_US: Final = 1_500
"""Delay of every filter. It is a whole number of samples at 8, 16, 24 and 48 kHz."""
BLOCK_US: Final = 1_000
"""Input that one row of the matrix product consumes: long enough to keep the product dense, short enough to keep it small."""
PASS_BELOW_NYQUIST_HZ: Final = 700
STOP_ABOVE_NYQUIST_HZ: Final = 450
"""The transition band lies around the lower rate's Nyquist frequency: from 3.3 to 4.45 kHz for a rate of 8 kHz."""
COEFFICIENT_BITS: Final = 24
"""Coefficients are multiples of 2**-24, so that a sum of products with 16-bit samples is exact in float64 (under 53 bits).
The order in which a matrix product adds cannot show then, and the output does not depend on how a stream is cut in chunks."""

_PASS_RIPPLE: Final = 0.006
_STOP_RIPPLE: Final = 6e-5
_REWEIGHTINGS: Final = 6
_GRID_PER_TAP: Final = 12

Samples = NDArray[np.float64]


@dataclass(frozen=True)
class Filter:
    """A polyphase filter as one matrix: `history + block` input samples times `taps` give `block * up / down` output samples."""

    up: int
    down: int
    history: int
    """Input samples before a block that its output still depends on."""
    block: int
    taps: Samples
    """Shape (history + block, block * up / down)."""


@lru_cache(maxsize=16)
def filter_for(in_rate: int, out_rate: int) -> Filter:
    """The filter from `in_rate` to `out_rate`; the first call for a pair takes some 10 ms."""
    divisor = math.gcd(in_rate, out_rate)
    up, down = out_rate // divisor, in_rate // divisor
    prototype = up * _low_pass(in_rate * up, min(in_rate, out_rate))
    prototype = np.rint(prototype * 2.0**COEFFICIENT_BITS) * 2.0**-COEFFICIENT_BITS
    history = 2 * DELAY_US * in_rate // 1_000_000
    block = BLOCK_US * in_rate // 1_000_000
    block += -block % down
    taps = np.zeros((history + block, block * up // down))
    rows, columns = np.indices(taps.shape)
    phase = columns * down - (rows - history) * up
    used = (phase >= 0) & (phase < len(prototype))
    taps[used] = prototype[phase[used]]
    taps.setflags(write=False)
    return Filter(up, down, history, block, taps)


def _low_pass(rate: int, narrow_rate: int) -> Samples:
    """An odd symmetric low-pass of unit gain at `rate`, for a signal that fits `narrow_rate`."""
    half = DELAY_US * rate // 1_000_000
    nyquist = narrow_rate / 2
    frequencies, target, weight = _grid(half, rate, nyquist - PASS_BELOW_NYQUIST_HZ, nyquist + STOP_ABOVE_NYQUIST_HZ)
    basis = np.cos(2 * np.pi / rate * np.outer(frequencies, np.arange(half + 1)))
    basis[:, 1:] *= 2
    emphasis = np.ones_like(weight)
    taps: Samples = np.zeros(half + 1)
    for _ in range(_REWEIGHTINGS):
        scale = np.sqrt(emphasis) * weight
        taps = np.linalg.lstsq(basis * scale[:, None], target * scale, rcond=None)[0].astype(np.float64)
        emphasis *= np.abs(basis @ taps - target) * weight
        emphasis /= emphasis.sum()
    return np.concatenate([taps[:0:-1], taps])


def _grid(half: int, rate: int, pass_hz: float, stop_hz: float) -> tuple[Samples, Samples, Samples]:
    """Frequencies of both bands, the wanted gain there, and the weight of a deviation."""
    density = _GRID_PER_TAP * half / (rate / 2)
    passband = np.linspace(0, pass_hz, round(density * pass_hz))
    stopband = np.linspace(stop_hz, rate / 2, round(density * (rate / 2 - stop_hz)))
    target = np.concatenate([np.ones_like(passband), np.zeros_like(stopband)])
    weight = np.where(target > 0, 1 / _PASS_RIPPLE, 1 / _STOP_RIPPLE)
    return np.concatenate([passband, stopband]), target, weight
