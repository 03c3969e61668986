"""The order of the start."""

from __future__ import annotations

from enum import IntEnum


class Rank(IntEnum):
    """What starts first, and stops last."""

    SERVERS = 0
    SERVICES = 1
