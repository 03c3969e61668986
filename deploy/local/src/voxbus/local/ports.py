"""Ports: the default one when it is free, else any free one."""

from __future__ import annotations

import socket
from typing import Final

from voxbus.local.errors import UsageError

HOST: Final = "127.0.0.1"


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
    """Hands out ports, each once."""

    def __init__(self, host: str = HOST) -> None:
        self._host = host
        self._taken: set[int] = set()

    def take(self, purpose: str, default: int, *, asked: int | None = None) -> int:
        """`asked`, which must be free (else UsageError); without it `default` when that is free, else any free port."""
        if asked is not None:
            if asked in self._taken or not is_free(asked, self._host):
                raise UsageError(
                    f"port {asked} for {purpose} is in use",
                    "name another one, or leave the option out to get a free one",
                )
            return self._reserve(asked)
        if default not in self._taken and is_free(default, self._host):
            return self._reserve(default)
        return self.take_free()

    def take_free(self) -> int:
        """Any free port."""
        while True:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.bind((self._host, 0))
                port: int = probe.getsockname()[1]
            if port not in self._taken:
                return self._reserve(port)

    def _reserve(self, port: int) -> int:
        self._taken.add(port)
        return port
