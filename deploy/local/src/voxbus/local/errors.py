"""What can go wrong on the command line. Every message says what to do; `exit_code` is the command's."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import ClassVar


class ExitCode(IntEnum):
    """Exit codes of the `voxbus` command."""

    OK = 0
    FAILED = 1
    """It was tried and did not succeed: a process would not start, a call went unanswered."""
    USAGE = 2
    """The command line is wrong."""
    NOT_RUNNING = 3
    """There is no stack, or it cannot be reached."""
    REFUSED = 4
    """The gateway refused the call: token, agent or capacity."""
    ALREADY_RUNNING = 5
    """A stack already runs in this state directory."""
    INTERRUPTED = 130
    """Ctrl-C."""


class CommandError(Exception):
    """Ends the command with a message for a person; `hint` says what to do."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(CommandError):
    """The options cannot be used."""

    exit_code = ExitCode.USAGE


class StackNotRunningError(CommandError):
    """No stack runs in the state directory."""

    exit_code = ExitCode.NOT_RUNNING

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"no stack runs in {path}", "start one with `voxbus up`, or name its directory with --state-dir"
        )


class StackRunningError(CommandError):
    """A second stack in the same state directory."""

    exit_code = ExitCode.ALREADY_RUNNING

    def __init__(self, path: Path, pid: int | None) -> None:
        by = f" (process {pid})" if pid else ""
        super().__init__(
            f"a stack already runs in {path}{by}",
            "stop it with `voxbus down`, look at it with `voxbus status`, or start another with --state-dir",
        )


class ProcessFailedError(CommandError):
    """A process of the stack died or did not get ready; `tail` is the end of its log."""

    def __init__(self, message: str, hint: str, tail: tuple[str, ...]) -> None:
        super().__init__(message, hint)
        self.tail = tail


class GatewayUnreachableError(CommandError):
    """Nobody answers at the gateway's address."""

    exit_code = ExitCode.NOT_RUNNING


class CallRefusedError(CommandError):
    """The gateway did not take the call."""

    exit_code = ExitCode.REFUSED

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(f"the gateway refused the call: {message} ({code})", hint)
        self.code = code
