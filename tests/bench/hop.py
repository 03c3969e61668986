"""What the platform itself costs: CPU per audio frame, and the delay of every hop. Engines are left out.

    uv run python tests/bench/hop.py [--calls 20] [--seconds 10]

A real nats-server and a real voice gateway process; stages that do nothing but answer (tests/support/fake_stages.py) and the
callers run in this process, so that both ends of every hop are timed by one clock.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import jwt
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from rich.console import Console
from rich.table import Table
from websockets.asyncio.client import ClientConnection, connect

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "support"))

from fake_stages import FakeEar, FakeEarHandler, FakeMind, FakeMouth  # noqa: E402
from process_cost import cpu_seconds, memory_mib, spread  # noqa: E402
from rpc_stand import serving  # noqa: E402
from servers import NatsServer, free_port  # noqa: E402

from voxbus.contracts.agent import AgentConfig, CallLimits  # noqa: E402
from voxbus.contracts.agents import RESOLVE_AGENT, ResolveAgent, ResolvedAgent  # noqa: E402
from voxbus.contracts.audio import FRAME_BYTES, FRAME_MS  # noqa: E402
from voxbus.contracts.auth import VOICE_AUDIENCE  # noqa: E402
from voxbus.contracts.base import new_id  # noqa: E402
from voxbus.contracts.tts import TtsOpen, TtsSentence, TtsSentenceStarted  # noqa: E402
from voxbus.runtime.bus import LiveBus  # noqa: E402
from voxbus.runtime.logs import configure_logging  # noqa: E402
from voxbus.runtime.streams import StageService, StageWorker, StreamHandler, WorkerStream  # noqa: E402

console = Console()
_AHEAD_S = 0.5


class TimedEarHandler(FakeEarHandler):
    """Acknowledges each frame and times how long it was under way."""

    async def on_audio(self, seq: int, timestamp_us: int, pcm: bytes) -> None:
        sent_ns = int.from_bytes(pcm[:8], "little")
        if sent_ns:
            Delays.up.append((time.monotonic_ns() - sent_ns) / 1e6)
        self.stream.ack(seq + 1)


class TimedEar(FakeEar):
    """Makes `TimedEarHandler`s."""

    async def open(self, request: Any, stream: WorkerStream) -> TimedEarHandler:
        handler = TimedEarHandler(request, stream)
        self.handlers.append(handler)
        return handler


class SpeakingHandler(StreamHandler):
    """Speaks without end: audio half a second ahead of real time, five frames a message, each stamped with its time."""

    def __init__(self, stream: WorkerStream) -> None:
        self._stream = stream
        self._task: asyncio.Task[None] | None = None

    async def on_message(self, seq: int, body: bytes) -> None:
        sentence = TtsSentence.model_validate_json(body)
        Delays.sentences.append((time.monotonic_ns() - int(sentence.text.split()[-1])) / 1e6)
        self._task = asyncio.create_task(self._speak(sentence.index))

    async def on_cancel(self) -> None:
        if self._task:
            self._task.cancel()

    async def _speak(self, index: int) -> None:
        await self._stream.emit(TtsSentenceStarted(index=index, elapsed_ms=0))
        start, sent_s = time.monotonic(), 0.0
        while True:
            stamp = time.monotonic_ns().to_bytes(8, "little") if sent_s == 0 else bytes(8)
            frame = stamp.ljust(FRAME_BYTES, b"\x01")
            await self._stream.send_audio(frame * 5, int(sent_s * 1e6))
            sent_s += 0.1
            await asyncio.sleep(max(0.0, start + sent_s - _AHEAD_S - time.monotonic()))


class Speaking(FakeMouth):
    """Makes `SpeakingHandler`s."""

    async def open(self, request: TtsOpen, stream: WorkerStream) -> Any:
        return SpeakingHandler(stream)


class StampedMind(FakeMind):
    """One sentence that says when it was written."""

    async def open(self, request: Any, stream: WorkerStream) -> Any:
        self.replies.append([f"written at {time.monotonic_ns()}"])
        return await super().open(request, stream)


class Delays:
    """Milliseconds of each hop."""

    up: list[float]
    down: list[float]
    sentences: list[float]
    turns: list[float]

    @classmethod
    def reset(cls) -> None:
        """Forget all."""
        cls.up, cls.down, cls.sentences, cls.turns = [], [], [], []


async def caller(url: str, token: str, ready: asyncio.Semaphore, until: Callable[[], bool], late: float) -> None:
    """A client that sends a stamped frame every 20 ms and looks at when audio comes back."""
    async with connect(url, compression=None, proxy=None) as socket:
        await socket.send(json.dumps({"type": "auth", "token": token, "agent_id": "bench", "sample_rate": 16_000}))
        assert json.loads(await socket.recv())["type"] == "ready"
        ready.release()
        receiving = asyncio.create_task(receive(socket))
        start, frame = time.monotonic() + late, 0
        while not until():
            await asyncio.sleep(max(0.0, start + frame * FRAME_MS / 1000 - time.monotonic()))
            await socket.send(time.monotonic_ns().to_bytes(8, "little").ljust(FRAME_BYTES, b"\0"))
            frame += 1
        receiving.cancel()


async def receive(socket: ClientConnection) -> None:
    """Time the frames that carry a stamp."""
    async for raw in socket:
        if isinstance(raw, bytes):
            stamp = int.from_bytes(raw[:8], "little")
            if 0 < time.monotonic_ns() - stamp < 10**10:
                Delays.down.append((time.monotonic_ns() - stamp) / 1e6)


async def resolve(request: ResolveAgent) -> ResolvedAgent:
    """The agent of every call."""
    config = AgentConfig(id=request.agent_id, name="Bench", limits=CallLimits(silence_s=600))
    return ResolvedAgent(user_id="user_bench", config=config)


class Bench:
    """The processes of a measurement."""

    def __init__(self, directory: Path, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._key = Ed25519PrivateKey.generate()
        public_file = directory / "public.pem"
        public_file.write_bytes(self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        self.nats = NatsServer(directory / "nats")
        self.nats.start()
        stack.callback(self.nats.stop)
        self._voice_port = free_port()
        http_port = free_port()
        environment = {
            **os.environ,
            "VOXBUS_NATS_URL": self.nats.url,
            "VOXBUS_VOICE_PORT": str(self._voice_port),
            "VOXBUS_HTTP_PORT": str(http_port),
            "VOXBUS_TOKEN_PUBLIC_KEY_FILE": str(public_file),
            "VOXBUS_LOG_LEVEL": "ERROR",
            "VOXBUS_MAX_CALLS": "1000",
        }
        self.gateway = subprocess.Popen([sys.executable, "-m", "voxbus.voice_gateway"], env=environment)
        stack.callback(self.gateway.wait)
        stack.callback(self.gateway.terminate)
        self.ear = TimedEar()

    async def start(self) -> None:
        """Start the stages and a service that knows the agent, and wait for the gateway."""
        await self._stack.enter_async_context(serving(self.nats.url, "agents", {RESOLVE_AGENT: resolve}))
        for service in (self.ear, StampedMind(), Speaking()):
            await self._worker(service)
        async with asyncio.timeout(30):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self._voice_port)
                except OSError:
                    await asyncio.sleep(0.05)
                    continue
                writer.close()
                return

    async def _worker(self, service: StageService[Any]) -> None:
        live = await LiveBus.connect(self.nats.url, "bench")
        self._stack.push_async_callback(live.close)
        worker: StageWorker[Any] = StageWorker(service, live, worker_id=new_id("w"), capacity=10_000)
        await worker.start()
        self._stack.push_async_callback(worker.stop)

    async def calls(self, count: int, seconds: float, *, speaking: bool) -> dict[str, float]:
        """Hold `count` calls for `seconds`; CPU and memory of the gateway and of the NATS server meanwhile."""
        Delays.reset()
        self.ear.handlers.clear()
        claims = {"aud": VOICE_AUDIENCE, "sub": "bench", "agent_id": "bench", "exp": time.time() + 3600}
        token = jwt.encode(claims, self._key, algorithm="EdDSA")
        ready, over = asyncio.Semaphore(0), asyncio.Event()
        url = f"ws://127.0.0.1:{self._voice_port}"
        before_mib = memory_mib(self.gateway.pid)
        tasks = [
            asyncio.create_task(caller(url, token, ready, over.is_set, number % 20 / 1000)) for number in range(count)
        ]
        for _ in range(count):
            await ready.acquire()
        if speaking:
            for handler in list(self.ear.handlers):
                await handler.says("go on")
                await asyncio.sleep(0.05)  # one turn at a time: the delay of a hop, not of a burst
        await asyncio.sleep(1.5)
        gateway, nats_pid = self.gateway.pid, self.nats.pid
        cpu, nats_cpu, start = cpu_seconds(gateway), cpu_seconds(nats_pid), time.monotonic()
        await asyncio.sleep(seconds)
        elapsed = time.monotonic() - start
        result = {
            "gateway": (cpu_seconds(gateway) - cpu) / elapsed / count,
            "nats": (cpu_seconds(nats_pid) - nats_cpu) / elapsed / count,
            "mib": (memory_mib(gateway) - before_mib) / count,
        }
        over.set()
        await asyncio.gather(*tasks)
        return result


async def measure(calls: int, seconds: float) -> None:
    """Listening calls, then calls in which the agent speaks all the time; then the hops."""
    cost = Table(
        "calls",
        "direction",
        "gateway, % of a core per call",
        "gateway, µs per frame",
        "nats-server, % per call",
        "MiB per call",
    )
    hops = Table("hop", "P50 / P99 ms", "samples")
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        bench = Bench(Path(directory), stack)
        await bench.start()
        await bench.calls(2, 1, speaking=True)  # warm up
        for name, speaking, frames in (("caller only", False, 50), ("both ways", True, 100)):
            result = await bench.calls(calls, seconds, speaking=speaking)
            cost.add_row(
                str(calls), name, f"{result['gateway'] * 100:.2f}", f"{result['gateway'] * 1e6 / frames:.0f}",
                f"{result['nats'] * 100:.2f}", f"{result['mib']:.2f}",
            )  # fmt: skip
            hops.add_row(
                f"caller's frame: socket → gateway → bus → worker ({name})", spread(Delays.up), str(len(Delays.up))
            )
        hops.add_row("agent's first audio: worker → bus → gateway → socket", spread(Delays.down), str(len(Delays.down)))
        hops.add_row(
            "sentence: language worker → gateway → voice worker", spread(Delays.sentences), str(len(Delays.sentences))
        )
    console.print(cost)
    console.print(hops)


def main() -> None:
    """Parse the options and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    configure_logging("bench", "ERROR")
    uvloop.run(measure(options.calls, options.seconds))


if __name__ == "__main__":
    main()
