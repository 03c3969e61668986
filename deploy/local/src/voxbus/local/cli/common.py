"""What the commands share: options, the console, errors as sentences and exit codes."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TextIO, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from voxbus.local.errors import CommandError, ExitCode, ProcessFailedError
from voxbus.local.state import StateDir

P = ParamSpec("P")
T = TypeVar("T")

_WIDTH_WITHOUT_TERMINAL = 160


def _console(file: TextIO, *, stderr: bool = False) -> Console:
    # Not bound to `file`: a console finds sys.stdout anew each time, which tests replace.
    return Console(
        stderr=stderr, highlight=False, emoji=False, width=None if file.isatty() else _WIDTH_WITHOUT_TERMINAL
    )


out = _console(sys.stdout)
"""Answers, on stdout."""
err = _console(sys.stderr, stderr=True)
"""Everything that is no answer, on stderr."""

StateDirOption = Annotated[
    Path,
    typer.Option(
        "--state-dir",
        envvar="VOXBUS_STATE_DIR",
        help="Directory of the stack: keys, data, logs.",
        file_okay=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def print_plain(text: str) -> None:
    """Text for programs on stdout: never wrapped, coloured or read as markup."""
    out.out(text, highlight=False)


def printable(text: str) -> str:
    """Text of others without control characters, which would steer the terminal."""
    return "".join(char if char.isprintable() or char == "\n" else "·" for char in text)


def state_dir(path: Path) -> StateDir:
    """The state directory of an option."""
    return StateDir(path)


def print_error(error: CommandError) -> None:
    """What went wrong, the end of the log where there is one, and what to do."""
    err.print(Text.assemble(("error: ", "bold red"), printable(str(error))))
    if isinstance(error, ProcessFailedError):
        for line in error.tail:
            err.print(Text(f"  | {printable(line)}", "dim"))
    if error.hint:
        err.print(Text.assemble(("hint:  ", "bold"), printable(error.hint)), soft_wrap=True)


def reports_errors(command: Callable[P, ExitCode | None]) -> Callable[P, None]:
    """Turn CommandError, Ctrl-C and the returned code into the exit of the process."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
        except CommandError as error:
            print_error(error)
            code = error.exit_code
        except (KeyboardInterrupt, asyncio.CancelledError):
            code = ExitCode.INTERRUPTED
        if code:
            raise typer.Exit(int(code))

    return run


class Stopping:
    """SIGINT, SIGTERM and SIGHUP as an event; a second one calls `hurry`."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.interrupted = False
        self.hurry: Callable[[], None] | None = None
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: int) -> None:
        if self.event.is_set() and self.hurry is not None:
            self.hurry()
        self.interrupted = self.interrupted or number == signal.SIGINT
        self.event.set()

    async def race(self, work: Awaitable[T]) -> T | None:
        """The result of `work`, or None when a signal came first; `work` is then cancelled and finished."""
        task = asyncio.ensure_future(work)
        stop = asyncio.create_task(self.event.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            return None
        finally:
            stop.cancel()
            task.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine."""
    return asyncio.run(main)
