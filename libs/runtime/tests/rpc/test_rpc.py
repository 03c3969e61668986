"""Requests over a real bus: what is asked, what is answered, what goes wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import structlog.testing
from prometheus_client import REGISTRY
from rpc_stand import connected, serving
from servers import NatsServer

from voxbus.contracts.agents import (
    COMPARE_AGENT_VERSIONS,
    DELETE_AGENT,
    PATCH_AGENT,
    AgentComparison,
    CompareAgentVersions,
    DeleteAgent,
    PatchAgent,
)
from voxbus.contracts.rpc import Done, FieldProblem, RequestError, RequestErrorCode
from voxbus.runtime.bus import EventBus, NoWorkerError
from voxbus.runtime.rpc import RequestFailedError, RpcClient, RpcServer, not_found

pytestmark = pytest.mark.integration

DELETE = DeleteAgent(agent_id="agent_1")
COMPARE = CompareAgentVersions(agent_id="agent_1", before="1", after="2")


@pytest_asyncio.fixture
async def events(nats_url: str) -> AsyncIterator[EventBus]:
    """The bus of the one who asks."""
    async with connected(nats_url) as bus:
        yield bus


def sample(name: str, **labels: str) -> float:
    """The value of a metric."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def failure(client: RpcClient, *, timeout_s: float = 3.0) -> RequestError:
    """The error of a request that must fail."""
    with pytest.raises(RequestFailedError) as raised:
        await client.request(DELETE_AGENT, DELETE, timeout_s=timeout_s)
    return raised.value.error


async def test_a_request_arrives_whole(nats_url: str, events: EventBus) -> None:
    """A null inside a JSON object is sent: in a merge patch it means to remove."""
    got: list[PatchAgent] = []

    async def patch(request: PatchAgent) -> Done:
        got.append(request)
        return Done()

    sent = PatchAgent(agent_id="agent_1", patch={"greeting": None, "limits": {"max_s": None}})
    async with serving(nats_url, "agents", {PATCH_AGENT: patch}):
        with pytest.raises(RequestFailedError):  # `Done` is no agent, and the asking side checks
            await RpcClient(events).request(PATCH_AGENT, sent)
    assert got == [sent]


async def test_a_result_is_given_back(nats_url: str, events: EventBus) -> None:
    """The caller gets the result model that the handler returned."""

    async def delete(request: DeleteAgent) -> Done:
        assert request == DELETE
        return Done()

    async with serving(nats_url, "agents", {DELETE_AGENT: delete}):
        assert await RpcClient(events).request(DELETE_AGENT, DELETE) == Done()


async def test_requests_are_counted_on_both_sides(nats_url: str, events: EventBus) -> None:
    """Who asks and who answers count by service, operation and outcome, never by an id."""

    async def delete(request: DeleteAgent) -> Done:
        raise not_found("agent")

    labels = {"service": "agents", "operation": "delete", "outcome": "not_found"}
    names = ("voxbus_rpc_served_total", "voxbus_rpc_asked_total")
    before = [sample(name, **labels) for name in names]
    async with serving(nats_url, "agents", {DELETE_AGENT: delete}):
        await failure(RpcClient(events))
    assert [sample(name, **labels) for name in names] == [count + 1 for count in before]


