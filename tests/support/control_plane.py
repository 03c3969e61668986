"""The control plane as real processes: NATS, a document store, auth, agents, campaigns and the REST gateway."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx
from servers import MongoServer, NatsServer, free_port, provision

SERVICES: Final = ("auth", "agents", "campaigns", "rest-gateway")
ADMIN_EMAIL: Final = "admin@voxbus.example"
ADMIN_PASSWORD: Final = "nobody guesses these seven words so quickly"
_MODULES: Final = {"rest-gateway": "voxbus.voice_gateway.rest"}
_CHEAP_PASSWORDS: Final = {"VOXBUS_ARGON2_MEMORY_KIB": "1024", "VOXBUS_ARGON2_TIME_COST": "1"}
_START_TIMEOUT_S: Final = 60


@dataclass
class ServiceProcess:
    """One process of a service."""

    service: str
    http_port: int
    environment: Mapping[str, str]
    log_file: Path
    rest_port: int | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Of the REST API."""
        assert self.rest_port, f"{self.service} has no REST API"
        return f"http://127.0.0.1:{self.rest_port}"

    def start(self) -> None:
        """Begin; `wait_ready` waits."""
        module = _MODULES.get(self.service, f"voxbus.{self.service.replace('-', '_')}")
        with self.log_file.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module],
                env={**os.environ, **self.environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.log_file.parent,
            )

    def ready(self) -> bool:
        """Whether it answers 200 on /ready now."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.http_port}/ready", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def wait_ready(self) -> None:
        """Raises AssertionError with the end of the log when it dies or takes too long."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                break
            if self.ready():
                return
            time.sleep(0.05)
        raise AssertionError(f"{self.service} did not get ready:\n{self.log_file.read_text()[-4000:]}")

    def kill(self) -> None:
        """kill -9"""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM, and wait; the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        code = self.process.wait(timeout=30)
        self.process = None
        return code


class ServiceStand:
    """NATS, a document store, and processes of one service that keeps documents, without its neighbours."""

    def __init__(
        self, service: str, directory: Path, processes: int, environment: Mapping[str, str] | None = None
    ) -> None:
        """The database is `{service}_test`."""
        self.nats = NatsServer(directory / "nats")
        self.mongo = MongoServer(directory / "mongo")
        self.database_name = f"{service}_test"
        common = {
            "VOXBUS_NATS_URL": self.nats.url,
            "VOXBUS_MONGO_URL": self.mongo.url,
            "VOXBUS_MONGO_DATABASE": self.database_name,
            **(environment or {}),
        }
        ports = [free_port() for _ in range(processes)]
        self.processes = [
            ServiceProcess(
                service, port, {**common, "VOXBUS_HTTP_PORT": str(port)}, directory / f"{service}-{number}.log"
            )
            for number, port in enumerate(ports)
        ]

    def start(self) -> None:
        """Everything is ready afterwards."""
        start_all(self.nats, self.mongo, self.processes)

    def stop(self) -> None:
        """End everything."""
        stop_all(self.nats, self.mongo, self.processes)

    def log_text(self) -> str:
        """What the processes have logged."""
        return "".join(process.log_file.read_text() for process in self.processes)


def start_all(nats: NatsServer, mongo: MongoServer, processes: Sequence[ServiceProcess]) -> None:
    """The servers, the streams, then the processes side by side."""
    nats.start()
    mongo.start()
    provision(nats.url)
    for process in processes:
        process.start()
    for process in processes:
        process.wait_ready()


def stop_all(nats: NatsServer, mongo: MongoServer, processes: Sequence[ServiceProcess]) -> None:
    """The other way round."""
    for process in processes:
        process.kill()
    nats.stop()
    mongo.stop()


class ControlPlane:
    """Started by `with`; `counts` says how many processes of a service there are, one of each by default."""

    def __init__(
        self,
        directory: Path,
        *,
        counts: Mapping[str, int] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        for name in ("nats", "mongo"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        self.nats = NatsServer(directory / "nats")
        self.mongo = MongoServer(directory / "mongo")
        self._environment = dict(environment or {})
        counts = {**dict.fromkeys(SERVICES, 1), **(counts or {})}
        self.processes = [self._process(name, number) for name in SERVICES for number in range(counts[name])]

    def __enter__(self) -> Self:
        """Everything is ready afterwards."""
        try:
            start_all(self.nats, self.mongo, self.processes)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End everything."""
        stop_all(self.nats, self.mongo, self.processes)

    def of(self, service: str) -> list[ServiceProcess]:
        """The processes of a service."""
        return [process for process in self.processes if process.service == service]

    @property
    def url(self) -> str:
        """Of the first REST gateway."""
        return self.of("rest-gateway")[0].url

    def log_in(self, email: str = ADMIN_EMAIL, password: str = ADMIN_PASSWORD) -> httpx.Client:
        """A client with an access token; the admin's by default."""
        answer = httpx.post(f"{self.url}/auth/login", json={"email": email, "password": password}, timeout=20)
        assert answer.status_code == 200, answer.text
        headers = {"authorization": f"Bearer {answer.json()['access_token']}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20)

    def new_user(self, admin: httpx.Client, email: str, password: str = ADMIN_PASSWORD) -> httpx.Client:
        """Make a user and log in."""
        made = admin.post("/users", json={"email": email, "password": password})
        assert made.status_code == 201, made.text
        return self.log_in(email, password)

    def _process(self, service: str, number: int) -> ServiceProcess:
        http_port = free_port()
        rest_port = free_port() if service == "rest-gateway" else None
        environment = {
            "VOXBUS_NATS_URL": self.nats.url,
            "VOXBUS_MONGO_URL": self.mongo.url,
            "VOXBUS_HTTP_PORT": str(http_port),
            "VOXBUS_REST_PORT": str(rest_port or 0),
            "VOXBUS_ADMIN_EMAIL": ADMIN_EMAIL,
            "VOXBUS_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "VOXBUS_RATE_LIMIT_LOGIN": "off",
            "VOXBUS_RATE_LIMIT_API": "off",
            "VOXBUS_EXPECTED_SERVICES": "auth,agents,campaigns",
            **_CHEAP_PASSWORDS,
            **self._environment,
        }
        log_file = self.directory / f"{service}-{number}.log"
        return ServiceProcess(service, http_port, environment, log_file, rest_port)
