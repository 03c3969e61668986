"""A failed request, as services raise it and callers catch it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import ValidationError

from voxbus.contracts.rpc import FieldProblem, RequestError, RequestErrorCode


class RequestFailedError(Exception):
    """Why a request failed. Raised by a handler it becomes the answer, and `RpcClient` raises it anew at the other end."""

    def __init__(
        self,
        code: RequestErrorCode,
        message: str,
        *,
        problems: Sequence[FieldProblem] = (),
        retryable: bool = False,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.error = RequestError(code=code, message=message, retryable=retryable, problems=tuple(problems))

    @property
    def code(self) -> RequestErrorCode:
        """The code of `error`."""
        return self.error.code


def invalid(path: str, message: str) -> RequestFailedError:
    """INVALID with one problem; `path` is a JSON pointer such as `/spec/name`."""
    problem = FieldProblem(path=path, message=message)
    return RequestFailedError(RequestErrorCode.INVALID, "the request is not valid", problems=(problem,))


def not_found(what: str) -> RequestFailedError:
    """NOT_FOUND: "there is no such agent" for `agent`."""
    return RequestFailedError(RequestErrorCode.NOT_FOUND, f"there is no such {what}")


def unavailable(message: str) -> RequestFailedError:
    """UNAVAILABLE, worth another try."""
    return RequestFailedError(RequestErrorCode.UNAVAILABLE, message, retryable=True)


def problems_of(error: ValidationError, prefix: str = "") -> tuple[FieldProblem, ...]:
    """What pydantic found, with JSON pointers below `prefix`. Holds nothing of the values."""
    return tuple(
        FieldProblem(path=prefix + pointer(problem["loc"]), message=problem["msg"].removeprefix("Value error, "))
        for problem in error.errors(include_url=False, include_input=False, include_context=False)
    )


def pointer(parts: Iterable[str | int]) -> str:
    """The JSON pointer of a path (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)
