"""What the REST API answers when it refuses (RFC 9457), as errors of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import httpx

from voxbus.local.errors import CommandError, ExitCode, GatewayUnreachableError

_SHOWN_PROBLEMS: Final = 20
_HINTS: Final = {
    401: "log in with `voxbus login`, or check VOXBUS_API_KEY",
    404: "it does not exist, or it is not yours",
    412: "somebody changed it meanwhile: look at it again, then repeat",
    413: "send less at once",
}


class ApiError(CommandError):
    """The API answered with a problem document. `problems` are pairs of a JSON pointer and a sentence."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        problems: Sequence[tuple[str, str]] = (),
        hint: str = "",
        request_id: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__("\n".join([message, *_lines(message, problems)]), hint)
        self.status = status
        self.code = code
        self.problems = tuple(problems)
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class AccessRefusedError(ApiError):
    """401 or 403: not logged in, or not allowed."""

    exit_code = ExitCode.REFUSED


class NotLoggedInError(CommandError):
    """There is no login to use, or it has ended."""

    exit_code = ExitCode.REFUSED

    def __init__(self, message: str, url: str) -> None:
        super().__init__(message, f"log in with `voxbus login --url {url}`, or set VOXBUS_API_KEY")


def error_of(response: httpx.Response) -> CommandError:
    """The error that a response with a status of 400 or more stands for."""
    problem = _problem(response)
    if problem is None:
        return GatewayUnreachableError(
            f"{response.url} answered {response.status_code} and not as Voxbus' API does", "check --url"
        )
    status = response.status_code
    problems = _fields(problem.get("errors"))
    message = _message(problem, problems) or response.reason_phrase
    request_id = problem.get("request_id") or response.headers.get("x-request-id")
    kind = AccessRefusedError if status in (401, 403) else ApiError
    return kind(
        status,
        str(problem.get("code") or ""),
        message,
        problems=problems,
        hint=_hint(response, request_id),
        request_id=request_id,
        retry_after_s=retry_after_s(response),
    )


def retry_after_s(response: httpx.Response) -> int | None:
    """When to try again; None when it was not said."""
    text = response.headers.get("retry-after", "")
    return int(text) if text.isdecimal() else None


def _message(problem: dict[str, Any], problems: Sequence[tuple[str, str]]) -> str:
    title, detail = str(problem.get("title") or ""), str(problem.get("detail") or "")
    if len(problems) > 1:
        return title
    if len(problems) == 1 and problems[0][1] == detail:
        return f"{problems[0][0]}: {detail}" if problems[0][0] else detail
    return detail or title


def _lines(message: str, problems: Sequence[tuple[str, str]]) -> list[str]:
    """One line for each problem that the message does not tell already."""
    lines = [f"  {pointer or '/'}: {text}" for pointer, text in problems]
    if len(lines) == 1 and problems[0][1] in message:
        return []
    more = len(lines) - _SHOWN_PROBLEMS
    return [*lines[:_SHOWN_PROBLEMS], f"  … and {more} more"] if more > 0 else lines


def _problem(response: httpx.Response) -> dict[str, Any] | None:
    if "json" not in response.headers.get("content-type", ""):
        return None
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _fields(errors: Any) -> list[tuple[str, str]]:
    if not isinstance(errors, list):
        return []
    return [(str(e.get("pointer", "")), str(e.get("detail", ""))) for e in errors if isinstance(e, dict)]


def _hint(response: httpx.Response, request_id: str | None) -> str:
    seconds = retry_after_s(response)
    if seconds is not None:
        return f"try again in {seconds} s"
    if response.status_code >= 500:
        return f"look for request {request_id} in the logs of the REST gateway" if request_id else "try again"
    if response.status_code == httpx.codes.UNAUTHORIZED and "authorization" not in response.request.headers:
        return ""  # a login was tried, and logging in is not the way out
    return _HINTS.get(response.status_code, "")
