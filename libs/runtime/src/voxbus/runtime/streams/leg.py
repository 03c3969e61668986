"""One attempt of a stream on one worker, as its owner sees it."""

from __future__ import annotations

import time
from collections import deque

from voxbus.contracts.frame import Kind, encode_frame
from voxbus.contracts.subjects import INPUT
from voxbus.runtime.bus import LiveBus
from voxbus.runtime.streams.sequence import Sequence


class Leg:
    """Numbers and sends the input of an attempt, and sees gaps and repeats in its output."""

    __slots__ = (
        "_live",
        "_subject",
        "attempt",
        "last_received",
        "last_sent",
        "opened_at",
        "outputs",
        "seq",
        "worker_id",
    )

    def __init__(self, attempt: int, live: LiveBus) -> None:
        self.attempt = attempt
        self.worker_id = ""
        self.outputs = Sequence()
        self.seq = 0
        self.opened_at = self.last_received = self.last_sent = time.monotonic()
        self._live = live
        self._subject = ""

    def opened(self, stage: str, worker_id: str, stream_id: str) -> None:
        """A worker took it."""
        self.worker_id = worker_id
        self._subject = INPUT(stage=stage, worker_id=worker_id, stream_id=stream_id)
        self.opened_at = self.last_received = time.monotonic()

    def take_number(self) -> int:
        """The number of the next input; what takes one must be sent before anything that takes a later one."""
        seq = self.seq
        self.seq = seq + 1
        return seq

    async def send(self, kind: Kind, seq: int, timestamp_us: int, body: bytes = b"") -> None:
        """Send one numbered input."""
        self.last_sent = time.monotonic()
        frame = encode_frame(kind, attempt=self.attempt, seq=seq, timestamp_us=timestamp_us, body=body)
        await self._live.publish(self._subject, frame)


class KeptInputs:
    """Input that no output has acknowledged yet, in order; the oldest falls out when there is too much."""

    NOT_SENT = -1

    def __init__(self, capacity: int) -> None:
        self._kept: deque[tuple[int, Kind, int, bytes]] = deque(maxlen=capacity)

    def add(self, seq: int, kind: Kind, timestamp_us: int, body: bytes) -> None:
        """Keep an input that was sent with this number, or NOT_SENT."""
        self._kept.append((seq, kind, timestamp_us, body))

    def acknowledge(self, count: int) -> None:
        """Forget what was sent with a number below `count`."""
        kept = self._kept
        while kept and self.NOT_SENT < kept[0][0] < count:
            kept.popleft()

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()

    async def replay(self, leg: Leg) -> None:
        """Number all that is kept anew and send it; what is added meanwhile comes behind it."""
        sent: deque[tuple[int, Kind, int, bytes]] = deque(maxlen=self._kept.maxlen)
        while self._kept:
            _, kind, timestamp_us, body = self._kept.popleft()
            seq = leg.take_number()
            sent.append((seq, kind, timestamp_us, body))
            await leg.send(kind, seq, timestamp_us, body)
        self._kept = sent
