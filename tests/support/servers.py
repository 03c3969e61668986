"""Real servers on free ports of 127.0.0.1, for tests and benchmarks."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sysconfig
import time
from pathlib import Path

import nats
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from voxbus.runtime.event_streams import StreamChange, apply_streams

MONGO_START_S = 60.0  # it needs about three seconds alone, and much longer on a loaded machine


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _script(name: str) -> str:
    """Path of an installed program of this environment; the search path is not asked."""
    scripts = sysconfig.get_path("scripts")
    binary = shutil.which(name, path=scripts)
    assert binary, f"{name} is missing in {scripts}; run `uv sync`"
    return binary


def provision(nats_url: str) -> list[StreamChange]:
    """Apply the platform's streams, as `voxbus up` does; what was changed. In a running loop await `provision_bus`."""
    return asyncio.run(provision_bus(nats_url))


async def provision_bus(nats_url: str) -> list[StreamChange]:
    """`provision`, for callers that have a loop."""
    bus = await nats.connect(nats_url)
    try:
        return await apply_streams(bus.jetstream())
    finally:
        await bus.close()


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
        command = [_script("nats-server"), "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self._directory)]
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


class MongoServer:
    """SecantusDB: a server of MongoDB's wire protocol that can be killed and started again on the same port."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"mongodb://127.0.0.1:{self.port}"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running server."""
        assert self._process, "not started"
        return self._process.pid

    def start(self) -> None:
        """Start and wait until it answers a ping (about 3 s: share one server between tests).

        `--sync-on-commit`: without it a kill loses writes that were already acknowledged.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        command = [_script("secantusd-py"), "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--storage-path", str(self._directory), "--log-level", "WARNING", "--sync-on-commit"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + MONGO_START_S
        while not self._answers():
            assert self._process.poll() is None, f"the server ended at once with code {self._process.returncode}"
            if time.monotonic() > deadline:
                raise TimeoutError("the MongoDB server did not start")
            time.sleep(0.05)

    def stop(self) -> None:
        """Kill it, as a crash would, and wait."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def terminate(self) -> None:
        """Ask it to end, as a careful operator would, and wait."""
        if self._process:
            self._process.terminate()
            self._process.wait(timeout=15)
            self._process = None

    def _answers(self) -> bool:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)) != 0:
                return False
        with MongoClient[dict[str, object]](self.url, serverSelectionTimeoutMS=1000) as client:
            try:
                client.admin.command("ping")
            except PyMongoError:
                return False
        return True
