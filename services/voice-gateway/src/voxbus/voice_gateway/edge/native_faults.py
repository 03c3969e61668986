"""What can go wrong on a native connection: which error and which close code a client gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog
from pydantic import ValidationError

from voxbus.contracts.call import EndReason
from voxbus.contracts.native import NativeErrorCode
from voxbus.runtime.rpc import RequestFailedError
from voxbus.voice_gateway.edge.close_code import CloseCode
from voxbus.voice_gateway.edge.tokens import InvalidTokenError

log = structlog.get_logger(__name__)

REFUSAL_CLOSE: Final[Mapping[NativeErrorCode, CloseCode]] = {
    NativeErrorCode.INVALID_MESSAGE: CloseCode.BAD_REQUEST,
    NativeErrorCode.NOT_AUTHENTICATED: CloseCode.UNAUTHORISED,
    NativeErrorCode.INVALID_TOKEN: CloseCode.UNAUTHORISED,
    NativeErrorCode.UNKNOWN_AGENT: CloseCode.UNKNOWN_AGENT,
    NativeErrorCode.AUTH_TIMEOUT: CloseCode.AUTH_TIMEOUT,
    NativeErrorCode.OVERLOADED: CloseCode.OVERLOADED,
}
"""The close code of a client that gets no call; 1011 for what is not here."""
BREACH_CODE: Final[Mapping[CloseCode, NativeErrorCode]] = {
    CloseCode.TOO_LARGE: NativeErrorCode.TOO_LARGE,
    CloseCode.INTERNAL: NativeErrorCode.INTERNAL,
    CloseCode.FLOOD: NativeErrorCode.OVERLOADED,
    CloseCode.PROTOCOL_ERROR: NativeErrorCode.INVALID_MESSAGE,
}
"""The error of a client that broke a limit of the connection."""
END_CLOSE: Final[Mapping[EndReason, CloseCode]] = {
    EndReason.GATEWAY_STOPPED: CloseCode.GOING_AWAY,
    EndReason.INTERNAL_ERROR: CloseCode.INTERNAL,
}
"""The close code after `ended`; 1000 for what is not here."""


def explain(error: ValidationError) -> str:
    """The first problem of a message, without what the client sent."""
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if problem["type"] == "union_tag_invalid":
        return "unknown type; known are auth, audio, mark, dtmf, hangup"
    if problem["type"] == "union_tag_not_found":
        return "a message is a JSON object with a type"
    where = ".".join(str(part) for part in problem["loc"][1:])
    return f"{where}: {problem['msg']}" if where else problem["msg"]


def token_refusal(error: Exception) -> tuple[NativeErrorCode, str]:
    """What a client is told whose token was not verified; a failure of ours is logged."""
    if isinstance(error, InvalidTokenError):
        return NativeErrorCode.INVALID_TOKEN, str(error)
    if isinstance(error, RequestFailedError):
        return (NativeErrorCode.OVERLOADED if error.error.retryable else NativeErrorCode.INTERNAL), error.error.message
    log.error("token could not be verified", exc_info=error)
    return NativeErrorCode.INTERNAL, "the token could not be verified"
