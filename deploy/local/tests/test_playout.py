"""The caller's play-out clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxbus.local.playout import PlayoutClock

pytestmark = pytest.mark.unit
RATE = 8_000


def pcm(seconds: float, value: int = 1) -> bytes:
    return value.to_bytes(2, "little") * round(seconds * RATE)


def test_audio_queues_behind_what_is_not_yet_played() -> None:
    """Audio that comes early is heard later, without a gap."""
    clock = PlayoutClock(RATE)
    assert clock.add(pcm(0.5), 1.0) == 1.0
    assert clock.add(pcm(0.5), 1.1) == pytest.approx(1.5)
    assert clock.ends_s == pytest.approx(2.0)
    assert len(clock.segments) == 1
    assert clock.playing(1.9)
    assert not clock.playing(2.0)


def test_late_audio_leaves_a_gap() -> None:
    """Audio that comes late is heard when it comes, and the gap is silence."""
    clock = PlayoutClock(RATE)
    clock.add(pcm(0.1), 0.0)
    clock.add(pcm(0.1), 0.5)
    heard = clock.heard(1.0)
    assert len(heard) == 2 * RATE
    assert heard == pcm(0.1) + bytes(2 * 3200) + pcm(0.1) + bytes(2 * 3200)


def test_clear_keeps_what_was_heard() -> None:
    """`clear` cuts at this moment and tells how much was thrown away."""
    clock = PlayoutClock(RATE)
    clock.add(pcm(1.0), 2.0)
    assert clock.clear(2.25) == pytest.approx(0.75)
    assert clock.heard_s == pytest.approx(0.25)
    assert not clock.playing(2.25)
    assert clock.clear(2.3) == 0.0


def test_marks_are_due_when_reached_or_cleared() -> None:
    """A mark is due when what came before it was heard, or at once when that is thrown away; in order, once."""
    clock = PlayoutClock(RATE)
    clock.mark("nothing before", 0.0)
    clock.add(pcm(1.0), 0.0)
    clock.mark("end", 0.1)
    assert clock.due_marks(0.5) == ["nothing before"]
    clock.clear(0.6)
    assert clock.due_marks(0.6) == ["end"]
    assert clock.due_marks(9.0) == []


@given(
    st.lists(st.tuples(st.floats(0, 0.5), st.integers(1, 4000), st.booleans()), max_size=30),
)
def test_no_sample_is_heard_twice_or_out_of_order(steps: list[tuple[float, int, bool]]) -> None:
    """Whatever comes when, segments follow each other and the track holds exactly what was not thrown away."""
    clock = PlayoutClock(RATE)
    now = 0.0
    for wait, samples, clear in steps:
        now += wait
        clock.add(pcm(samples / RATE), now)
        if clear:
            clock.clear(now)
    ends = [segment.start_s + len(segment.pcm) / 2 / RATE for segment in clock.segments]
    assert all(end <= after.start_s + 1e-4 for end, after in zip(ends, clock.segments[1:], strict=False))
    track = clock.heard(clock.ends_s + 1)
    assert abs(track.count(b"\x01\x00") - clock.heard_s * RATE) <= len(clock.segments)
