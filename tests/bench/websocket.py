"""What a WebSocket server costs per frame of audio: picows, uvicorn, granian and `websockets` against each other.

    uv run --with granian python tests/bench/websocket.py [--connections 50] [--seconds 10] [server ...]

Each connection sends 50 binary messages of 640 bytes a second (20 ms of PCM16 at 16 kHz) and gets each one back. The
server runs in a process of its own with uvloop; its CPU time, divided by the messages, is what one frame in and one frame
out cost. The clients (raw sockets, one process) measure the round trip. `edge` is the gateway's own server on the native
protocol: authenticated, limits on, one frame to the call and one back. A server that is not installed is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import socket
import statistics
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import uvloop

FRAME = bytes(640)
INTERVAL_S = 0.02


# The servers: each serves until it is killed, and echoes binary messages.


def serve_picows(port: int) -> None:
    """Callbacks on frames, no task per connection."""
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

    class Echo(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == WSMsgType.BINARY:
                transport.send(WSMsgType.BINARY, frame.get_payload_as_bytes())
            elif frame.msg_type == WSMsgType.CLOSE:
                transport.disconnect()

    async def serve() -> None:
        server = await ws_create_server(lambda _request: Echo(), "127.0.0.1", port)
        await server.serve_forever()

    uvloop.run(serve())


async def asgi_echo(scope: Any, receive: Any, send: Any) -> None:
    """A plain ASGI application, no framework."""
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"]})


def serve_uvicorn(port: int) -> None:
    """Its sans-I/O implementation, the fastest it has."""
    import uvicorn

    options: dict[str, Any] = {"ws_per_message_deflate": False, "log_level": "warning", "lifespan": "off"}
    uvicorn.run(asgi_echo, host="127.0.0.1", port=port, ws="websockets-sansio", loop="uvloop", **options)


def serve_granian(port: int) -> None:
    """One worker; its Rust runtime is part of the process and of the bill."""
    from granian import Granian
    from granian.constants import Interfaces, Loops

    os.chdir(Path(__file__).parent)
    options: dict[str, Any] = {"interface": Interfaces.ASGINL, "loop": Loops.uvloop, "log_enabled": False}
    Granian("websocket:asgi_echo", address="127.0.0.1", port=port, workers=1, websockets=True, **options).serve()


def serve_websockets(port: int) -> None:
    """A task per connection."""
    from websockets import ConnectionClosed
    from websockets.asyncio.server import ServerConnection, serve

    async def echo(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                await connection.send(message)

    async def run() -> None:
        async with serve(echo, "127.0.0.1", port, compression=None, ping_interval=None) as server:
            await server.serve_forever()

    uvloop.run(run())


def serve_edge(port: int) -> None:
    """The gateway's own edge, with a call that sends back what it hears."""
    from voxbus.contracts.agent import AgentConfig
    from voxbus.voice_gateway.edge.limits import EdgeLimits
    from voxbus.voice_gateway.edge.line import CallEnd, CallRequest, Line
    from voxbus.voice_gateway.edge.routes import ROUTES
    from voxbus.voice_gateway.edge.server import VoiceServer
    from voxbus.voice_gateway.edge.tokens import CallTokens, KeySet
    from voxbus.voice_gateway.edge.wire import Edge

    class FixedKeys:
        keys = KeySet([_edge_key().public_key()])

        async def verify(self, token: str, audience: str) -> Mapping[str, Any]:
            return self.keys.verify(token, audience)

    class EchoCall(CallEnd):
        def __init__(self, request: CallRequest, line: Line) -> None:
            self.id = "call_echo"
            self.agent = AgentConfig(id=request.agent_id, name="Echo")
            self.on_audio = line.send_audio  # type: ignore[method-assign]

        def on_audio(self, pcm: bytes) -> None: ...

        def on_mark(self, name: str) -> None: ...

        def on_dtmf(self, digit: str) -> None: ...

        def on_hangup(self) -> None: ...

        def on_disconnected(self) -> None: ...

    async def start_call(request: CallRequest, line: Line) -> CallEnd:
        return EchoCall(request, line)

    async def serve() -> None:
        edge = Edge(start_call, CallTokens(FixedKeys()), EdgeLimits())
        await VoiceServer(edge, ROUTES, lambda: (True, {}), "127.0.0.1", port).start()
        await asyncio.Event().wait()

    uvloop.run(serve())


