"""What the processes of a running stack say of themselves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from voxbus.contracts.stage import ProcessStatus
from voxbus.contracts.subjects import STATUS
from voxbus.local.probe import Probe
from voxbus.local.process import memory_bytes
from voxbus.local.state import ProcessInfo, StackInfo
from voxbus.local.supervisor import State

if TYPE_CHECKING:
    from nats.aio.msg import Msg

COLLECT_S: Final = 0.3
"""How long answers on the bus are waited for: nobody knows how many processes there are."""


class ProcessReport(BaseModel):
    """A process as the supervisor, its health endpoint and itself see it."""

    model_config = ConfigDict(frozen=True)

    process: ProcessInfo
    healthy: bool
    """Its health endpoint answers 200."""
    memory_bytes: int | None
    status: ProcessStatus | None
    """Its answer on the bus; None for NATS itself and for a process that did not answer."""

    @property
    def ready(self) -> bool:
        """Whether it can do its work."""
        running = self.process.state == State.READY
        return running and self.healthy and (self.status is None or self.status.ready)

    @property
    def problems(self) -> list[str]:
        """Why it is not ready, as far as it says so itself."""
        stores = self.status.stores if self.status else ()
        return [f"{store.name} {store.problem}" for store in stores if store.problem]


class StackReport(BaseModel):
    """The whole stack."""

    model_config = ConfigDict(frozen=True)

    stack: StackInfo
    processes: tuple[ProcessReport, ...]
    others: tuple[ProcessStatus, ...]
    """Processes on the bus that are not of this stack."""

    @property
    def ready(self) -> bool:
        """Whether every process is ready."""
        return self.stack.ready and all(report.ready for report in self.processes)


async def collect_report(stack: StackInfo, collect_s: float = COLLECT_S) -> StackReport:
    """Ask every process of `stack`, over HTTP and on the bus."""
    probe = Probe()
    try:
        checking = asyncio.gather(*(_check(probe, info) for info in stack.processes))
        statuses, checks = await asyncio.gather(ask_all(stack.nats_url, collect_s), checking)
    finally:
        await probe.close()
    by_id = {status.instance_id: status for status in statuses}
    reports = []
    for info, (healthy, instance_id) in zip(stack.processes, checks, strict=True):
        memory = memory_bytes(info.pid) if info.pid else None
        status = by_id.pop(instance_id, None) if instance_id else None
        reports.append(ProcessReport(process=info, healthy=healthy, memory_bytes=memory, status=status))
    return StackReport(stack=stack, processes=tuple(reports), others=tuple(by_id.values()))


async def ask_all(nats_url: str, collect_s: float = COLLECT_S) -> list[ProcessStatus]:
    """The status of every process on the bus; empty when the bus cannot be reached."""
    import nats  # noqa: PLC0415 - it takes a while, and most commands don't ask
    import nats.errors  # noqa: PLC0415

    try:
        bus = await nats.connect(nats_url, allow_reconnect=False, connect_timeout=2, error_cb=_ignore)
    except (OSError, nats.errors.Error, TimeoutError):
        return []
    answers: list[ProcessStatus] = []

    async def on_answer(message: Msg) -> None:
        try:
            answers.append(ProcessStatus.model_validate_json(message.data))
        except ValidationError:
            return  # a newer process that says it differently; its health endpoint still speaks for it

    try:
        inbox = bus.new_inbox()
        await bus.subscribe(inbox, cb=on_answer)
        await bus.publish(STATUS(), b"", reply=inbox)
        await asyncio.sleep(collect_s)
    finally:
        await bus.close()
    return sorted(answers, key=lambda answer: (answer.service, answer.instance_id))


async def _check(probe: Probe, info: ProcessInfo) -> tuple[bool, str | None]:
    """Whether the health endpoint is fine, and the instance id it tells."""
    healthy, body = await asyncio.gather(probe.ok(info.health_url), probe.json(info.health_url))
    instance_id = body.get("instance_id") if body else None
    return healthy, instance_id if isinstance(instance_id, str) else None


async def _ignore(_error: Exception) -> None:
    """A bus that goes away shows as answers that are missing."""
