"""Which attempt of a stream is served from, and what becomes of output while the next one is being opened."""

from __future__ import annotations

import time

from voxbus.contracts.frame import Frame
from voxbus.runtime.streams.leg import Leg


class Legs:
    """The current leg, the one that is being opened, and their output that must wait."""

    def __init__(self) -> None:
        self.current: Leg | None = None
        self.settling = False
        """The current leg is getting the replay: input and output wait."""
        self._opening: Leg | None = None
        self._held: list[Frame] = []  # of the current one, while the next is being opened
        self._early: list[Frame] = []  # of the next one, before it is current and settled

    def route(self, frame: Frame) -> Leg | None:
        """The leg to accept this frame from now; None when it waits, or belongs to no living attempt."""
        leg, opening = self.current, self._opening
        if leg is not None and frame.attempt == leg.attempt:
            leg.last_received = time.monotonic()
            if opening is None and not self.settling:
                return leg
            (self._early if self.settling else self._held).append(frame)
        elif opening is not None and frame.attempt == opening.attempt:
            self._early.append(frame)
        return None

    def begin(self, leg: Leg) -> None:
        """An open is under way."""
        self._opening = leg

    def abandon(self) -> list[Frame]:
        """The open came to nothing; what the current leg sent meanwhile."""
        self._opening = None
        self._early.clear()
        held, self._held = self._held, []
        return held

    def switch(self) -> Leg | None:
        """The open succeeded: its leg is current and settling. Returns the one before, whose held output is dropped."""
        before, self.current, self._opening = self.current, self._opening, None
        self._held.clear()
        self.settling = True
        return before

    def settled(self) -> list[Frame]:
        """The replay is done; the output that came before."""
        self.settling = False
        early, self._early = self._early, []
        return early

    def clear(self) -> None:
        """The stream is over."""
        self.current = None
        self._held.clear()
        self._early.clear()
