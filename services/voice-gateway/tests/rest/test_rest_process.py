"""The real process: its server, its limits behind a proxy, its start and its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fake_control_plane import FakeAuth
from servers import NatsServer, free_port, provision_bus

pytestmark = pytest.mark.integration


class Process:
    """A REST process."""

    def __init__(self, nats_url: str, directory: Path, environment: Mapping[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._directory = directory
        self._environment = {
            **os.environ, "VOXBUS_NATS_URL": nats_url, "VOXBUS_REST_PORT": str(self.port), **environment,
        }  # fmt: skip
        self.process: asyncio.subprocess.Process

    async def start(self) -> None:
        """Begin; does not wait."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "voxbus.voice_gateway.rest",
            env=self._environment,
            cwd=self._directory,
            stdout=asyncio.subprocess.PIPE,
        )

    async def ready(self) -> None:
        """Wait until it answers 200 on /ready."""
        deadline = time.monotonic() + 30
        async with httpx.AsyncClient() as client:
            while time.monotonic() < deadline:
                assert self.process.returncode is None
                try:
                    if (await client.get(self.url + "/ready")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)
        raise TimeoutError("the process did not get ready")

    async def end(self) -> str:
        """SIGTERM; what it has logged."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        output, _ = await asyncio.wait_for(self.process.communicate(), 20)
        return output.decode()


@asynccontextmanager
async def running(nats_url: str, directory: Path, **environment: str) -> AsyncIterator[Process]:
    """A process that is ready."""
    process = Process(nats_url, directory, environment)
    await process.start()
    try:
        await process.ready()
        yield process
    finally:
        await process.end()


@pytest_asyncio.fixture
async def keys(nats_server: NatsServer) -> AsyncIterator[None]:
    """Public keys can be fetched, without which a process does not get ready; logins are answered by nobody."""
    async with fake_auth(nats_server.url):
        yield


@asynccontextmanager
async def fake_auth(nats_url: str) -> AsyncIterator[FakeAuth]:
    """A service that has public keys."""
    auth = FakeAuth(nats_url, Ed25519PrivateKey.generate())
    await auth.start()
    try:
        yield auth
    finally:
        await auth.stop()


async def test_life(nats_server: NatsServer, tmp_path: Path) -> None:
    """It gets ready, answers, logs each request without its query, and ends with code 0 when told to."""
    await provision_bus(nats_server.url)
    async with fake_auth(nats_server.url):
        process = Process(nats_server.url, tmp_path, {})
        await process.start()
        await process.ready()
        async with httpx.AsyncClient(base_url=process.url) as client:
            assert (await client.get("/openapi.json")).json()["openapi"].startswith("3.1")
            assert "<title>Voxbus API" in (await client.get("/docs")).text
            assert (await client.get("/.well-known/jwks.json")).json()["keys"]
            health = await client.get("/health")
            assert health.status_code == 503  # there are no workers here
            services = {service["name"]: service["status"] for service in health.json()["services"]}
            assert (services["rest-gateway"], services["stt-worker"]) == ("ok", "down")
            assert (await client.get("/users?email=private-words")).status_code == 401
            assert 'route="/users",status="401"' in (await client.get("/metrics")).text
        logged = await process.end()
        assert process.process.returncode == 0
    requests = [entry for line in logged.splitlines() if (entry := json.loads(line))["message"] == "request"]
    assert {(entry["route"], entry["status"]) for entry in requests} >= {("/users", 401), ("/openapi.json", 200)}
    assert "private-words" not in logged


@pytest.mark.usefixtures("keys")
async def test_five_logins_a_minute_at_two_processes_behind_a_proxy(nats_server: NatsServer, tmp_path: Path) -> None:
    """The sixth login of an address is refused whichever process gets it; others behind the same proxy go on."""
    trusting = {"VOXBUS_TRUSTED_PROXIES": "127.0.0.0/8"}
    async with (
        running(nats_server.url, tmp_path, **trusting) as first,
        running(nats_server.url, tmp_path, **trusting) as second,
        httpx.AsyncClient() as client,
    ):

        async def log_in(process: Process, address: str) -> int:
            headers = {"X-Forwarded-For": f"203.0.113.99, {address}"}
            body = {"email": "grace@example.com", "password": "x"}
            return (await client.post(process.url + "/auth/login", json=body, headers=headers)).status_code

        answers = [await log_in(process, "198.51.100.1") for process in (first, second) * 3]
        # Nobody answers logins here: those that are let through find it away.
        assert answers == [503] * 5 + [429]
        assert await log_in(first, "198.51.100.2") == 503


@pytest.mark.usefixtures("keys")
async def test_forwarded_addresses_are_not_believed(nats_server: NatsServer, tmp_path: Path) -> None:
    """Without trusted proxies nobody gets more logins by writing addresses into a header."""
    async with running(nats_server.url, tmp_path) as process, httpx.AsyncClient() as client:
        answers = []
        for number in range(6):
            headers = {"X-Forwarded-For": f"198.51.100.{number}"}
            body = {"email": "grace@example.com", "password": "x"}
            answers.append((await client.post(process.url + "/auth/login", json=body, headers=headers)).status_code)
        assert answers == [503] * 5 + [429]


@pytest.mark.usefixtures("keys")
async def test_large_bodies_on_the_wire(nats_server: NatsServer, tmp_path: Path) -> None:
    """A body that is too large is a 413 over a socket too, announced or in chunks, and the process goes on."""
    environment = {"VOXBUS_MAX_BODY_BYTES": "2048", "VOXBUS_RATE_LIMIT_LOGIN": "off"}

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b" " * 10_000

    async with running(nats_server.url, tmp_path, **environment) as process, httpx.AsyncClient() as client:
        for content in (b" " * 4096, chunks()):
            answer = await client.post(
                process.url + "/auth/login", content=content, headers={"content-type": "application/json"}
            )
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        answer = await client.post(process.url + "/agents", content=b" " * 4_000_000)
        assert answer.status_code == 401
        assert (await client.get(process.url + "/ready")).status_code == 200


async def test_requests_that_run_are_answered_at_the_end(nats_server: NatsServer, tmp_path: Path) -> None:
    """A request that has begun when the process is told to end is answered."""
    async with fake_auth(nats_server.url) as auth:
        process = Process(nats_server.url, tmp_path, {})
        await process.start()
        await process.ready()
        auth.gate.clear()
        asked = auth.asked
        async with httpx.AsyncClient() as client:
            answer = asyncio.create_task(client.get(process.url + "/.well-known/jwks.json"))
            while auth.asked == asked:
                await asyncio.sleep(0.01)
            process.process.send_signal(signal.SIGTERM)
            while _accepts(process.port):
                await asyncio.sleep(0.01)
            auth.gate.set()
            assert (await answer).status_code == 200
        await process.end()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_port_taken(nats_server: NatsServer, tmp_path: Path) -> None:
    """A port that is taken is told in one line, and the process ends with code 3."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environment = {"VOXBUS_REST_PORT": str(taken.getsockname()[1])}
        process = Process(nats_server.url, tmp_path, environment)
        await process.start()
        output, _ = await asyncio.wait_for(process.process.communicate(), 30)
    assert process.process.returncode == 3
    assert "REST port" in output.decode()
