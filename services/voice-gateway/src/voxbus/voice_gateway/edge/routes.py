"""Which wire protocol is spoken on which path of the voice port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from voxbus.voice_gateway.edge.native import NATIVE
from voxbus.voice_gateway.edge.wire import WireProtocol

ROUTES: Final[Mapping[str, WireProtocol]] = {
    "/": NATIVE,
    "/v1/voice": NATIVE,
}
