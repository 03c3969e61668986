"""What `/health` makes of the answers of processes."""

from __future__ import annotations

from typing import Any

import pytest

from voxbus.contracts.stage import ProcessStatus, Stage, StoreStatus
from voxbus.voice_gateway.rest.health import Answer, PlatformHealth, ServiceHealth, State, judge

pytestmark = pytest.mark.unit

ALL = ("auth", "agents", "campaigns", "voice-gateway", "stt-worker", "llm-worker", "tts-worker")
MONGO = StoreStatus(name="mongodb", latency_ms=1.5)
BROKEN = StoreStatus(name="mongodb", problem="no answer")


def process(service: str, *, ready: bool = True, latency_ms: float = 1.0, **more: Any) -> Answer:
    """The answer of a process."""
    providers = ("local",) if service.endswith("-worker") else ()
    status = ProcessStatus(
        service=service, instance_id="p", version="1", uptime_s=1, ready=ready, **{"providers": providers, **more}
    )
    return Answer(status, latency_ms)


def judged(*answers: Answer, without: str = "") -> PlatformHealth:
    """The health of a platform where everything answers, `answers` besides, and `without` does not."""
    named = {answer.status.service for answer in answers}
    rest = [process(name) for name in ALL if name != without and name not in named]
    return judge([*rest, *answers], ALL, [StoreStatus(name="jetstream", latency_ms=0.5)])


def service(health: PlatformHealth, name: str) -> ServiceHealth:
    """A service of the report."""
    return next(service for service in health.services if service.name == name)


def test_all_is_well() -> None:
    """With a ready process of each service the platform is ok, and each service, provider and store is named."""
    health = judged(process("agents", stores=(MONGO,)))
    assert health.status is State.OK
    assert {service.name for service in health.services} == set(ALL)
    assert [(provider.stage, provider.name) for provider in health.providers] == [
        (stage, "local") for stage in sorted(Stage)
    ]
    assert {(store.name, store.latency_ms) for store in health.stores} == {("jetstream", 0.5), ("mongodb", 1.5)}


@pytest.mark.parametrize("name", [name for name in ALL if name != "campaigns"])
def test_nothing_that_calls_need_may_be_missing(name: str) -> None:
    """Without a process of what a call needs the platform is down, and so it is when none is ready."""
    health = judged(without=name)
    assert (health.status, service(health, name).status) == (State.DOWN, State.DOWN)
    assert judged(process(name, ready=False)).status is State.DOWN


def test_campaigns_missing() -> None:
    """Calls can be made without campaigns, so the platform is degraded."""
    health = judged(without="campaigns")
    assert (health.status, service(health, "campaigns").status) == (State.DEGRADED, State.DOWN)


def test_one_of_two_not_ready() -> None:
    """A service with a process that is not ready is degraded; its latency is that of the fastest."""
    health = judged(process("agents", latency_ms=4.0), process("agents", ready=False, latency_ms=2.0))
    found = service(health, "agents")
    assert (health.status, found.status, found.processes, found.ready) == (State.DEGRADED, State.DEGRADED, 2, 1)
    assert found.latency_ms == 2.0


def test_draining() -> None:
    """A process that is being stopped is no trouble while another does the work, and no help when none does."""
    assert judged(process("agents"), process("agents", ready=False, draining=True)).status is State.OK
    assert judged(process("agents", draining=True)).status is State.DOWN


def test_stores() -> None:
    """A store that one of two processes cannot reach is degraded, one that none can reach is down."""
    one = judged(process("agents", stores=(MONGO,)), process("auth", stores=(BROKEN,)))
    assert (one.status, one.stores[-1].status) == (State.DEGRADED, State.DEGRADED)
    none = judged(process("agents", stores=(BROKEN,)), process("auth", stores=(BROKEN,)))
    assert (none.status, none.stores[-1].status, none.stores[-1].latency_ms) == (State.DEGRADED, State.DOWN, None)


def test_the_latency_of_a_provider() -> None:
    """A provider's latency is that of the fastest worker that has it."""
    health = judged(
        process("llm-worker", latency_ms=4.0),
        process("llm-worker", latency_ms=2.5, providers=("local", "other")),
        process("llm-worker", latency_ms=1.5, providers=("other",)),
    )
    found = {provider.name: provider.latency_ms for provider in health.providers if provider.stage is Stage.LLM}
    assert found == {"local": 2.5, "other": 1.5}


def test_providers() -> None:
    """A provider that no ready worker has is down."""
    health = judged(
        process("llm-worker", providers=("local",)), process("llm-worker", ready=False, providers=("other",))
    )
    llm = {
        provider.name: (provider.status, provider.workers)
        for provider in health.providers
        if provider.stage is Stage.LLM
    }
    assert llm == {"local": (State.OK, 1), "other": (State.DOWN, 0)}


def test_unexpected_services() -> None:
    """A service that nobody expects is reported too."""
    assert service(judged(process("recorder")), "recorder").status is State.OK
