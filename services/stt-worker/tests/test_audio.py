"""A call's audio keeps its times."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxbus.stt_worker.arrivals import Arrivals
from voxbus.stt_worker.audio import LONGEST_GAP_MS, AudioBuffer, GapError, Timeline, quietest_ms, to_float

pytestmark = pytest.mark.unit

FRAME = b"\x01\x00" * 320


def test_a_gap_becomes_silence() -> None:
    """Audio that comes 60 ms late is preceded by 60 ms of zeros."""
    timeline = Timeline(1_000_000)
    assert timeline.place(1_000_000, FRAME) == FRAME
    assert timeline.place(1_080_000, FRAME) == bytes(3 * 640) + FRAME
    assert timeline.end_ms == 1100


def test_audio_that_was_there_is_not_laid_twice() -> None:
    """Of audio that overlaps what came before only the rest counts."""
    timeline = Timeline(0)
    timeline.place(0, FRAME)
    assert timeline.place(10_000, FRAME) == FRAME[320:]
    assert timeline.place(0, FRAME) == b""
    assert timeline.end_ms == 30


def test_a_jump_of_hours_is_refused() -> None:
    """A timestamp far in the future is an error, not gigabytes of silence."""
    timeline = Timeline(0)
    timeline.place(0, FRAME)
    with pytest.raises(GapError, match="jumps"):
        timeline.place((LONGEST_GAP_MS + 1000) * 1000, FRAME)


@given(origin_us=st.integers(0, 10**12), skips=st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_the_time_line_is_true_whatever_is_lost(origin_us: int, skips: list[int]) -> None:
    """After each frame the end of the time line is the frame's end, however many were lost before."""
    timeline = Timeline(origin_us)
    at_us, total = origin_us, 0
    timeline.place(at_us, FRAME)
    for skip in skips:
        at_us += (skip + 1) * 20_000
        total += len(timeline.place(at_us, FRAME))
        assert timeline.end_ms == origin_us // 1000 + (at_us - origin_us) // 1000 + 20
    assert total == (at_us - origin_us) * 32 // 1000


def test_the_buffer_gives_audio_by_time() -> None:
    """Audio is found by its time, before and after old audio is forgotten; what is not held is left out."""
    buffer = AudioBuffer(1000)
    buffer.append(np.arange(16 * 100, dtype="<i2").tobytes())
    assert buffer.samples(1010, 1012).tolist() == list(range(160, 192))
    buffer.trim(1050)
    assert (buffer.start_ms, buffer.end_ms) == (1050, 1100)
    assert buffer.samples(1000, 1051).tolist() == list(range(800, 816))
    buffer.trim(9999)
    assert buffer.start_ms == buffer.end_ms == 1100
    assert len(buffer.samples(0, 9999)) == 0


def test_the_quietest_moment_is_found() -> None:
    """A dip of 120 ms in a loud noise is where the audio is cut."""
    samples = np.random.default_rng(1).integers(-9000, 9000, 16 * 3000).astype(np.int16)
    samples[16 * 1700 : 16 * 1820] //= 50
    assert 1750 <= quietest_ms(samples) <= 1770


def test_floats_span_one() -> None:
    """Full scale is 1."""
    assert to_float(np.array([-32768, 0, 16384], dtype=np.int16)).tolist() == [-1.0, 0.0, 0.5]


def test_arrivals_know_when_audio_came_and_what_is_done_with() -> None:
    """A time of the call leads to the frame that brought it; frames wholly before a time are acknowledged once."""
    arrivals = Arrivals()
    for seq in range(5):
        arrivals.add(seq, end_ms=(seq + 1) * 20, at_s=100.0 + seq)
    assert arrivals.heard_at(41, 0.0) == 102.0
    assert arrivals.heard_at(500, 7.0) == 7.0
    assert arrivals.drop_before(59) == 2
    assert arrivals.drop_before(59) is None
    assert arrivals.drop_before(60) == 3
