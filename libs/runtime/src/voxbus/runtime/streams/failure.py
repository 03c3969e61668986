"""A failure that has a code and says whether another try may succeed."""

from __future__ import annotations

from voxbus.contracts.stage import ErrorCode, StageError


class StageFailure(Exception):  # noqa: N818  # `StageError` is its message on the bus
    """Raised by a stage for what it cannot do; travels as a `StageError`."""

    def __init__(self, code: ErrorCode, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable

    @classmethod
    def of(cls, error: StageError) -> StageFailure:
        """The failure that a received error stands for."""
        return cls(error.code, error.message, retryable=error.retryable)

    def to_error(self) -> StageError:
        """The error to send."""
        return StageError(code=self.code, message=self.message, retryable=self.retryable)
