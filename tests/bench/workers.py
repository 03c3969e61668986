"""What the workers cost with their offline engines: CPU per 20 ms frame, and how long their part of a turn takes.

    uv run python tests/bench/workers.py [--streams 8] [--seconds 10]

Real worker processes on a real nats-server; this process owns the streams, as a gateway does.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "support"))

from process_cost import cpu_seconds, memory_mib, spread  # noqa: E402
from servers import NatsServer  # noqa: E402

from voxbus.contracts.audio import FRAME_BYTES, FRAME_MS, FRAME_US, SAMPLE_RATE  # noqa: E402
from voxbus.contracts.base import new_id  # noqa: E402
from voxbus.contracts.stage import ProviderChoice, Stage, StageError, StreamOpen  # noqa: E402
from voxbus.contracts.stt import STT_EVENT, SttOpen, TurnEnded  # noqa: E402
from voxbus.contracts.tts import TTS_EVENT, TtsOpen, TtsSentence, TtsSentenceStarted  # noqa: E402
from voxbus.local.plan import BUILT_IN_AGENTS  # noqa: E402
from voxbus.local.wav import read_wav  # noqa: E402
from voxbus.runtime.bus import LiveBus  # noqa: E402
from voxbus.runtime.streams import OwnedStream, StageClient, StreamListener  # noqa: E402

console = Console()
SENTENCES = BUILT_IN_AGENTS.parent / "samples" / "sentences"
UTTERANCE = "I would like to book an appointment for Tuesday at three o'clock please."


class Listener(StreamListener):
    """Counts frames and keeps the engines' own timings."""

    def __init__(self, request: StreamOpen) -> None:
        self._request = request
        self.frames = 0
        self.turns: list[TurnEnded] = []
        self.first_audio: list[float] = []
        self.closed = asyncio.Event()

    def on_audio(self, timestamp_us: int, pcm: bytes) -> None:
        self.frames += len(pcm) // FRAME_BYTES

    def on_message(self, body: bytes) -> None:
        if isinstance(self._request, SttOpen):
            event = STT_EVENT.validate_json(body)
            if isinstance(event, TurnEnded):
                self.turns.append(event)
        else:
            spoken = TTS_EVENT.validate_json(body)
            if isinstance(spoken, TtsSentenceStarted):
                self.first_audio.append(spoken.elapsed_ms)

    def reopen(self) -> StreamOpen:
        return self._request

    def on_closed(self) -> None:
        self.closed.set()

    def on_failed(self, error: StageError) -> None:
        raise SystemExit(f"a stream failed: {error.message}")


class Worker:
    """A real worker process."""

    def __init__(self, stage: Stage, nats_url: str, stack: AsyncExitStack) -> None:
        environment = {**os.environ, "VOXBUS_NATS_URL": nats_url, "VOXBUS_LOG_LEVEL": "ERROR", "VOXBUS_CAPACITY": "500"}
        command = [sys.executable, "-m", f"voxbus.{stage.value}_worker"]
        self._process = subprocess.Popen(command, env=environment)
        self.pid = self._process.pid
        stack.callback(self._process.wait)
        stack.callback(self._process.terminate)


def identity() -> dict[str, object]:
    """Fields of any open."""
    return {
        "call_id": new_id("call"),
        "stream_id": new_id("s"),
        "attempt": 1,
        "owner_id": "bench",
        "agent_id": "bench",
        "providers": (ProviderChoice(name="local"),),
    }


async def listen(
    client: StageClient, worker: Worker, streams: int, seconds: float, pcm: bytes
) -> tuple[float, list[TurnEnded]]:
    """Feed `pcm` over and over to all streams in real time; CPU per frame, and the turns that were heard."""
    listeners: list[Listener] = []
    owned: list[OwnedStream] = []
    for _ in range(streams):
        request = SttOpen.model_validate(identity())
        listeners.append(Listener(request))
        owned.append(await client.open(Stage.STT, request, listeners[-1], deadline_s=60))
    frames = [pcm[start : start + FRAME_BYTES] for start in range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES)]
    count = int(seconds * 1000 / FRAME_MS)
    start, cpu = time.monotonic(), cpu_seconds(worker.pid)
    for number in range(count):
        await asyncio.sleep(max(0.0, start + number * FRAME_MS / 1000 - time.monotonic()))
        for offset, stream in enumerate(owned):
            await stream.send_audio(frames[(number + offset * 37) % len(frames)], number * FRAME_US)
    used = cpu_seconds(worker.pid) - cpu
    for stream in owned:
        await stream.cancel()
    return used / (count * streams), [turn for listener in listeners for turn in listener.turns]


async def speak(client: StageClient, worker: Worker, utterances: int) -> tuple[float, list[float]]:
    """Speak one utterance after the other; CPU per frame made, and the times to the first audio."""
    frames, first_audio, cpu = 0, [], 0.0
    for number in range(utterances + 1):
        request = TtsOpen.model_validate(identity())
        listener = Listener(request)
        stream = await client.open(Stage.TTS, request, listener, deadline_s=60)
        before = cpu_seconds(worker.pid)
        await stream.send(TtsSentence(index=0, text=UTTERANCE))
        await stream.close()
        await listener.closed.wait()
        if number > 0:  # the first warms up
            cpu += cpu_seconds(worker.pid) - before
            frames += listener.frames
            first_audio += listener.first_audio
    return cpu / frames, first_audio


async def measure(streams: int, seconds: float) -> None:
    """Both speech workers; the scripted language worker does nothing worth measuring."""
    table = Table("worker", "load", "CPU µs per frame", "% of a core per stream", "timings P50 / P99 ms", "memory MiB")
    speech = b"".join(
        read_wav(path, SAMPLE_RATE) + bytes(SAMPLE_RATE * 2) for path in sorted(SENTENCES.glob("*.wav"))[:6]
    )
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        nats = NatsServer(Path(directory))
        nats.start()
        stack.callback(nats.stop)
        ear, mouth = Worker(Stage.STT, nats.url, stack), Worker(Stage.TTS, nats.url, stack)
        live = await LiveBus.connect(nats.url, "bench")
        stack.push_async_callback(live.close)
        client = StageClient(live, new_id("bench"))
        await client.start()
        stack.push_async_callback(client.stop)
        await listen(client, ear, 1, 1, speech)
        for name, pcm in (("silence", bytes(len(speech))), ("speech, 1 s pauses", speech)):
            cost, turns = await listen(client, ear, streams, seconds, pcm)
            decided = [turn.decide_ms + turn.transcribe_ms for turn in turns if turn.text]
            table.add_row(
                "stt", f"{streams} streams of {name}", f"{cost * 1e6:.0f}", f"{cost * 5000:.2f}",
                f"decision and final words {spread(decided)}", f"{memory_mib(ear.pid):.0f}",
            )  # fmt: skip
        cost, first_audio = await speak(client, mouth, 30)
        table.add_row(
            "tts", "12-word sentences", f"{cost * 1e6:.0f}", f"{cost * 5000:.2f}", f"first audio {spread(first_audio)}",
            f"{memory_mib(mouth.pid):.0f}",
        )  # fmt: skip
    console.print(table)


def main() -> None:
    """Parse the options and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    uvloop.run(measure(options.streams, options.seconds))


if __name__ == "__main__":
    main()
