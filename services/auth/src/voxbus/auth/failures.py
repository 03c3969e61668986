"""Why requests fail here, in the words that clients see."""

from __future__ import annotations

from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError


def bad_credentials() -> RequestFailedError:
    """The one answer to a log-in that fails, whatever is wrong."""
    return RequestFailedError(RequestErrorCode.UNAUTHENTICATED, "email or password is wrong")


def login_ended() -> RequestFailedError:
    """The one answer to a refresh token that is not good."""
    return RequestFailedError(RequestErrorCode.UNAUTHENTICATED, "the login has ended, log in again")


def bad_api_key() -> RequestFailedError:
    """The one answer to an API key that is not good."""
    return RequestFailedError(RequestErrorCode.UNAUTHENTICATED, "the API key is not valid")


def nobody() -> RequestFailedError:
    """The request is about its sender, and there is none."""
    return RequestFailedError(RequestErrorCode.UNAUTHENTICATED, "this is done by a user")


def forbidden(message: str) -> RequestFailedError:
    """The actor may not do this."""
    return RequestFailedError(RequestErrorCode.FORBIDDEN, message)


def conflict(message: str, *, retryable: bool = False) -> RequestFailedError:
    """The state of things does not allow it."""
    return RequestFailedError(RequestErrorCode.CONFLICT, message, retryable=retryable)


def email_taken() -> RequestFailedError:
    """Emails are unique."""
    return conflict("there is a user of this email")


def stale(what: str) -> RequestFailedError:
    """The record has another revision than the sender expects."""
    return RequestFailedError(RequestErrorCode.STALE, f"the {what} was changed meanwhile, read it again")
