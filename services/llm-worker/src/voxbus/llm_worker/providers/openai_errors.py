"""What went wrong in the openai SDK, as failures of the stage.

The server's own message is left out: it may repeat what the caller said, or the key.
"""

from __future__ import annotations

import re

from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError

from voxbus.contracts.stage import ErrorCode
from voxbus.runtime.streams import StageFailure

_PLAIN_CODE = re.compile(r"[a-z_]{1,64}")


def failure_of(error: Exception) -> StageFailure:
    """The failure for an exception of the SDK or of reading its stream."""
    if isinstance(error, TimeoutError | APITimeoutError):
        return StageFailure(ErrorCode.TIMEOUT, "the server did not answer in time", retryable=True)
    if isinstance(error, APIStatusError):
        return _of_status(error)
    if isinstance(error, APIConnectionError):
        message = "the server cannot be reached, or it dropped the connection"
    elif isinstance(error, APIError):
        message = "the server reported an error in the middle of the reply"
    else:
        message = f"the server sent something that is no chat completion ({type(error).__name__})"
    return StageFailure(ErrorCode.PROVIDER_FAILED, message, retryable=True)


def _of_status(error: APIStatusError) -> StageFailure:
    status = error.status_code
    code = f" ({error.code})" if isinstance(error.code, str) and _PLAIN_CODE.fullmatch(error.code) else ""
    message = f"the server answered with status {status}{code}"
    if status == 408:
        return StageFailure(ErrorCode.TIMEOUT, message, retryable=True)
    if status in (409, 425, 429) or status >= 500:
        return StageFailure(ErrorCode.PROVIDER_FAILED, message, retryable=True)
    return StageFailure(ErrorCode.PROVIDER_REJECTED, message, retryable=False)
