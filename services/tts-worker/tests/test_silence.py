"""Silence around speech."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxbus.tts_worker.silence import SILENT, SilenceTrimmer

pytestmark = pytest.mark.unit

MS = 16


def speech(lead_ms: int, gap_ms: int, tail_ms: int) -> bytes:
    """Silence, sound, silence, sound, silence."""
    parts = [(lead_ms, SILENT), (30, 9000), (gap_ms, 0), (30, -9000), (tail_ms, SILENT)]
    return b"".join(np.full(ms * MS, value, "<i2").tobytes() for ms, value in parts)


@given(lead=st.integers(0, 60), gap=st.integers(0, 300), tail=st.integers(0, 300), data=st.data())
def test_only_the_ends_are_trimmed(lead: int, gap: int, tail: int, data: st.DataObject) -> None:
    """However the stream is cut: at most 20 ms before the sound, at most 100 ms after it, the gap within untouched."""
    pcm = speech(lead, gap, tail)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(pcm) // 2), max_size=8)))
    trimmer = SilenceTrimmer(100)
    output = (
        b"".join(trimmer.push(pcm[2 * a : 2 * b]) for a, b in pairwise([0, *cuts, len(pcm) // 2])) + trimmer.finish()
    )
    assert output == speech(min(lead, 20), gap, min(tail, 100))


def test_sound_is_not_held_back() -> None:
    """A push that ends in sound returns everything up to its end."""
    trimmer = SilenceTrimmer(100)
    pcm = np.full(100, 5000, "<i2").tobytes()
    assert trimmer.push(pcm) == pcm
    assert trimmer.push(bytes(200)) == b""
    assert trimmer.push(pcm) == bytes(200) + pcm


def test_pure_silence_is_nothing() -> None:
    """Without any sound there is no output at all."""
    trimmer = SilenceTrimmer(100)
    assert trimmer.push(bytes(64_000)) == b""
    assert trimmer.finish() == b""
