"""A service is killed between the write of a document and the publishing of its event."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import nats
import pytest
from control_plane import ControlPlane, ServiceProcess
from nats.js.errors import NotFoundError
from pymongo import MongoClient
from servers import provision

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

KILLS = 12
WRITERS = 4


class Writer(threading.Thread):
    """Makes agents through the REST API until it is told to stop; keeps the ids of what was acknowledged."""

    def __init__(self, url: str, authorization: str, stopping: threading.Event) -> None:
        super().__init__()
        self.made: set[str] = set()
        self._stopping = stopping
        self._client = httpx.Client(base_url=url, headers={"authorization": authorization}, timeout=20)

    def run(self) -> None:
        number = 0
        while not self._stopping.is_set():
            number += 1
            try:
                answer = self._client.post("/agents", json={"name": f"Agent {number}"})
            except httpx.HTTPError:
                continue
            if answer.status_code == 201:
                self.made.add(answer.json()["id"])
        self._client.close()


async def created_events(nats_url: str) -> Counter[str]:
    """How often the stream holds the event of each agent's creation."""
    bus = await nats.connect(nats_url)
    stream = bus.jetstream()
    found: Counter[str] = Counter()
    try:
        subscription = await stream.pull_subscribe("voxbus.event.agent.created.v1", stream="EVENTS")
        while True:
            try:
                messages = await subscription.fetch(200, timeout=1)
            except (TimeoutError, nats.errors.TimeoutError):
                return found
            for message in messages:
                found[json.loads(message.data)["agent_id"]] += 1
                await message.ack()
    except NotFoundError:
        return found
    finally:
        await bus.close()


def waiting_entries(plane: ControlPlane) -> int:
    """Documents whose events are not published yet."""
    with MongoClient(plane.mongo.url) as client:
        return client["voxbus"]["agents"].count_documents({"outbox.0": {"$exists": True}})


def stored_agents(plane: ControlPlane) -> set[str]:
    """The ids of all agents in the store, acknowledged to a client or not."""
    with MongoClient(plane.mongo.url) as client:
        return {document["_id"] for document in client["voxbus"]["agents"].find({}, {"_id": 1})}


def kill_in_turns(processes: list[ServiceProcess], rounds: int) -> None:
    """kill -9 one process at a random moment of its work, start it again, then the next."""
    chance = random.Random(7)  # noqa: S311
    for number in range(rounds):
        victim = processes[number % len(processes)]
        time.sleep(chance.uniform(0.2, 0.8))  # the moment of the kill is what is random here
        victim.kill()
        victim.start()
        victim.wait_ready()


def test_no_event_is_lost_when_processes_die_between_write_and_publish(tmp_path: Path) -> None:
    """Every agent in the store has its event in the stream, though both processes of the service are killed again and again."""
    with ControlPlane(tmp_path, counts={"agents": 2}) as plane:
        with plane.log_in() as admin:
            authorization = admin.headers["authorization"]
        stopping = threading.Event()
        writers = [Writer(plane.url, authorization, stopping) for _ in range(WRITERS)]
        for writer in writers:
            writer.start()
        try:
            kill_in_turns(plane.of("agents"), KILLS)
        finally:
            stopping.set()
            for writer in writers:
                writer.join()
        deadline = time.monotonic() + 60
        while waiting_entries(plane) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert waiting_entries(plane) == 0
        made = set[str]().union(*(writer.made for writer in writers))
        stored, events = stored_agents(plane), asyncio.run(created_events(plane.nats.url))
    assert len(made) > KILLS
    assert made <= stored
    assert set(events) == stored
    assert set(events.values()) == {1}


def test_events_that_waited_in_a_killed_service_are_published_once_it_is_back(tmp_path: Path) -> None:
    """While the stream is missing writes succeed and events wait; kill -9, stream and service back: each event is there once."""
    with ControlPlane(tmp_path) as plane:
        with plane.log_in() as admin:
            asyncio.run(_delete_stream(plane.nats.url))
            made = {admin.post("/agents", json={"name": f"Agent {number}"}).json()["id"] for number in range(20)}
        assert waiting_entries(plane) == len(made)
        (service,) = plane.of("agents")
        service.kill()
        provision(plane.nats.url)
        service.start()
        service.wait_ready()
        deadline = time.monotonic() + 30
        while waiting_entries(plane) and time.monotonic() < deadline:
            time.sleep(0.1)
        events = asyncio.run(created_events(plane.nats.url))
    assert events == Counter(made)


async def _delete_stream(nats_url: str) -> None:
    bus = await nats.connect(nats_url)
    await bus.jetstream().delete_stream("EVENTS")
    await bus.close()
