"""Real servers on free ports of 127.0.0.1, for tests and benchmarks."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sysconfig
import time
from pathlib import Path


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class NatsServer:
    """A real nats-server that can be stopped, killed and started again on the same port."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running server."""
        assert self._process, "not started"
        return self._process.pid

    def start(self) -> None:
        """Start and wait until it accepts connections."""
        scripts = sysconfig.get_path("scripts")
        binary = shutil.which("nats-server", path=scripts)
        assert binary, f"nats-server is missing in {scripts}; run `uv sync`"
        command = [binary, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self._directory)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        raise TimeoutError("nats-server did not start")

    def stop(self) -> None:
        """End it and wait."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
