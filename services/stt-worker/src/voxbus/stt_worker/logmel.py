"""The features smart-turn reads: Whisper's log-mel spectrogram of 8 s (Radford et al. 2022, §2.2), with numpy alone."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from voxbus.contracts.audio import SAMPLE_RATE

WINDOW_S: Final = 8
WINDOW_SAMPLES: Final = WINDOW_S * SAMPLE_RATE
MEL_BANDS: Final = 80
_FFT_SAMPLES: Final = 400
_HOP_SAMPLES: Final = 160
_POWER_FLOOR: Final = 1e-10

# Slaney's mel scale: linear up to 1 kHz, logarithmic above.
_LINEAR_HZ_PER_MEL: Final = 200.0 / 3.0
_LOG_FROM_HZ: Final = 1000.0
_LOG_FROM_MEL: Final = _LOG_FROM_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP: Final = np.log(6.4) / 27.0


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithmic = _LOG_FROM_HZ * np.exp(_LOG_STEP * (mel - _LOG_FROM_MEL))
    return np.where(mel < _LOG_FROM_MEL, mel * _LINEAR_HZ_PER_MEL, logarithmic)


def _mel_filters() -> NDArray[np.float64]:
    """Triangular filters of equal area, evenly spaced in mel from 0 to 8 kHz; shape (80, 201)."""
    top_mel = _LOG_FROM_MEL + np.log(SAMPLE_RATE / 2 / _LOG_FROM_HZ) / _LOG_STEP
    edges = _mel_to_hz(np.linspace(0.0, top_mel, MEL_BANDS + 2))
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = np.linspace(0.0, SAMPLE_RATE / 2, _FFT_SAMPLES // 2 + 1)
    triangles = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    return np.maximum(triangles, 0.0) * (2.0 / (right - left))


_FILTERS: Final = _mel_filters()
_HANN: Final = np.hanning(_FFT_SAMPLES + 1)[:-1]


def log_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features of the last 8 s of `samples` (shape (n,), 16 kHz), shape (80, 800); shorter audio is preceded by silence."""
    window = samples[-WINDOW_SAMPLES:]
    window = np.pad(window, (WINDOW_SAMPLES - len(window), 0))
    window = (window - window.mean()) / np.sqrt(window.var() + 1e-7)
    padded = np.pad(window.astype(np.float64), _FFT_SAMPLES // 2, mode="reflect")
    # Whisper drops the last of the 801 frames.
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT_SAMPLES)[:-1:_HOP_SAMPLES]
    power = np.abs(np.fft.rfft(frames * _HANN, axis=-1)) ** 2
    levels = np.log10(np.maximum(_FILTERS @ power.T, _POWER_FLOOR))
    levels = np.maximum(levels, levels.max() - 8.0)
    features: NDArray[np.float32] = ((levels + 4.0) / 4.0).astype(np.float32)
    return features
