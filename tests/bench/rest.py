"""Throughput and latency of the REST API: create, get and list of agents by 50 clients at once.

Beside it, on the same store, `plain_rest.py`: FastAPI and pymongo without users, permissions, versions, events or limits. The
ratio is what those cost. Both are measured in turns on one machine, so take ratios, not absolutes.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from control_plane import ControlPlane
from process_cost import cpu_seconds
from servers import free_port

CLIENTS = 50
SECONDS = float(os.environ.get("BENCH_SECONDS", "6"))
ROUNDS = 2
AGENT = {"name": "Benchmark", "system_prompt": "You answer the phone of a clinic. " * 20, "greeting": "Hello."}


@dataclass
class Measured:
    """What one kind of request did in one round."""

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    refused: int = 0
    """Answers that are not 2xx: the store or the machine is too slow for so many clients."""

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.latencies_ms) / self.seconds

    def percentile(self, share: float) -> float:
        """Of the latencies, in ms."""
        return statistics.quantiles(self.latencies_ms, n=100)[int(share) - 1]

    @property
    def cpu_ms(self) -> float:
        """CPU of all server processes but the store, per request."""
        return self.cpu_s * 1000 / len(self.latencies_ms)


class Connection:
    """One client: one keep-alive connection, one request at a time."""

    def __init__(self, port: int, headers: dict[str, str]) -> None:
        self._port = port
        self._head = "".join(f"{name}: {value}\r\n" for name, value in {"host": "127.0.0.1", **headers}.items())

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    def close(self) -> None:
        """Disconnect."""
        self._writer.close()

    async def request(self, method: str, path: str, body: bytes = b"") -> bytes | None:
        """The body of a 2xx answer, None for any other."""
        content = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n" if body else ""
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{self._head}{content}\r\n".encode() + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        answer = await self._reader.readexactly(length)
        return answer if head.startswith(b"http/1.1 2") else None


async def measure(port: int, headers: dict[str, str], kind: str, agent_id: str, pids: list[int]) -> Measured:
    """Let all clients send requests of a kind for some seconds."""
    body = json.dumps(AGENT).encode()
    requests: dict[str, Callable[[Connection], Awaitable[bytes | None]]] = {
        "create": lambda connection: connection.request("POST", "/agents", body),
        "get": lambda connection: connection.request("GET", f"/agents/{agent_id}"),
        "list": lambda connection: connection.request("GET", "/agents?limit=20"),
    }
    connections = [Connection(port, headers) for _ in range(CLIENTS)]
    for connection in connections:
        await connection.open()
    result = Measured()
    cpu = sum(map(cpu_seconds, pids))
    started = time.perf_counter()

    async def client(connection: Connection) -> None:
        while time.perf_counter() - started < SECONDS:
            before = time.perf_counter()
            if await requests[kind](connection) is None:
                result.refused += 1
                continue
            result.latencies_ms.append((time.perf_counter() - before) * 1000)

    await asyncio.gather(*map(client, connections))
    result.seconds = time.perf_counter() - started
    result.cpu_s = sum(map(cpu_seconds, pids)) - cpu
    for connection in connections:
        connection.close()
    return result


def report(name: str, rounds: dict[str, list[Measured]]) -> dict[str, tuple[float, float]]:
    """Print the best round of each kind; its rate and CPU per request."""
    best = {kind: max(measured, key=lambda one: one.rate) for kind, measured in rounds.items()}
    for kind, one in best.items():
        print(
            f"{name:<7} {kind:<7} {one.rate:8.0f} /s   p50 {one.percentile(50):7.1f} ms   p95 {one.percentile(95):7.1f} ms"
            f"   p99 {one.percentile(99):7.1f} ms   cpu {one.cpu_ms:6.2f} ms a request   {one.refused} refused"
        )
    return {kind: (one.rate, one.cpu_ms) for kind, one in best.items()}


def main() -> None:
    """Both, in turns; then the ratio."""
    kinds = ("create", "get", "list")
    rounds: dict[str, dict[str, list[Measured]]] = {name: {kind: [] for kind in kinds} for name in ("voxbus", "plain")}
    with tempfile.TemporaryDirectory() as directory, ControlPlane(Path(directory)) as plane:
        with plane.log_in() as admin:
            made = admin.post("/agents", json=AGENT)
            made.raise_for_status()
            voxbus_id, authorization = made.json()["id"], admin.headers["authorization"]
        port = free_port()
        plain = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("plain_rest.py")), plane.mongo.url, str(port)]
        )
        try:
            plain_id = asyncio.run(_first_agent(port))
            pids = [process.process.pid for process in plane.processes if process.process] + [plane.nats.pid]
            headers = {"authorization": authorization}
            for _ in range(ROUNDS):
                for kind in kinds:
                    rest_port = int(plane.url.rpartition(":")[2])
                    rounds["voxbus"][kind].append(asyncio.run(measure(rest_port, headers, kind, voxbus_id, pids)))
                    rounds["plain"][kind].append(asyncio.run(measure(port, {}, kind, plain_id, [plain.pid])))
        finally:
            plain.kill()
            plain.wait()
    print(
        f"{CLIENTS} clients, {SECONDS:.0f} s each, best of {ROUNDS} rounds; store: {plane.mongo.url.split(':')[0]} (SecantusDB)\n"
    )
    ours, theirs = report("voxbus", rounds["voxbus"]), report("plain", rounds["plain"])
    for kind in kinds:
        rate, cpu = ours[kind][0] / theirs[kind][0], ours[kind][1] / theirs[kind][1]
        print(f"ratio   {kind:<7} {rate:8.2f} of the plain rate, {cpu:5.1f} times its CPU a request")


async def _first_agent(port: int) -> str:
    connection = Connection(port, {})
    for _ in range(200):
        try:
            await connection.open()
        except OSError:
            await asyncio.sleep(0.1)
        else:
            break
    answer = await connection.request("POST", "/agents", json.dumps(AGENT).encode())
    connection.close()
    assert answer is not None, "the plain API does not work"
    return str(json.loads(answer)["id"])


if __name__ == "__main__":
    main()
