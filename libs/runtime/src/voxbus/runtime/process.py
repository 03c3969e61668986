"""The life of a process: settings, logs, health, bus, the service itself, signals, drain, stop."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

import structlog
import uvloop
from pydantic import ValidationError

from voxbus.contracts.stage import ProcessStatus
from voxbus.runtime.bus import EventBus, LiveBus
from voxbus.runtime.health import Health, HealthServer
from voxbus.runtime.lag import LagMonitor
from voxbus.runtime.logs import configure_logging
from voxbus.runtime.settings import RuntimeSettings, WorkerSettings
from voxbus.runtime.streams import StageService, StageWorker

log = structlog.get_logger(__name__)

_DEFAULT_CAPACITY = 50


class Context:
    """What a process gives its application."""

    def __init__(self, service: str, settings: RuntimeSettings) -> None:
        self.service = service
        self.instance_id = settings.instance_id
        self.version = _version()
        self.started = time.monotonic()
        self.health = Health(service, settings.instance_id, self.version)
        self.live: LiveBus  # set before the application is made
        self.connected = False
        self.events = EventBus(settings.nats_url, service, settings.instance_id)


class CannotStartError(Exception):
    """Raised by `Application.start` for what the operator has to mend: a port, a file, a key. Logged as one line."""


class Application(ABC):
    """What a process runs."""

    @abstractmethod
    async def start(self) -> None:
        """Begin; returns when ready. Raises CannotStartError."""

    async def drain(self) -> None:
        """Take nothing new and hand over what runs; called once, before `stop`."""

    @abstractmethod
    async def stop(self) -> None:
        """End everything."""

    @abstractmethod
    def status(self) -> dict[str, Any]:
        """`ready`, `draining`, `active`, `capacity`, `providers`, `stores` of `ProcessStatus`."""


SettingsT = TypeVar("SettingsT", bound=RuntimeSettings)
WorkerSettingsT = TypeVar("WorkerSettingsT", bound=WorkerSettings)


def load_settings(settings_type: type[SettingsT]) -> SettingsT:
    """The settings from the environment; ends the process with a readable message when one is wrong."""
    try:
        return settings_type()
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = "_".join(str(part) for part in problem["loc"]).upper()
            sys.stderr.write(f"VOXBUS_{name}: {problem['msg']}\n")
        raise SystemExit(2) from None


def run_process(service: str, settings: SettingsT, make: Callable[[Context, SettingsT], Application]) -> None:
    """Run a process until SIGTERM or SIGINT; ends it with code 3 when it cannot start."""
    configure_logging(service, settings.log_level)
    try:
        uvloop.run(_serve(service, settings, make))
    except CannotStartError as error:
        log.error("cannot start", reason=str(error))  # noqa: TRY400  # a message for people, not a traceback
        raise SystemExit(3) from None


def run_worker(
    service: str,
    settings_type: type[WorkerSettingsT],
    build: Callable[[WorkerSettingsT], StageService[Any]],
    *,
    default_capacity: int = _DEFAULT_CAPACITY,
) -> None:
    """Run a stage worker until SIGTERM or SIGINT."""
    settings = load_settings(settings_type)

    def make(context: Context, settings: WorkerSettingsT) -> Application:
        return WorkerApplication(context, settings, build(settings), default_capacity)

    run_process(service, settings, make)


class WorkerApplication(Application):
    """A stage worker as a process."""

    def __init__(
        self, context: Context, settings: WorkerSettings, service: StageService[Any], default_capacity: int
    ) -> None:
        self._drain_timeout_s = settings.drain_timeout_s
        self.worker: StageWorker[Any] = StageWorker(
            service,
            context.live,
            worker_id=context.instance_id,
            capacity=settings.capacity or default_capacity,
            orphan_timeout_s=settings.orphan_timeout_s,
        )
        context.health.add("engine", service.problem)

    async def start(self) -> None:
        await self.worker.start()

    async def drain(self) -> None:
        await self.worker.drain(self._drain_timeout_s)

    async def stop(self) -> None:
        await self.worker.stop()

    def status(self) -> dict[str, Any]:
        worker = self.worker
        return {
            "ready": worker.fit,
            "draining": worker.draining,
            "active": worker.active,
            "capacity": worker.capacity,
            "providers": worker.service.providers(),
        }


async def _serve(service: str, settings: SettingsT, make: Callable[[Context, SettingsT], Application]) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    context = Context(service, settings)
    server = HealthServer(context.health, settings.http_host, settings.http_port)
    context.health.add("started", lambda: "starting")
    try:
        await server.start()
    except OSError as error:
        raise CannotStartError(f"port {settings.http_port} of health and metrics: {error.strerror}") from error
    lag = LagMonitor()
    lag.start()
    work = asyncio.create_task(_work(service, settings, make, context, stopping, server.port))
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
    if not work.done() and not context.connected:
        work.cancel()  # still waiting for the bus
    stop.cancel()
    try:
        await work
    except asyncio.CancelledError:
        log.info("stopped before the bus was there")
    finally:
        await lag.stop()
        await server.stop()


async def _work(
    service: str,
    settings: SettingsT,
    make: Callable[[Context, SettingsT], Application],
    context: Context,
    stopping: asyncio.Event,
    port: int,
) -> None:
    log.info("starting", instance_id=context.instance_id, version=context.version, http_port=port)
    context.health.add("bus", lambda: "not reached yet, trying again")
    live = await LiveBus.connect(settings.nats_url, f"{service} {context.instance_id} live")
    context.live = live
    context.connected = True
    context.health.add("bus", lambda: None if live.connected else "disconnected, reconnecting")
    application = make(context, settings)
    context.health.add("started", lambda: None if application.status()["ready"] else "starting")
    context.health.add("accepting", lambda: "draining" if application.status().get("draining") else None)
    context.events.answer_status(lambda: _status(context, application))
    await context.events.start()
    try:
        if await _started(application, stopping):
            context.health.add("started", lambda: None if application.status()["ready"] else "not ready")
            _spare_collector()
            log.info("ready", startup_s=round(time.monotonic() - context.started, 2))
            await stopping.wait()
            log.info("draining")
            await application.drain()
    finally:
        for step in (application.stop, context.events.stop, live.close):
            try:
                await step()
            except Exception:
                log.exception("stopping failed")  # the rest is stopped all the same
        log.info("stopped")


def _spare_collector() -> None:
    """What is there by now, code and models mostly, stays: let the garbage collector look at the rest only.

    Looking at all of it takes a tenth of the CPU under load, in pauses of tens of milliseconds.
    """
    gc.collect()
    gc.freeze()


async def _started(application: Application, stopping: asyncio.Event) -> bool:
    """Start it; False when the process is to stop first, as while it waits for a store."""
    start = asyncio.create_task(application.start())
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not start.done():
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        return False
    await start
    return True


def _status(context: Context, application: Application) -> ProcessStatus:
    return ProcessStatus(
        service=context.service,
        instance_id=context.instance_id,
        version=context.version,
        uptime_s=round(time.monotonic() - context.started, 1),
        **application.status(),
    )


def _version() -> str:
    try:
        return version("voxbus-runtime")
    except PackageNotFoundError:
        return "unknown"
