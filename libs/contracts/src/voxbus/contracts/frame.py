"""The one binary frame of stage streams: a fixed header, then audio or a JSON message.

Header, little-endian, 20 bytes:

| offset | size | field        | meaning                                                                                |
|-------:|-----:|--------------|----------------------------------------------------------------------------------------|
| 0      | 1    | version      | 1                                                                                      |
| 1      | 1    | kind         | `Kind`                                                                                 |
| 2      | 2    | attempt      | which attempt of the stream this belongs to; a receiver drops every other              |
| 4      | 4    | seq          | 0, 1, 2… in this direction of this attempt; shows gaps and repeats                     |
| 8      | 4    | ack          | worker to owner: how many input frames (seq < ack) need never be replayed; else 0      |
| 12     | 8    | timestamp_us | audio: media time of the first sample; all others: sender's time since the stream open |

The body of AUDIO is 1 to 50 frames of 20 ms (see `audio`), of MESSAGE, ERROR and MOVING a JSON message, of all others empty.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from voxbus.contracts.audio import FRAME_BYTES, MAX_FRAMES_PER_MESSAGE

VERSION: Final = 1
HEADER: Final = struct.Struct("<BBHIIQ")
HEADER_BYTES: Final = HEADER.size


class Kind(IntEnum):
    """What a frame carries."""

    AUDIO = 1
    """Audio, either way."""
    MESSAGE = 2
    """A JSON message of the stage, either way."""
    HEARTBEAT = 3
    """Nothing but a sign of life, either way. Numbered like the rest, so that it shows a lost frame."""
    CLOSE = 4
    """From the owner: no more input, finish. From the worker: all output has been sent, the stream is over."""
    CANCEL = 5
    """From the owner: stop at once and send nothing more."""
    ERROR = 6
    """From the worker: the stream ends with this `StageError`."""
    MOVING = 7
    """From the worker: it is draining; open the stream on another worker, I go on until you do."""


class FrameError(ValueError):
    """The bytes are no frame that this version understands."""


class Frame(NamedTuple):
    """A decoded frame; `body` shares the received bytes' content but not their memory."""

    kind: Kind
    attempt: int
    seq: int
    ack: int
    timestamp_us: int
    body: bytes


_KINDS: Final = {int(kind): kind for kind in Kind}


def encode_frame(
    kind: Kind,
    *,
    attempt: int,
    seq: int,
    ack: int = 0,
    timestamp_us: int = 0,
    body: bytes | bytearray | memoryview = b"",
) -> bytes:
    """Header and body as bytes, ready to publish."""
    return HEADER.pack(VERSION, kind, attempt, seq, ack, timestamp_us) + body


def decode_frame(data: bytes) -> Frame:
    """The frame in `data`.

    Raises FrameError when the data is too short, of another version or kind, or when its audio is not 1 to 50 whole frames.
    """
    if len(data) < HEADER_BYTES:
        raise FrameError(f"a frame has at least {HEADER_BYTES} bytes, got {len(data)}")
    version, kind_number, attempt, seq, ack, timestamp_us = HEADER.unpack_from(data)
    if version != VERSION:
        raise FrameError(f"frame version {version} is not supported, only {VERSION}")
    kind = _KINDS.get(kind_number)
    if kind is None:
        raise FrameError(f"frame kind {kind_number} is unknown")
    body = data[HEADER_BYTES:]
    if kind is Kind.AUDIO:
        frames, rest = divmod(len(body), FRAME_BYTES)
        if rest or not 1 <= frames <= MAX_FRAMES_PER_MESSAGE:
            raise FrameError(
                f"audio must be 1 to {MAX_FRAMES_PER_MESSAGE} frames of {FRAME_BYTES} bytes, got {len(body)} bytes"
            )
    return Frame(kind, attempt, seq, ack, timestamp_us, body)
