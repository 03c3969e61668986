"""One process of the stack: started on a leash, writing its own log file, stopped politely and then not."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from voxbus.local import leash

TAIL_LINES: Final = 15
_TAIL_BYTES: Final = 16 * 1024


@dataclass(frozen=True)
class Preparation:
    """A command that must have succeeded once before a process starts; processes that name an equal one share the run."""

    name: str
    title: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(hash=False, default_factory=dict)


@dataclass(frozen=True)
class ProcessSpec:
    """What to run. Processes of one `rank` start together, after the gates of lower ranks are ready; they stop in reverse."""

    name: str
    service: str
    rank: int
    command: tuple[str, ...]
    ready_url: str
    """Answers 200, or a ping of MongoDB, when the process is ready."""
    health_url: str
    """Answers likewise when the process is alive."""
    ports: Mapping[str, int]
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment of the supervisor."""
    hint: str = ""
    """What to do when it does not start."""
    start_timeout_s: float = 60.0
    stop_grace_s: float = 8.0
    preparation: Preparation | None = None
    identifies: bool = False
    """It takes its id from VOXBUS_INSTANCE_ID and tells it in its ready answer."""
    gate: bool = True
    """Higher ranks wait until it is ready."""
    on_ready: Callable[[], Awaitable[object]] | None = None
    """Done at each start before it counts as ready; may raise CommandError."""
    on_stopping: Callable[[], Awaitable[object]] | None = None
    """Runs from the SIGTERM on, until the process has ended."""


class ManagedProcess:
    """A running command. It writes straight into its log file, so that a slow terminal never slows a service."""

    def __init__(self, name: str, log_file: Path) -> None:
        self.name = name
        self.log_file = log_file
        self.started_at = 0.0
        self._process: asyncio.subprocess.Process | None = None
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """The process id; None before the start and after the end."""
        return self._process.pid if self._process and self._process.returncode is None else None

    @property
    def exit_code(self) -> int | None:
        """The exit code, -N when signal N ended it; None while it runs."""
        return self._process.returncode if self._process else None

    async def start(self, command: tuple[str, ...], env: Mapping[str, str]) -> None:
        """Start the command. It lives in a session of its own, so a Ctrl-C of the terminal reaches only the supervisor."""
        with self.log_file.open("ab") as log_file:
            self._log_start = log_file.tell()
            self.started_at = time.monotonic()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *command,
                stdin=asyncio.subprocess.DEVNULL, stdout=log_file, stderr=log_file,
                env={**os.environ, **env}, start_new_session=True,
            )  # fmt: skip

    async def wait(self) -> int:
        """Wait for its end and return the exit code."""
        assert self._process is not None  # noqa: S101
        return await self._process.wait()

    async def stop(self, grace_s: float, meanwhile: Callable[[], Awaitable[object]] | None = None) -> bool:
        """SIGTERM, after `grace_s` SIGKILL to it and its children; returns whether the SIGTERM was enough.

        `meanwhile` runs until the process has ended.
        """
        if self._process is None or self._process.returncode is not None:
            return True
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        helping = asyncio.ensure_future(meanwhile()) if meanwhile else None
        try:
            async with asyncio.timeout(grace_s):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()
            return False
        finally:
            if helping is not None:
                helping.cancel()
                await asyncio.gather(helping, return_exceptions=True)
        return True

    def kill(self) -> None:
        """SIGKILL to it and to the children it may have."""
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def tail(self, lines: int = TAIL_LINES) -> tuple[str, ...]:
        """The last lines it has written since its start."""
        with self.log_file.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
        return tuple(text.splitlines()[-lines:])


def describe_exit(code: int) -> str:
    """`exit code 3`, or the name of the signal."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def memory_bytes(pid: int) -> int | None:
    """Resident memory of a process; None when it is gone, or where there is no /proc."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
