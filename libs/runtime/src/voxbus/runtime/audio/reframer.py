"""Whole frames out of a byte stream."""

from __future__ import annotations

from voxbus.contracts.audio import FRAME_BYTES


class Reframer:
    """Cuts a stream of chunks of any size, down to single bytes, in whole frames; the rest waits for the next chunk."""

    def __init__(self, frame_bytes: int = FRAME_BYTES) -> None:
        self._frame_bytes = frame_bytes
        self._rest = b""

    def push(self, pcm: bytes) -> bytes:
        """As many whole frames as there are now, in one piece; may be empty."""
        data = self._rest + pcm if self._rest else pcm
        whole = len(data) - len(data) % self._frame_bytes
        self._rest = data[whole:]
        return data[:whole]

    def flush(self) -> bytes:
        """The rest, padded with silence to a whole frame; empty when there is none. The next chunk starts a new stream."""
        rest, self._rest = self._rest, b""
        return rest.ljust(self._frame_bytes, b"\0") if rest else b""
