"""Whole frames out of a byte stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxbus.contracts.audio import FRAME_BYTES
from voxbus.runtime.audio import Reframer

pytestmark = pytest.mark.unit


@given(st.lists(st.binary(max_size=3 * FRAME_BYTES), max_size=8))
def test_only_whole_frames_and_nothing_lost(chunks: list[bytes]) -> None:
    """Each push gives whole frames, and pushes and flush together give the input padded with silence."""
    reframer = Reframer()
    pieces = [reframer.push(chunk) for chunk in chunks]
    assert all(len(piece) % FRAME_BYTES == 0 for piece in pieces)
    data = b"".join(chunks)
    padding = bytes(-len(data) % FRAME_BYTES)
    assert b"".join([*pieces, reframer.flush()]) == data + padding


def test_a_frame_leaves_as_soon_as_it_is_whole() -> None:
    """The push that completes a frame returns it; nothing waits longer than needed."""
    reframer = Reframer()
    assert reframer.push(bytes(FRAME_BYTES - 1)) == b""
    assert reframer.push(b"\1\2") == bytes(FRAME_BYTES - 1) + b"\1"
    assert reframer.flush() == b"\2" + bytes(FRAME_BYTES - 1)


def test_flush_without_a_rest_is_empty() -> None:
    """A stream that ends on a frame border gets no frame of silence."""
    reframer = Reframer()
    reframer.push(bytes(2 * FRAME_BYTES))
    assert reframer.flush() == b""
