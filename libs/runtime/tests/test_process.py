"""The life of a process, as its supervisor sees it."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
from servers import NatsServer, free_port

from voxbus.contracts.stage import ProcessStatus
from voxbus.contracts.subjects import STATUS
from voxbus.runtime import process

pytestmark = pytest.mark.integration

WORKER = Path(__file__).parent / "streams" / "echo_worker.py"


class Worker:
    """A real process of the echo stage."""

    def __init__(self, nats_url: str, directory: Path, **environment: str) -> None:
        self.port = free_port()
        self._log = directory / "worker.log"
        settings = {"VOXBUS_NATS_URL": nats_url, "VOXBUS_HTTP_PORT": str(self.port), **environment}
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(WORKER)],
                env={**os.environ, **settings},
                cwd=directory,
                stdout=output,
                stderr=output,
            )

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a request to its HTTP port; 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text()


def until(condition: Callable[[], Any], timeout_s: float = 15) -> None:
    """Poll a condition of another process."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Start workers; they are killed at the end of the test."""
    started: list[Worker] = []

    def make(nats_url: str, **environment: str) -> Worker:
        started.append(Worker(nats_url, tmp_path, **environment))
        return started[-1]

    yield make
    for worker in started:
        worker.process.kill()
        worker.process.wait()


def test_a_process_is_ready_shows_metrics_and_stops_on_sigterm(nats_url: str, start: Callable[..., Worker]) -> None:
    """Health, readiness and metrics are served; SIGTERM ends it with code 0 and without a traceback."""
    worker = start(nats_url)
    until(lambda: worker.get("/ready")[0] == 200)
    status, body = worker.get("/health")
    assert status == 200
    assert json.loads(body)["checks"] == {"started": "ok", "bus": "ok", "engine": "ok", "accepting": "ok"}
    assert "voxbus_stage_streams_capacity" in worker.get("/metrics")[1]
    assert worker.get("/nothing")[0] == 404
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(10) == 0
    messages = [json.loads(line)["message"] for line in worker.log().splitlines()]
    assert messages == ["starting", "ready", "draining", "stopped"]


def test_what_is_there_at_the_start_is_not_looked_at_by_the_collector() -> None:
    """A full collection of a ready process leaves out the objects of its imports, which are most of them."""
    try:
        process._spare_collector()
        assert gc.get_freeze_count() > 10 * len(gc.get_objects())
    finally:
        gc.unfreeze()


def test_a_process_waits_for_the_bus(nats_server: NatsServer, start: Callable[..., Worker]) -> None:
    """Started before the bus it is alive but not ready, and becomes ready when the bus comes."""
    nats_server.stop()
    worker = start(nats_server.url)
    until(lambda: worker.get("/health")[0] == 200)
    assert worker.get("/ready")[0] == 503
    nats_server.start()
    until(lambda: worker.get("/ready")[0] == 200)


def test_a_process_that_waits_for_the_bus_can_be_stopped(nats_server: NatsServer, start: Callable[..., Worker]) -> None:
    """SIGTERM ends it also before it was ever connected."""
    nats_server.stop()
    worker = start(nats_server.url)
    until(lambda: worker.get("/health")[0] == 200)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(10) == 0
    assert "Traceback" not in worker.log()


def test_readiness_follows_the_bus(nats_server: NatsServer, start: Callable[..., Worker]) -> None:
    """Not ready while the bus is away, ready again when it is back."""
    worker = start(nats_server.url)
    until(lambda: worker.get("/ready")[0] == 200)
    nats_server.stop()
    until(lambda: worker.get("/ready")[0] == 503)
    assert worker.get("/health")[0] == 200
    nats_server.start()
    until(lambda: worker.get("/ready")[0] == 200)


def test_a_taken_port_is_said_plainly(nats_url: str, start: Callable[..., Worker]) -> None:
    """The second process on a port ends with a message, not with a traceback."""
    first = start(nats_url)
    until(lambda: first.get("/ready")[0] == 200)
    second = start(nats_url, VOXBUS_HTTP_PORT=str(first.port))
    assert second.process.wait(15) == 3
    assert f"port {first.port} of health and metrics" in second.log()
    assert "Traceback" not in second.log()


def test_a_wrong_setting_is_named(nats_url: str, start: Callable[..., Worker]) -> None:
    """The message says which variable is wrong and why."""
    worker = start(nats_url, VOXBUS_CAPACITY="none")
    assert worker.process.wait(15) == 2
    assert worker.log().startswith("VOXBUS_CAPACITY: ")


async def test_every_process_answers_for_its_status(nats_url: str, start: Callable[..., Worker]) -> None:
    """A request to all is answered with service, readiness and capacity."""
    worker = start(nats_url, VOXBUS_CAPACITY="7")
    await asyncio.to_thread(until, lambda: worker.get("/ready")[0] == 200)
    client = await nats.connect(nats_url)
    reply = await client.request(STATUS.template, b"", timeout=5)
    await client.close()
    status = ProcessStatus.model_validate_json(reply.data)
    assert (status.service, status.ready, status.capacity, status.active) == ("echo-worker", True, 7, 0)
    assert status.providers == ("echo",)


def test_a_process_stops_cleanly_while_the_bus_is_away(nats_server: NatsServer, start: Callable[..., Worker]) -> None:
    """SIGTERM in an outage of the bus ends it with code 0 and without a traceback."""
    worker = start(nats_server.url)
    until(lambda: worker.get("/ready")[0] == 200)
    nats_server.stop()
    until(lambda: worker.get("/ready")[0] == 503)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(15) == 0
    assert "Traceback" not in worker.log()


def test_waiting_for_the_bus_is_said(nats_server: NatsServer, start: Callable[..., Worker]) -> None:
    """A process that cannot reach the bus says so once in its log, and in its health."""
    nats_server.stop()
    worker = start(nats_server.url)
    until(lambda: "cannot be reached" in worker.log())
    assert json.loads(worker.get("/health")[1])["checks"]["bus"] == "not reached yet, trying again"
    assert worker.log().count("cannot be reached") == 1
