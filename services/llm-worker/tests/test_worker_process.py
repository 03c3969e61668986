"""Worker processes on a real NATS server, as the gateway sees them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from reply_stream import reply_request, said

from voxbus.contracts.llm import LLM_EVENT, LlmFinished, LlmOpen, LlmSentence, LlmToolCalled, Tool, ToolKind
from voxbus.contracts.stage import ProcessStatus, ProviderChoice, Stage, StageError
from voxbus.contracts.subjects import STATUS
from voxbus.runtime.bus import LiveBus
from voxbus.runtime.streams import StageClient, StreamListener, Takeover
from voxbus.runtime.streams.owned_stream import OwnerSettings

pytestmark = pytest.mark.integration

COMPLETE = ("Hello.", "Tuesday at three.", "Name?", "Charlie.", "Number?", "555 0147.", "Is that right?", "Yes.")
TOOLS = (Tool(name="record_appointment"), Tool(name="end_call", kind=ToolKind.END_CALL))
SENTENCES = [
    "Thank you, Charlie.",
    "Your appointment is booked for Tuesday at 3 PM.",
    "We look forward to seeing you.",
    "Goodbye.",
]


class Gateway(StreamListener):
    """Keeps what comes, as the gateway does, and asks for the rest after a takeover."""

    def __init__(self, request: LlmOpen) -> None:
        self.request = request
        self.sentences: list[str] = []
        self.calls: dict[str, LlmToolCalled] = {}
        self.finished: LlmFinished | None = None
        self.takeovers: list[Takeover] = []
        self.over = False
        self.worker_id = ""
        self.failed: StageError | None = None
        self.changed = asyncio.Event()

    def on_message(self, body: bytes) -> None:
        event = LLM_EVENT.validate_json(body)
        if isinstance(event, LlmSentence):
            assert event.index == len(self.sentences)
            self.sentences.append(event.text)
        elif isinstance(event, LlmToolCalled):
            self.calls[event.call.id] = event
        elif isinstance(event, LlmFinished):
            self.finished = event
        self.changed.set()

    def reopen(self) -> LlmOpen:
        return self.request.model_copy(update={"spoken": tuple(self.sentences)})

    def on_takeover(self, takeover: Takeover) -> None:
        self.takeovers.append(takeover)

    def on_closed(self) -> None:
        self.over = True
        self.changed.set()

    def on_failed(self, error: StageError) -> None:
        self.failed = error
        self.over = True
        self.changed.set()

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


class Stand:
    """Worker processes and an owner."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self._url = url
        self._stack = stack
        self.live: LiveBus
        self.client: StageClient
        self.workers: dict[str, asyncio.subprocess.Process] = {}

    async def start(self) -> None:
        self.live = await LiveBus.connect(self._url, "test")
        self._stack.push_async_callback(self.live.close)
        self.client = StageClient(self.live, "gw_test", OwnerSettings(watchdog_s=0.5, heartbeat_s=0.1))
        await self.client.start()
        self._stack.push_async_callback(self.client.stop)

    async def worker(self, worker_id: str) -> None:
        """A process, once it is ready."""
        environment = {**os.environ, "VOXBUS_NATS_URL": self._url, "VOXBUS_INSTANCE_ID": worker_id}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "voxbus.llm_worker", env=environment, stdout=asyncio.subprocess.PIPE
        )
        self.workers[worker_id] = process
        self._stack.push_async_callback(self._stop, process)
        assert process.stdout is not None
        async with asyncio.timeout(30):
            while b'"ready"' not in await process.stdout.readline():
                pass

    async def _stop(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.communicate()

    async def reply(self, token_ms: float) -> Gateway:
        """An open stream that books an appointment."""
        provider = ProviderChoice(name="scripted", settings={"token_ms": token_ms})
        gateway = Gateway(reply_request(provider, messages=said(*COMPLETE), tools=TOOLS))
        gateway.worker_id = (await self.client.open(Stage.LLM, gateway.request, gateway)).worker_id
        return gateway


@pytest_asyncio.fixture
async def stand(nats_url: str) -> AsyncIterator[Stand]:
    """An owner; the test starts workers."""
    async with AsyncExitStack() as stack:
        made = Stand(nats_url, stack)
        await made.start()
        yield made


async def test_a_worker_process_replies_and_reports_itself(stand: Stand) -> None:
    """A reply comes over the bus with its tool calls and its end, and the process says what it is."""
    await stand.worker("llm_a")
    gateway = await stand.reply(token_ms=0)
    await gateway.until(lambda: gateway.over)
    assert gateway.failed is None
    assert gateway.sentences == SENTENCES
    assert [call.call.name for call in gateway.calls.values()] == ["record_appointment", "end_call"]
    assert gateway.finished is not None
    assert gateway.finished.provider == "scripted"
    status = ProcessStatus.model_validate_json(await stand.live.request(STATUS(), b"", 5.0))
    assert (status.service, status.providers) == ("llm-worker", ("scripted", "local"))
    assert status.ready


async def test_a_killed_worker_is_replaced_within_the_sentence(stand: Stand) -> None:
    """The worker dies after the first sentence; another one goes on, and nothing is heard or booked twice."""
    for worker_id in ("llm_a", "llm_b"):
        await stand.worker(worker_id)
    gateway = await stand.reply(token_ms=50)
    await gateway.until(lambda: bool(gateway.sentences))
    assert not gateway.over
    first = gateway.worker_id
    stand.workers[first].kill()
    await gateway.until(lambda: gateway.over)
    assert gateway.failed is None
    assert gateway.sentences == SENTENCES
    assert [call.call.name for call in gateway.calls.values()] == ["record_appointment", "end_call"]
    assert [takeover.from_worker for takeover in gateway.takeovers] == [first]
    assert gateway.takeovers[0].to_worker != first
