"""Which attempt's output is delivered, without a bus."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from voxbus.contracts.frame import Frame, Kind
from voxbus.runtime.streams.leg import Leg
from voxbus.runtime.streams.legs import Legs

pytestmark = pytest.mark.unit


def leg(attempt: int) -> Leg:
    """A leg that sends nowhere."""
    return Leg(attempt, SimpleNamespace())  # type: ignore[arg-type]


def frame(attempt: int, seq: int) -> Frame:
    """Output of an attempt."""
    return Frame(Kind.HEARTBEAT, attempt, seq, 0, 0, b"")


def switched(legs: Legs, attempt: int) -> Leg:
    """Open an attempt and settle on it."""
    new = leg(attempt)
    legs.begin(new)
    legs.switch()
    legs.settled()
    return new


def test_output_held_during_an_open_that_succeeds_is_never_delivered() -> None:
    """The new worker makes it again, so it must not come back when a later open fails."""
    legs = Legs()
    switched(legs, 1)
    legs.begin(leg(2))
    assert legs.route(frame(1, 0)) is None
    legs.switch()
    legs.settled()
    legs.begin(leg(3))
    assert legs.abandon() == []


def test_output_held_during_an_open_that_fails_is_delivered() -> None:
    """The old worker still serves."""
    legs = Legs()
    current = switched(legs, 1)
    legs.begin(leg(2))
    held = frame(1, 0)
    assert legs.route(held) is None
    assert legs.abandon() == [held]
    assert legs.route(frame(1, 1)) is current


def test_output_before_the_leg_has_settled_waits_in_order() -> None:
    """What came before the answer, and during the replay, is delivered after it."""
    legs = Legs()
    legs.begin(leg(1))
    early = [frame(1, 0), frame(1, 1)]
    assert legs.route(early[0]) is None
    legs.switch()
    assert legs.route(early[1]) is None
    assert legs.settled() == early
    assert legs.route(frame(2, 0)) is None
