"""What runs on this machine: servers and services, with their ports and environments."""

from __future__ import annotations

from dataclasses import dataclass

from voxbus.local.plan.options import BUILT_IN_AGENTS, StackOptions, parse_processes
from voxbus.local.plan.servers import mongo_spec, nats_spec, without_credentials
from voxbus.local.plan.services import ServicePlanner
from voxbus.local.ports import HOST, PortPlan
from voxbus.local.process import ProcessSpec
from voxbus.local.state import StateDir

__all__ = ["BUILT_IN_AGENTS", "StackOptions", "StackPlan", "build_plan", "parse_processes"]


@dataclass(frozen=True)
class StackPlan:
    """The processes, and where the rest of the world finds them."""

    specs: tuple[ProcessSpec, ...]
    nats_url: str
    nats_monitor_url: str
    mongo_url: str
    """Without user and password."""
    rest_url: str
    voice_url: str


def build_plan(options: StackOptions, *, ports: PortPlan, state: StateDir) -> StackPlan:
    """Take the ports, write the NATS configuration, and say what is to run. Raises UsageError when an asked port is in use."""
    nats = nats_spec(options, ports, state.nats, _apply_streams)
    nats_url = f"nats://{HOST}:{nats.ports['nats']}"
    servers = [nats]
    mongo_url = options.mongo_url
    if mongo_url is None:
        mongo = mongo_spec(options, ports, state.mongo)
        mongo_url = f"mongodb://{HOST}:{mongo.ports['mongodb']}"
        servers.append(mongo)
    planner = ServicePlanner(options, ports, state, nats_url=nats_url, mongo_url=mongo_url)
    services = planner.specs()
    return StackPlan(
        specs=(*servers, *services),
        nats_url=nats_url,
        nats_monitor_url=f"http://{HOST}:{nats.ports['monitor']}",
        mongo_url=without_credentials(mongo_url),
        rest_url=next(f"http://{HOST}:{spec.ports['rest']}" for spec in services if "rest" in spec.ports),
        voice_url=planner.voice_url,
    )


async def _apply_streams(nats_url: str) -> None:
    from voxbus.local.streams import apply_streams  # noqa: PLC0415 - imported while servers start, not before

    await apply_streams(nats_url)
