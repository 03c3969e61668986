"""Rate limits that processes share, on a real NATS."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from servers import NatsServer

from voxbus.contracts.base import new_id
from voxbus.runtime.bus import EventBus
from voxbus.voice_gateway.rest.errors import ProblemError
from voxbus.voice_gateway.rest.limits import SharedLimits
from voxbus.voice_gateway.rest.settings import Rate
from voxbus.voice_gateway.rest.windows import SlidingWindows

NAME = "login"
Take = Callable[[SharedLimits, str], "asyncio.Future[ProblemError | None]"]


@asynccontextmanager
async def gateway(url: str, rate: Rate | None) -> AsyncIterator[SharedLimits]:
    """The limits of one process."""
    bus = EventBus(url, "rest-gateway", new_id("p"))
    await bus.start()
    limits = SharedLimits(bus, {NAME: rate})
    await limits.start()
    yield limits
    await limits.stop()
    await bus.stop()


async def refusal(limits: SharedLimits, key: str) -> ProblemError | None:
    """Why a request is refused; None when it is counted."""
    try:
        await limits.take(NAME, key)
    except ProblemError as error:
        return error
    return None


def alone() -> float:
    """How often a process counted for itself."""
    return REGISTRY.get_sample_value("voxbus_rest_rate_limit_local_total", {"limit": NAME}) or 0.0


@pytest_asyncio.fixture
async def two(nats_server: NatsServer) -> AsyncIterator[tuple[SharedLimits, SharedLimits]]:
    """Two processes with a limit of 5 in 2 seconds."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(gateway(nats_server.url, Rate(5, 2)))
        second = await stack.enter_async_context(gateway(nats_server.url, Rate(5, 2)))
        yield first, second


@pytest.mark.integration
async def test_two_processes_count_together(two: tuple[SharedLimits, SharedLimits]) -> None:
    """Of 20 requests at once at two processes exactly as many as allowed are counted."""
    before = alone()
    answers = await asyncio.gather(*(refusal(limits, "192.0.2.1") for limits in two for _ in range(10)))
    assert sum(answer is None for answer in answers) == 5
    assert alone() == before


@pytest.mark.integration
async def test_keys_are_apart(two: tuple[SharedLimits, SharedLimits]) -> None:
    """One who asks too often takes nothing from another."""
    for _ in range(6):
        last = await refusal(two[0], "192.0.2.1")
    assert last is not None
    assert await refusal(two[1], "192.0.2.2") is None


@pytest.mark.integration
async def test_what_a_refusal_says(two: tuple[SharedLimits, SharedLimits]) -> None:
    """A refusal is a 429 with the time after which the next request is counted, and it is."""
    for _ in range(5):
        await refusal(two[0], "a")
    error = await refusal(two[1], "a")
    assert error is not None
    wait_s = int(error.headers["Retry-After"])
    assert (error.status, error.code) == (429, "rate_limited")
    assert error.headers["RateLimit-Policy"] == '"login";q=5;w=2'
    assert error.headers["RateLimit"] == f'"login";r=0;t={wait_s}'
    assert 1 <= wait_s <= 2
    started = time.monotonic()
    while await refusal(two[1], "a"):
        await asyncio.sleep(0.02)
        assert time.monotonic() - started < wait_s + 1.5


@pytest.mark.integration
async def test_the_window_slides(two: tuple[SharedLimits, SharedLimits]) -> None:
    """However the requests come, no window of 2 seconds holds more than 5 that were counted."""
    taken: list[float] = []
    ends = time.monotonic() + 4
    while time.monotonic() < ends:
        for limits in two:
            before = time.monotonic()
            if await refusal(limits, "a") is None:
                taken.append(before)
        await asyncio.sleep(0.01)
    # The server's clock starts the window a little after ours.
    assert len(taken) > 5
    assert all(later - first > 1.95 for first, later in zip(taken, taken[5:], strict=False))


@pytest.mark.integration
async def test_off(nats_server: NatsServer) -> None:
    """A limit that is off lets everything pass and needs no stream."""
    async with gateway(nats_server.url, None) as limits:
        for _ in range(50):
            assert await refusal(limits, "a") is None


@pytest.mark.integration
async def test_a_new_limit(nats_server: NatsServer) -> None:
    """A process that starts with another limit brings the stream to it."""
    async with gateway(nats_server.url, Rate(5, 60)), gateway(nats_server.url, Rate(2, 60)) as limits:
        answers = [await refusal(limits, "a") for _ in range(4)]
        assert [answer is None for answer in answers] == [True, True, False, False]


@pytest.mark.integration
async def test_the_bus_goes_away_and_comes_back(nats_server: NatsServer) -> None:
    """Without NATS a process counts for itself, at once and as strictly; when NATS is back the count is shared again."""
    async with gateway(nats_server.url, Rate(3, 60)) as limits:
        nats_server.stop()
        before, started = alone(), time.monotonic()
        answers = [await refusal(limits, "a") for _ in range(5)]
        assert [answer is None for answer in answers] == [True, True, True, False, False]
        assert time.monotonic() - started < 2
        assert alone() > before
        nats_server.start()
        deadline = time.monotonic() + 20
        number = 0
        while True:
            number += 1
            before = alone()
            assert await refusal(limits, f"b{number}") is None
            if alone() == before:
                break
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


@pytest.mark.integration
async def test_the_stream_is_deleted(nats_server: NatsServer) -> None:
    """A stream that somebody deleted is made again, and no request fails meanwhile."""
    async with gateway(nats_server.url, Rate(1000, 60)) as limits:
        js = limits._client.jetstream()
        await js.delete_stream(f"LIMIT_{NAME}")
        deadline = time.monotonic() + 10
        while not any(info.config.name == f"LIMIT_{NAME}" for info in await js.streams_info()):
            assert await refusal(limits, "a") is None
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


@pytest.mark.integration
async def test_the_stream_is_full(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """When more are counted than there is room for, nobody is refused for it: the process counts for itself."""
    monkeypatch.setattr("voxbus.voice_gateway.rest.limits._MAX_BYTES", 2000)
    async with gateway(nats_server.url, Rate(50, 60)) as limits:
        before = alone()
        for number in range(60):
            assert await refusal(limits, f"key{number}") is None
        assert alone() > before


@pytest.mark.unit
@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from("ab")), max_size=40),
)
def test_windows_of_one_process(limit: int, steps: list[tuple[int, str]]) -> None:
    """No window ever holds more than allowed, nothing is refused that would fit, and the wait that is told is enough."""
    now = 0.0
    windows = SlidingWindows(Rate(limit, 5), lambda: now)
    taken: dict[str, list[float]] = {"a": [], "b": []}
    for quarters, key in steps:
        now += quarters / 4  # sums of these are exact
        inside = [moment for moment in taken[key] if moment > now - 5]
        wait_s = windows.take(key)
        assert (wait_s is None) == (len(inside) < limit)
        if wait_s is None:
            taken[key].append(now)
        else:
            assert sum(moment > now + wait_s - 5 for moment in inside) < limit
