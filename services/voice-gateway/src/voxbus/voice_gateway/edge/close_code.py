"""The close codes that clients see. The page for client authors is docs/protocols/native.md."""

from __future__ import annotations

from enum import IntEnum


class CloseCode(IntEnum):
    """RFC 6455, and 44xx of our own: the HTTP status of the same meaning plus 4000."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    TOO_LARGE = 1009
    INTERNAL = 1011
    BAD_REQUEST = 4400
    UNAUTHORISED = 4401
    UNKNOWN_AGENT = 4404
    AUTH_TIMEOUT = 4408
    FLOOD = 4429
    SLOW_READER = 4430
    OVERLOADED = 4503
