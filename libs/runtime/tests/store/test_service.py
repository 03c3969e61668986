"""A service with a store as a process, as its supervisor and those who ask it see it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import nats
import pytest
from rpc_stand import connected
from servers import MongoServer, NatsServer, free_port, provision_bus

from voxbus.contracts.base import Message, new_id
from voxbus.contracts.rpc import CreateRequest, Operation, RequestErrorCode
from voxbus.contracts.stage import ProcessStatus
from voxbus.contracts.subjects import STATUS
from voxbus.runtime.bus import EventBus
from voxbus.runtime.rpc import RequestFailedError, RpcClient

pytestmark = pytest.mark.integration

NOTES = Path(__file__).parent / "notes_service.py"


class CreateNote(CreateRequest):
    note_id: str


class Note(Message):
    event_id: str


CREATE_NOTE = Operation("notes", "create", CreateNote, Note)


class Service:
    """A process of the notes service."""

    def __init__(self, directory: Path, nats_url: str, mongo_url: str, database: str) -> None:
        self._http = f"http://127.0.0.1:{(port := free_port())}"
        self.log = directory / f"notes-{port}.log"
        environment = {
            "VOXBUS_NATS_URL": nats_url,
            "VOXBUS_MONGO_URL": mongo_url,
            "VOXBUS_MONGO_DATABASE": database,
            "VOXBUS_HTTP_PORT": str(port),
        }
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(NOTES)],
                env={**os.environ, **environment},
                cwd=directory,
                stdout=output,
                stderr=output,
            )

    async def ready(self) -> tuple[int, dict[str, str]]:
        """What `/ready` says: the status, 0 while nobody listens, and the checks."""
        async with httpx.AsyncClient() as client:
            try:
                answer = await client.get(f"{self._http}/ready")
            except httpx.HTTPError:
                return 0, {}
        return answer.status_code, json.loads(answer.text)["checks"]

    async def until_ready(self, status: int = 200) -> dict[str, str]:
        """Wait for this status and return the checks."""
        async with asyncio.timeout(60):
            while True:
                found, checks = await self.ready()
                if found == status:
                    return checks
                assert self.process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.05)

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, 15)


Start = Callable[[str, str], Service]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start processes on the same database; they are killed at the end of the test."""
    started: list[Service] = []
    database = new_id("test")

    def make(nats_url: str, mongo_url: str) -> Service:
        started.append(Service(tmp_path, nats_url, mongo_url, database))
        return started[-1]

    yield make
    for service in started:
        service.process.kill()
        service.process.wait()


async def create(events: EventBus, note_id: str) -> str:
    """Make a note; the id of the event that tells it."""
    return (await RpcClient(events).request(CREATE_NOTE, CreateNote(note_id=note_id), timeout_s=10)).event_id


async def kept(nats_url: str, count: int) -> list[str]:
    """The ids in the stream, once it holds so many."""
    bus = await nats.connect(nats_url)
    js = bus.jetstream()
    async with asyncio.timeout(20):
        while (await js.stream_info("EVENTS")).state.messages < count:
            await asyncio.sleep(0.05)
    ids = [
        ((await js.get_msg("EVENTS", number + 1)).headers or {})["ce-id"]
        for number in range((await js.stream_info("EVENTS")).state.messages)
    ]
    await bus.close()
    return ids


async def test_it_survives_its_store(start: Start, nats_server: NatsServer, tmp_path: Path) -> None:
    """It answers, says that the store is away and fails requests meanwhile, and answers again without a restart."""
    await provision_bus(nats_server.url)
    mongo = MongoServer(tmp_path / "mongo")
    service = start(nats_server.url, mongo.url)
    await service.until_ready(503)  # not ready before there is a store
    try:
        await asyncio.to_thread(mongo.start)
        await service.until_ready()
        async with connected(nats_server.url) as events:
            told = [await create(events, "note_1")]
            reply = await events.request(STATUS.template, b"", 3)
            [store] = ProcessStatus.model_validate_json(reply).stores
            assert (store.name, store.problem) == ("mongodb", None)
            mongo.stop()
            checks = await service.until_ready(503)
            assert "does not answer" in checks["mongodb"]
            with pytest.raises(RequestFailedError) as raised:
                await create(events, "note_2")
            assert (raised.value.code, raised.value.error.retryable) == (RequestErrorCode.UNAVAILABLE, True)
            await asyncio.to_thread(mongo.start)
            await service.until_ready()
            told.append(await create(events, "note_3"))
            assert await kept(nats_server.url, 2) == told
        assert await service.stop() == 0
    finally:
        mongo.stop()


async def test_it_can_be_stopped_while_it_waits_for_the_store(start: Start, nats_server: NatsServer) -> None:
    """SIGTERM ends a process that has not reached its store yet."""
    service = start(nats_server.url, f"mongodb://127.0.0.1:{free_port()}")
    async with asyncio.timeout(30):
        while not (await service.ready())[1].get("mongodb", "").startswith("does not answer"):
            await asyncio.sleep(0.05)
    assert await service.stop() == 0
    assert '"message": "stopped"' in service.log.read_text()
    assert '"message": "ready"' not in service.log.read_text()


async def test_a_process_killed_before_it_could_publish_loses_no_event(
    start: Start, nats_server: NatsServer, mongo_url: str
) -> None:
    """What was written while the stream was missing is published by the next process, once."""
    service = start(nats_server.url, mongo_url)
    await service.until_ready()
    async with connected(nats_server.url) as events:
        told = [await create(events, f"note_{number}") for number in range(5)]
    await service.stop(signal.SIGKILL)
    await provision_bus(nats_server.url)
    await start(nats_server.url, mongo_url).until_ready()
    assert sorted(await kept(nats_server.url, 5)) == sorted(told)


async def test_one_of_two_processes_stops_unnoticed(start: Start, nats_server: NatsServer, mongo_url: str) -> None:
    """SIGTERM of one while both answer: every note is made, and told once."""
    await provision_bus(nats_server.url)
    services = [start(nats_server.url, mongo_url) for _ in range(2)]
    for service in services:
        await service.until_ready()
    stopping = asyncio.create_task(services[0].stop())
    told: list[str] = []
    async with connected(nats_server.url) as events:
        while not stopping.done():
            told += await asyncio.gather(*(create(events, new_id("note")) for _ in range(5)))
    assert await stopping == 0
    assert sorted(await kept(nats_server.url, len(told))) == sorted(told)
