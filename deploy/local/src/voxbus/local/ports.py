"""Ports: the default one when it is free, else any free one.

Between choosing a port and the start of the server that listens on it lie seconds in which another stack could choose it
as well. So every port is locked by a file that all stacks of a user share, until the stack ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from voxbus.local.errors import UsageError

HOST: Final = "127.0.0.1"
_FREE_RANGE: Final = range(20_000, 32_000)
"""Below the ports that systems give to outgoing connections, which come and go."""


def is_free(port: int, host: str = HOST) -> bool:
    """Whether a server could listen on `port` now, by the same rules as asyncio's and Go's servers."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


class PortPlan:
    """Hands out ports, each once on this machine. Use it as a context manager that spans the life of the servers."""

    def __init__(self, host: str = HOST) -> None:
        self._host = host
        self._locks: dict[int, int] = {}  # port -> descriptor of its locked file
        self._directory = Path(tempfile.gettempdir()) / f"voxbus-ports-{os.getuid()}"

    def __enter__(self) -> Self:
        """Nothing is locked yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the ports back."""
        for descriptor in self._locks.values():
            os.close(descriptor)
        self._locks.clear()

    def take(self, purpose: str, default: int, *, asked: int | None = None) -> int:
        """`asked`, which must be free (else UsageError); without it `default` when that is free, else any free port."""
        if asked is not None:
            if not self._reserve(asked):
                raise UsageError(
                    f"port {asked} for {purpose} is in use",
                    "name another one, or leave the option out to get a free one",
                )
            return asked
        return default if self._reserve(default) else self.take_free()

    def take_free(self) -> int:
        """Any free port."""
        while True:
            port = random.choice(_FREE_RANGE)  # noqa: S311 - nobody needs to be surprised by it
            if self._reserve(port):
                return port

    def _reserve(self, port: int) -> bool:
        if port in self._locks:
            return False
        self._directory.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(self._directory / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        if not is_free(port, self._host):
            os.close(descriptor)
            return False
        self._locks[port] = descriptor
        return True
