"""How the platform is: what every process says of itself on the bus, put together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, Field

from voxbus.contracts.stage import ProcessStatus, Stage, StoreStatus


class State(StrEnum):
    """How something is."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


class ServiceHealth(BaseModel):
    """A service: all of its processes together."""

    name: str = Field(examples=["auth"])
    status: State
    """`degraded`: some of its processes are not ready; `down`: none is."""
    processes: int
    ready: int
    latency_ms: float | None = None
    """How long its fastest process took to answer on the bus."""


class ProviderHealth(BaseModel):
    """A provider of a stage."""

    stage: Stage
    name: str = Field(examples=["local"])
    status: State
    workers: int
    """That are ready and have it."""
    latency_ms: float | None = None
    """How long the fastest worker that has it took to answer on the bus."""


class StoreHealth(BaseModel):
    """A store, as those who use it see it."""

    name: str = Field(examples=["mongodb"])
    status: State
    """`degraded`: some of those who use it cannot reach it; `down`: none can."""
    latency_ms: float | None = None
    """How long its slowest last answer took."""


class PlatformHealth(BaseModel):
    """How the platform is."""

    status: State
    """`down`: no call can be begun; `degraded`: something is not as it should be."""
    services: list[ServiceHealth]
    providers: list[ProviderHealth]
    stores: list[StoreHealth]


@dataclass(frozen=True)
class Answer:
    """What a process said, and after how long."""

    status: ProcessStatus
    latency_ms: float


_WORKERS: Final = {f"{stage.value}-worker": stage for stage in Stage}
_NEEDED_FOR_CALLS: Final = frozenset({"auth", "agents", "voice-gateway", *_WORKERS})


def judge(answers: Sequence[Answer], expected: Sequence[str], own_stores: Sequence[StoreStatus]) -> PlatformHealth:
    """The health that follows from the answers; a service of `expected` that did not answer is down."""
    services = _services(answers, expected)
    stores = _stores([*(store for answer in answers for store in answer.status.stores), *own_stores])
    providers = _providers(answers)
    if any(service.status is State.DOWN and service.name in _NEEDED_FOR_CALLS for service in services):
        status = State.DOWN
    elif all(state is State.OK for state in _states(services, stores, providers)):
        status = State.OK
    else:
        status = State.DEGRADED
    return PlatformHealth(status=status, services=services, providers=providers, stores=stores)


def _states(
    services: Sequence[ServiceHealth], stores: Sequence[StoreHealth], providers: Sequence[ProviderHealth]
) -> list[State]:
    return [*(s.status for s in services), *(s.status for s in stores), *(p.status for p in providers)]


def _state(good: int, all_: int) -> State:
    if not good:
        return State.DOWN
    return State.OK if good == all_ else State.DEGRADED


def _services(answers: Iterable[Answer], expected: Sequence[str]) -> list[ServiceHealth]:
    of: dict[str, list[Answer]] = {name: [] for name in expected}
    for answer in answers:
        # One that drains is being replaced or stopped on purpose: nothing is wrong with it, and it does no work.
        if not answer.status.draining:
            of.setdefault(answer.status.service, []).append(answer)
    return [_service(name, found) for name, found in sorted(of.items())]


def _service(name: str, answers: Sequence[Answer]) -> ServiceHealth:
    ready = sum(answer.status.ready for answer in answers)
    return ServiceHealth(
        name=name,
        status=_state(ready, len(answers)),
        processes=len(answers),
        ready=ready,
        latency_ms=_fastest(answers),
    )


def _providers(answers: Iterable[Answer]) -> list[ProviderHealth]:
    of: dict[tuple[Stage, str], list[Answer]] = defaultdict(list)
    for answer in answers:
        stage = _WORKERS.get(answer.status.service)
        if stage is not None and not answer.status.draining:
            for name in answer.status.providers:
                of[stage, name].append(answer)
    return [_provider(stage, name, found) for (stage, name), found in sorted(of.items(), key=lambda item: item[0])]


def _provider(stage: Stage, name: str, answers: Sequence[Answer]) -> ProviderHealth:
    ready = sum(answer.status.ready for answer in answers)
    return ProviderHealth(
        stage=stage,
        name=name,
        status=_state(ready, len(answers)),
        workers=ready,
        latency_ms=_fastest(answers),
    )


def _fastest(answers: Iterable[Answer]) -> float | None:
    return min((round(answer.latency_ms, 2) for answer in answers), default=None)


def _stores(seen: Iterable[StoreStatus]) -> list[StoreHealth]:
    by_name: dict[str, list[StoreStatus]] = defaultdict(list)
    for store in seen:
        by_name[store.name].append(store)
    return [
        StoreHealth(
            name=name,
            status=_state(sum(store.problem is None for store in stores), len(stores)),
            latency_ms=max((store.latency_ms for store in stores if store.latency_ms is not None), default=None),
        )
        for name, stores in sorted(by_name.items())
    ]