async def test_what_a_handler_logs_carries_the_trace(nats_url: str, events: EventBus) -> None:
    """The trace id of a request is bound while it is worked on, and only there."""

    async def delete(_request: DeleteAgent) -> Done:
        structlog.get_logger("test").info("deleting")
        return Done()

    traced = DELETE.model_copy(update={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        async with serving(nats_url, "agents", {DELETE_AGENT: delete}):
            await RpcClient(events).request(DELETE_AGENT, traced)
            await RpcClient(events).request(DELETE_AGENT, DELETE)
    assert [line.get("trace_id") for line in logs if line["event"] == "deleting"] == ["a" * 32, None]


async def test_a_typed_failure_is_given_back_whole(nats_url: str, events: EventBus) -> None:
    """Code, message, problems and `retryable` of the service reach the caller."""
    problem = FieldProblem(path="/agent_id", message="is used")

    async def delete(_request: DeleteAgent) -> Done:
        raise RequestFailedError(RequestErrorCode.CONFLICT, "in use", problems=(problem,), retryable=True)

    async with serving(nats_url, "agents", {DELETE_AGENT: delete}):
        error = await failure(RpcClient(events))
    assert error == RequestError(code=RequestErrorCode.CONFLICT, message="in use", retryable=True, problems=(problem,))


async def test_an_unknown_exception_tells_the_caller_nothing(nats_url: str, events: EventBus) -> None:
    """It becomes INTERNAL; its text, which may quote a record, is neither answered nor logged above DEBUG."""

    async def delete(_request: DeleteAgent) -> Done:
        raise ValueError("someone@example.org")

    with structlog.testing.capture_logs() as logs:
        async with serving(nats_url, "agents", {DELETE_AGENT: delete}):
            error = await failure(RpcClient(events))
    assert error.code is RequestErrorCode.INTERNAL
    assert "someone" not in error.message
    [entry] = [entry for entry in logs if entry["log_level"] == "error"]
    assert (entry["error"], entry["operation"]) == ("ValueError", "delete")
    assert "in delete" in entry["traceback"]


async def test_a_known_exception_is_translated(nats_url: str, events: EventBus) -> None:
    """What `translate` knows becomes the failure it says."""

    def translate(error: Exception) -> RequestFailedError | None:
        known = isinstance(error, OSError)
        return RequestFailedError(RequestErrorCode.UNAVAILABLE, "later", retryable=True) if known else None

    async def delete(_request: DeleteAgent) -> Done:
        raise OSError

    async with serving(nats_url, "agents", {DELETE_AGENT: delete}, translate=translate):
        error = await failure(RpcClient(events))
    assert (error.code, error.retryable) == (RequestErrorCode.UNAVAILABLE, True)


@pytest.mark.parametrize(("payload", "path"), [(b'{"agent_id": "a b"}', "/agent_id"), (b"{}", "/agent_id"), (b"7", "")])
async def test_a_wrong_request_is_answered_with_its_problems(
    nats_url: str, events: EventBus, payload: bytes, path: str
) -> None:
    """A request that cannot be read is INVALID, and its problems say where."""

    async def delete(_request: DeleteAgent) -> Done:
        raise AssertionError("not reached")

    async with serving(nats_url, "agents", {DELETE_AGENT: delete}):
        reply = await events.request(DELETE_AGENT.subject, payload, 3)
    assert b'"code":"invalid"' in reply
    assert f'"path":"{path}"'.encode() in reply


async def test_what_the_bus_cannot_carry_is_too_large(nats_url: str, events: EventBus) -> None:
    """A request or an answer above the bus's limit fails with TOO_LARGE, not with silence."""

    async def compare(_request: CompareAgentVersions) -> AgentComparison:
        return AgentComparison.model_construct(agent_id="x" * 2_000_000)

    async def patch(_request: PatchAgent) -> Done:
        raise AssertionError("not reached")

    async with serving(nats_url, "agents", {COMPARE_AGENT_VERSIONS: compare, PATCH_AGENT: patch}):
        with pytest.raises(RequestFailedError) as answer:
            await RpcClient(events).request(COMPARE_AGENT_VERSIONS, COMPARE)
        with pytest.raises(RequestFailedError) as request:
            await RpcClient(events).request(PATCH_AGENT, PatchAgent(agent_id="a", patch={"x": "y" * 2_000_000}))
    assert answer.value.code is RequestErrorCode.TOO_LARGE
    assert request.value.code is RequestErrorCode.TOO_LARGE


async def test_a_service_that_is_not_there_is_unavailable(events: EventBus) -> None:
    """Without a process of the service the request fails soon, as worth another try."""
    started = time.monotonic()
    error = await failure(RpcClient(events))
    assert (error.code, error.retryable) == (RequestErrorCode.UNAVAILABLE, True)
    assert time.monotonic() - started < 2


async def test_a_service_that_is_started_anew_is_waited_for(nats_url: str, events: EventBus) -> None:
    """A request sent while no process is there is answered by the one that comes within half a second."""

    async def delete(_request: DeleteAgent) -> Done:
        return Done()

    asking = asyncio.create_task(RpcClient(events).request(DELETE_AGENT, DELETE))
    await asyncio.sleep(0)
    async with serving(nats_url, "agents", {DELETE_AGENT: delete}):
        assert await asking == Done()


async def test_only_what_is_safe_is_tried_again(nats_url: str, events: EventBus) -> None:
    """A read that is not answered in time is sent once more; a change is not, and both are UNAVAILABLE in the end."""
    reads: list[int] = []
    changes: list[int] = []
    given_up = asyncio.Event()

    async def compare(_request: CompareAgentVersions) -> AgentComparison:
        reads.append(1)
        await given_up.wait()
        raise RequestFailedError(RequestErrorCode.INTERNAL, "too late")

    async def delete(_request: DeleteAgent) -> Done:
        changes.append(1)
        await given_up.wait()
        return Done()

    async with serving(nats_url, "agents", {COMPARE_AGENT_VERSIONS: compare, DELETE_AGENT: delete}):
        error = await failure(RpcClient(events), timeout_s=0.1)
        with pytest.raises(RequestFailedError) as read:
            await RpcClient(events).request(COMPARE_AGENT_VERSIONS, COMPARE, timeout_s=0.1)
        given_up.set()
    assert error.code is read.value.code is RequestErrorCode.UNAVAILABLE
    assert (len(reads), len(changes)) == (2, 1)


async def test_without_a_bus_it_fails_at_once(nats_server: NatsServer) -> None:
    """While the bus is away a request is UNAVAILABLE without waiting for its time to run out."""
    async with connected(nats_server.url) as events:
        nats_server.stop()
        while events.connected:
            await asyncio.sleep(0.01)
        started = time.monotonic()
        error = await failure(RpcClient(events))
        assert time.monotonic() - started < 0.2
    assert (error.code, error.retryable) == (RequestErrorCode.UNAVAILABLE, True)


async def test_no_more_than_max_workers_run_at_a_time(nats_url: str, events: EventBus) -> None:
    """Requests beyond the limit wait and are answered later."""
    running = most = 0

    async def delete(_request: DeleteAgent) -> Done:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        return Done()

    async with serving(nats_url, "agents", {DELETE_AGENT: delete}, max_workers=3):
        client = RpcClient(events)
        await asyncio.gather(*(client.request(DELETE_AGENT, DELETE) for _ in range(20)))
    assert most == 3


async def test_what_nobody_waits_for_any_more_is_not_done(nats_url: str, events: EventBus) -> None:
    """A request that waited for its turn until its sender gave up is dropped, and the next one is answered."""
    begun: list[int] = []
    busy, go_on = asyncio.Event(), asyncio.Event()

    async def delete(_request: DeleteAgent) -> Done:
        begun.append(1)
        busy.set()
        await go_on.wait()
        return Done()

    async with serving(nats_url, "agents", {DELETE_AGENT: delete}, max_workers=1):
        client = RpcClient(events)
        late = sample("voxbus_rpc_served_total", service="agents", operation="delete", outcome="late")
        first = asyncio.create_task(client.request(DELETE_AGENT, DELETE))
        await busy.wait()
        # Waited for less than a millisecond, which the message tells as 0: their time is over before their turn comes.
        errors = await asyncio.gather(*(failure(client, timeout_s=0.0009) for _ in range(4)))
        assert {error.code for error in errors} == {RequestErrorCode.UNAVAILABLE}
        go_on.set()
        assert await first == Done()
        assert await client.request(DELETE_AGENT, DELETE) == Done()
        after = sample("voxbus_rpc_served_total", service="agents", operation="delete", outcome="late")
    assert len(begun) == 2
    assert after - late == 4


async def test_an_overloaded_service_refuses_at_once(nats_url: str, events: EventBus) -> None:
    """More requests than may wait are UNAVAILABLE without waiting, and those that wait are answered."""
    go_on = asyncio.Event()

    async def delete(_request: DeleteAgent) -> Done:
        await go_on.wait()
        return Done()

    async with serving(nats_url, "agents", {DELETE_AGENT: delete}, max_workers=1, max_waiting=2):
        client = RpcClient(events)
        waiting = [asyncio.create_task(client.request(DELETE_AGENT, DELETE)) for _ in range(3)]
        await asyncio.sleep(0)
        await events.flush()
        refused = await failure(client)
        go_on.set()
        assert await asyncio.gather(*waiting) == [Done()] * 3
    assert (refused.code, refused.message, refused.retryable) == (
        RequestErrorCode.UNAVAILABLE,
        "the service is overloaded",
        True,
    )


async def test_a_server_answers_for_its_own_service(events: EventBus) -> None:
    """An operation of another service is refused when it is registered."""

    async def delete(_request: DeleteAgent) -> Done:
        return Done()

    with pytest.raises(ValueError, match=r"voxbus\.rpc\.agents\.delete\.v1"):
        RpcServer(events, "campaigns").answer(DELETE_AGENT, delete)


@pytest.mark.parametrize("max_workers", [2, 32])
async def test_no_request_is_lost_when_one_of_two_processes_stops(
    nats_url: str, events: EventBus, max_workers: int
) -> None:
    """Under a steady load one of two leaves the group, with requests running and queued: every request is answered once."""
    done: list[str] = []

    async def delete(request: DeleteAgent) -> Done:
        await asyncio.sleep(0.005)
        done.append(request.agent_id)
        return Done()

    handlers = {DELETE_AGENT: delete}
    client = RpcClient(events)
    stopping = asyncio.Event()
    asked: list[str] = []

    async def ask(worker: int) -> None:
        number = 0
        while not stopping.is_set():
            number += 1
            asked.append(f"agent_{worker}_{number}")
            await client.request(DELETE_AGENT, DeleteAgent(agent_id=asked[-1]), timeout_s=10)

    async def progress(by: int) -> None:
        target = len(done) + by
        while len(done) < target:
            await asyncio.sleep(0.001)

    async with serving(nats_url, "agents", handlers, max_workers=max_workers):
        load = [asyncio.create_task(ask(worker)) for worker in range(20)]
        for _ in range(5):
            async with serving(nats_url, "agents", handlers, max_workers=max_workers):
                await progress(by=60)
            await progress(by=20)
        stopping.set()
        await asyncio.gather(*load)
    assert sorted(done) == sorted(asked)


async def test_a_service_is_back_in_its_group_when_the_bus_is(nats_server: NatsServer) -> None:
    """After the bus was away, a process answers again by itself."""

    async def delete(_request: DeleteAgent) -> Done:
        return Done()

    async with connected(nats_server.url, "agents") as events:
        server = RpcServer(events, "agents")
        server.answer(DELETE_AGENT, delete)
        await server.start()
        nats_server.stop()
        while events.connected:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(nats_server.start)
        while not events.connected:
            await asyncio.sleep(0.01)
        await events.flush()
        assert await RpcClient(events).request(DELETE_AGENT, DELETE) == Done()
        await server.drain()


async def test_a_drain_without_a_bus_is_quick(nats_server: NatsServer) -> None:
    """A process that stops while the bus is away does not wait for it, nor comes back to the group when it is there."""

    async def delete(_request: DeleteAgent) -> Done:
        raise AssertionError("not reached")

    async with connected(nats_server.url, "agents") as events:
        server = RpcServer(events, "agents")
        server.answer(DELETE_AGENT, delete)
        await server.start()
        nats_server.stop()
        while events.connected:
            await asyncio.sleep(0.01)
        started = time.monotonic()
        await server.drain()
        assert time.monotonic() - started < 1
        await asyncio.to_thread(nats_server.start)
        while not events.connected:
            await asyncio.sleep(0.01)
        await events.flush()
        with pytest.raises(NoWorkerError):
            await events.request(DELETE_AGENT.subject, DELETE.encode(), 3)
