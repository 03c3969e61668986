"""The servers that the services need: NATS, and a server of MongoDB's protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from voxbus.local.mongo_server import mongo_command, wake_until_closed
from voxbus.local.nats_server import nats_binary, write_config
from voxbus.local.plan.options import StackOptions
from voxbus.local.plan.rank import Rank
from voxbus.local.ports import HOST, PortPlan
from voxbus.local.process import ProcessSpec

NATS_PORT: Final = 4222
NATS_MONITOR_PORT: Final = 8222
MONGO_PORT: Final = 27017


def nats_spec(
    options: StackOptions, ports: PortPlan, directory: Path, on_ready: Callable[[str], Awaitable[object]]
) -> ProcessSpec:
    """NATS; `on_ready` is given its address whenever it has started."""
    port = ports.take("NATS", NATS_PORT, asked=options.nats_port)
    monitor_port = ports.take("NATS monitoring", NATS_MONITOR_PORT, asked=options.nats_monitor_port)
    config = write_config(directory, host=HOST, port=port, monitor_port=monitor_port)
    health_url = f"http://{HOST}:{monitor_port}/healthz"
    return ProcessSpec(
        name="nats", service="nats", rank=Rank.SERVERS, command=(str(nats_binary()), "-c", str(config)),
        ready_url=health_url, health_url=health_url, ports={"nats": port, "monitor": monitor_port},
        hint=f"if its store is damaged, delete {directory} and start again", start_timeout_s=30,
        on_ready=lambda: on_ready(f"nats://{HOST}:{port}"),
    )  # fmt: skip


def mongo_spec(options: StackOptions, ports: PortPlan, directory: Path) -> ProcessSpec:
    """SecantusDB. Nothing waits for it but the services that store: calls need no documents."""
    port = ports.take("MongoDB", MONGO_PORT, asked=options.mongo_port)
    url = f"mongodb://{HOST}:{port}"
    return ProcessSpec(
        name="mongodb", service="mongodb", rank=Rank.SERVERS, command=mongo_command(directory, host=HOST, port=port),
        ready_url=url, health_url=url, ports={"mongodb": port}, gate=False,
        on_stopping=lambda: wake_until_closed(HOST, port),
        hint=f"if its store is damaged, delete {directory} and start again, or use a MongoDB of yours with --mongo-url",
    )  # fmt: skip


def without_credentials(url: str) -> str:
    """A URL that may be shown."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