def _edge_key() -> Any:
    """The same in the server's process and in the clients'."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def edge_hello() -> bytes:
    """What a client of the edge sends first."""
    import jwt

    claims = {"sub": "bench", "aud": "voxbus-voice", "exp": int(time.time()) + 3600}
    token = jwt.encode(claims, _edge_key(), algorithm="EdDSA")
    return json.dumps({"type": "auth", "token": token, "agent_id": "echo"}).encode()


SERVERS: dict[str, tuple[str, Callable[[int], None]]] = {
    "picows": ("picows", serve_picows),
    "uvicorn": ("uvicorn", serve_uvicorn),
    "granian": ("granian", serve_granian),
    "websockets": ("websockets", serve_websockets),
    "edge": ("picows", serve_edge),
}


# The clients.


class Client(asyncio.Protocol):
    """One caller: masked frames out, its own frames back in."""

    def __init__(self, hello: bytes) -> None:
        self.hello = hello
        self.round_trips: list[float] = []
        self.open = asyncio.get_running_loop().create_future()
        self._sent: list[float] = []
        self._buffer = b""

    def connection_made(self, transport: Any) -> None:
        """Upgrade."""
        self.transport = transport
        transport.write(
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )

    def data_received(self, data: bytes) -> None:
        """Match frames to those sent, in order."""
        self._buffer += data
        if not self.open.done():
            self._on_handshake()
        while len(self._buffer) >= 4:
            size = self._buffer[1]
            head = 4 if size == 126 else 2
            size = int.from_bytes(self._buffer[2:4], "big") if size == 126 else size
            if len(self._buffer) < head + size:
                return
            if self._buffer[0] == 0x82:
                self.round_trips.append(time.perf_counter() - self._sent[len(self.round_trips)])
            self._buffer = self._buffer[head + size :]

    def _on_handshake(self) -> None:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if found:
            assert b" 101 " in head.splitlines()[0], head
            self._buffer = rest
            if self.hello:
                self.transport.write(masked(0x81, self.hello))
            self.open.set_result(None)

    def send(self) -> None:
        """One frame."""
        self._sent.append(time.perf_counter())
        self.transport.write(MASKED_FRAME)


def masked(first: int, payload: bytes) -> bytes:
    """A client's frame of 126 bytes or more."""
    mask = b"\x37\xfa\x21\x3d"
    scrambled = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return struct.pack("!BBH", first, 0x80 | 126, len(payload)) + mask + scrambled


MASKED_FRAME = masked(0x82, FRAME)


async def _pace(client: Client, start: float, count: int) -> None:
    for number in range(count):
        await asyncio.sleep(max(0.0, start + number * INTERVAL_S - time.perf_counter()))
        client.send()


async def _drive(port: int, connections: int, seconds: float, hello: bytes, pid: int) -> tuple[float, list[float]]:
    """CPU seconds of the server, and all round trips."""
    loop = asyncio.get_running_loop()
    clients = [(await loop.create_connection(lambda: Client(hello), "127.0.0.1", port))[1] for _ in range(connections)]
    await asyncio.gather(*(client.open for client in clients))
    await asyncio.sleep(0.5)
    count = int(seconds / INTERVAL_S)
    start = time.perf_counter()
    before = _cpu_s(pid)
    # Spread over the 20 ms, as calls are.
    paced = [_pace(client, start + INTERVAL_S * at / connections, count) for at, client in enumerate(clients)]
    await asyncio.gather(*paced)
    await asyncio.sleep(0.2)
    used = _cpu_s(pid) - before
    for client in clients:
        client.transport.abort()
    return used, [value for client in clients for value in client.round_trips]


def _cpu_s(pid: int) -> float:
    """User and system time of a process, its children and all their threads."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(stat.parent.name) == pid or int(fields[1]) == pid:
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


# One measurement.


@dataclass
class Result:
    """Per server."""

    name: str
    cpu_us: float
    p50_ms: float
    p99_ms: float
    lost: int


def measure(name: str, connections: int, seconds: float) -> Result:
    """Start the server, drive it, stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    hello = edge_hello() if name == "edge" else b""
    process = multiprocessing.get_context("spawn").Process(target=SERVERS[name][1], args=(port,))
    process.start()
    try:
        _wait_for(port)
        assert process.pid is not None
        used, trips = uvloop.run(_drive(port, connections, seconds, hello, process.pid))
    finally:
        process.terminate()
        process.join(5)
        process.kill()
    trips.sort()
    sent = connections * int(seconds / INTERVAL_S)
    p99 = trips[int(len(trips) * 0.99)]
    return Result(name, used / sent * 1e6, statistics.median(trips) * 1e3, p99 * 1e3, sent - len(trips))


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 15
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="*", help=f"of {', '.join(SERVERS)}; all of them if none is named")
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    print(f"{options.connections} connections, 50 frames a second each, {options.seconds:g} s")
    print(f"{'server':<12}{'CPU us/frame pair':>20}{'core per call':>16}{'P50 ms':>9}{'P99 ms':>9}{'lost':>6}")
    for name in options.servers or SERVERS:
        if find_spec(SERVERS[name][0]) is None:
            print(f"{name:<12} not installed")
            continue
        result = measure(name, options.connections, options.seconds)
        share = f"{result.cpu_us * 50 / 1e4:.2f} %"
        print(
            f"{name:<12}{result.cpu_us:>20.1f}{share:>16}{result.p50_ms:>9.2f}{result.p99_ms:>9.2f}{result.lost:>6}",
            flush=True,
        )


if __name__ == "__main__":
    main()
