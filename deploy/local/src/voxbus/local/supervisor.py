"""Starts processes in order, waits until each is ready, restarts what dies, and stops everything in reverse."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Protocol

from voxbus.contracts.base import new_id
from voxbus.local.errors import CommandError, ProcessFailedError
from voxbus.local.probe import Probe
from voxbus.local.process import ManagedProcess, Preparation, ProcessSpec, describe_exit

BACKOFF_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_STABLE_S: Final = 30.0
"""A process that ran for this long starts over with the shortest back-off."""


class State(StrEnum):
    """Where a process is in its life."""

    WAITING = "waiting"
    PREPARING = "preparing"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass
class Supervised:
    """A process and what is known of it; the supervisor alone changes it."""

    spec: ProcessSpec
    process: ManagedProcess
    state: State = State.WAITING
    ready_s: float | None = None
    restarts: int = 0
    was_ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by its first ready answer."""


class Observer(Protocol):
    """Is told what happens, in the event loop of the supervisor; must return fast."""

    def changed(self, member: Supervised, detail: str) -> None:
        """`member` is in a new state; `detail` is a sentence part for a person, empty when the state says it all."""

    def preparing(self, preparation: Preparation, log_file: Path) -> None:
        """A preparation started; it writes its progress into `log_file`."""

    def prepared(self, preparation: Preparation, seconds: float) -> None:
        """A preparation succeeded."""


class Supervisor:
    """Runs a set of processes."""

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        log_dir: Path,
        observer: Observer,
        *,
        backoff_s: Sequence[float] = BACKOFF_S,
    ) -> None:
        ordered = sorted(specs, key=lambda spec: spec.rank)
        self.members = [Supervised(spec, ManagedProcess(spec.name, log_dir / f"{spec.name}.log")) for spec in ordered]
        self._log_dir = log_dir
        self._observer = observer
        self._backoff_s = tuple(backoff_s)
        self._probe = Probe()
        self._preparations: dict[Preparation, asyncio.Task[None]] = {}
        self._running_preparations: list[ManagedProcess] = []
        self._watchers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start everything; returns when all are ready. Raises ProcessFailedError when one is not; call `stop` then, too."""
        for member in self.members:
            member.process.log_file.unlink(missing_ok=True)
        await together([self._start_first(member) for member in self.members])
        self._watchers = [asyncio.create_task(self._watch(member)) for member in self.members]

    async def until_ready(self, *services: str) -> None:
        """Return when every process of these services has been ready."""
        for member in self.members:
            if member.spec.service in services:
                await member.was_ready.wait()

    async def stop(self) -> None:
        """Stop everything, last started first; returns when no process is left."""
        await _cancel([*self._watchers, *self._preparations.values()])
        for preparation in self._running_preparations:
            await preparation.stop(grace_s=1.0)
        for _rank, members in groupby(reversed(self.members), key=lambda member: member.spec.rank):
            await asyncio.gather(*(self._stop_one(member) for member in members))
        await self._probe.close()

    def kill(self) -> None:
        """SIGKILL to all that still run, for people in a hurry; `stop` then returns at once."""
        for member in self.members:
            member.process.kill()

    async def _start_first(self, member: Supervised) -> None:
        for other in self.members:
            if other.spec.gate and other.spec.rank < member.spec.rank:
                await other.was_ready.wait()
        if member.spec.preparation is not None:
            self._change(member, State.PREPARING)
            await self._prepare(member.spec.preparation)
        await self._launch(member)

    async def _prepare(self, preparation: Preparation) -> None:
        if preparation not in self._preparations:
            self._preparations[preparation] = asyncio.create_task(self._run_preparation(preparation))
        await asyncio.shield(self._preparations[preparation])

    async def _run_preparation(self, preparation: Preparation) -> None:
        process = ManagedProcess(preparation.name, self._log_dir / f"{preparation.name}.log")
        process.log_file.unlink(missing_ok=True)
        await process.start(preparation.command, preparation.env)
        self._running_preparations.append(process)
        self._observer.preparing(preparation, process.log_file)
        code = await process.wait()
        if code != 0:
            raise ProcessFailedError(
                f"{preparation.title} failed ({describe_exit(code)})",
                f"its whole log is in {process.log_file}; try again with `{' '.join(preparation.command)}`",
                process.tail(),
            )
        self._observer.prepared(preparation, time.monotonic() - process.started_at)

    async def _launch(self, member: Supervised) -> None:
        """Start the process and wait until it is ready; raises ProcessFailedError when it is not."""
        spec, process = member.spec, member.process
        # A new id for each life: frames meant for the one before must not reach it, and no stranger's answer counts as its own.
        instance_id = new_id("p") if spec.identifies else None
        env = {**spec.env, "VOXBUS_INSTANCE_ID": instance_id} if instance_id else spec.env
        await process.start(spec.command, env)
        self._change(member, State.STARTING)
        ended = asyncio.create_task(process.wait())
        ready = asyncio.create_task(self._probe.wait_ok(spec.ready_url, instance_id))
        try:
            await asyncio.wait({ended, ready}, timeout=spec.start_timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise _failure(spec, process, f"{spec.name} died while starting ({describe_exit(ended.result())})")
            if not ready.done():
                raise _failure(spec, process, f"{spec.name} was not ready after {spec.start_timeout_s:g} s")
        finally:
            await _cancel((ended, ready))
        if spec.on_ready is not None:
            try:
                await spec.on_ready()
            except CommandError as error:
                raise _failure(spec, process, f"{spec.name} started, but {error}") from error
        member.ready_s = time.monotonic() - process.started_at
        member.was_ready.set()
        self._change(member, State.READY)

    async def _watch(self, member: Supervised) -> None:
        """Restart the process whenever it ends, waiting longer each time it dies soon."""
        failures = 0
        while True:
            code = await member.process.wait()
            failures = 0 if time.monotonic() - member.process.started_at > _STABLE_S else failures
            pause_s = self._backoff_s[min(failures, len(self._backoff_s) - 1)]
            failures += 1
            member.ready_s = None
            self._change(member, State.RESTARTING, f"ended ({describe_exit(code)}), starting it again in {pause_s:g} s")
            await asyncio.sleep(pause_s)
            member.restarts += 1
            try:
                await self._launch(member)
            except ProcessFailedError as error:
                self._change(member, State.RESTARTING, str(error))
                await member.process.stop(member.spec.stop_grace_s)

    async def _stop_one(self, member: Supervised) -> None:
        if member.process.pid is None:
            self._change(member, State.STOPPED)
            return
        polite = await member.process.stop(member.spec.stop_grace_s, member.spec.on_stopping)
        self._change(
            member, State.STOPPED, "" if polite else f"killed: it did not end within {member.spec.stop_grace_s:g} s"
        )

    def _change(self, member: Supervised, state: State, detail: str = "") -> None:
        if (member.state, detail) != (state, ""):
            member.state = state
            self._observer.changed(member, detail)


def _failure(spec: ProcessSpec, process: ManagedProcess, message: str) -> ProcessFailedError:
    return ProcessFailedError(message, spec.hint or f"its whole log is in {process.log_file}", process.tail())


async def together(jobs: Sequence[Coroutine[None, None, None]]) -> None:
    """Run all; the first failure cancels the others and is raised."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    finally:
        await _cancel(tasks)


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
