"""What runs on this machine: NATS and every service, with their ports and environments."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Final

from voxbus.contracts.stage import Stage
from voxbus.local.errors import UsageError
from voxbus.local.nats_server import nats_binary, write_config
from voxbus.local.ports import HOST, PortPlan
from voxbus.local.process import Preparation, ProcessSpec
from voxbus.stt_worker.models import find_damage, moonshine_directory
from voxbus.stt_worker.settings import Settings as SttSettings

NATS_PORT: Final = 4222
NATS_MONITOR_PORT: Final = 8222
VOICE_PORT: Final = 7860
HEALTH_PORT: Final = 8100
"""The health ports of the services count up from here."""
MAX_WORKERS: Final = 16
BUILT_IN_AGENTS: Final = Path(__file__).parent / "agents"


class Rank(IntEnum):
    """The order of the start."""

    SERVERS = 0
    SERVICES = 1


@dataclass(frozen=True)
class StackOptions:
    """What a person can choose about the stack."""

    workers: Mapping[Stage, int] = field(default_factory=dict)
    """Workers per stage; one of each that is not named, none at 0."""
    voice_port: int | None = None
    nats_port: int | None = None
    nats_monitor_port: int | None = None
    agents_dir: Path = BUILT_IN_AGENTS
    log_level: str = "INFO"


@dataclass(frozen=True)
class StackPlan:
    """The processes, and where the rest of the world finds them."""

    specs: tuple[ProcessSpec, ...]
    nats_url: str
    nats_monitor_url: str
    voice_url: str


def parse_workers(text: str) -> dict[Stage, int]:
    """`stt=2,tts=1` as workers per stage; raises UsageError."""
    workers: dict[Stage, int] = {}
    for part in filter(None, text.replace(" ", "").split(",")):
        name, _, count = part.partition("=")
        if name not in Stage.__members__.values() or not count.isdecimal() or int(count) > MAX_WORKERS:
            raise UsageError(
                f"--workers {part}: not a stage and a number up to {MAX_WORKERS}",
                "write it like --workers stt=2,llm=1,tts=1",
            )
        workers[Stage(name)] = int(count)
    return workers


def build_plan(options: StackOptions, *, ports: PortPlan, nats_dir: Path, public_key_file: Path) -> StackPlan:
    """Take the ports, write the NATS configuration, and say what is to run. Raises UsageError when an asked port is in use."""
    agents_dir = options.agents_dir.absolute()
    if not agents_dir.is_dir():
        raise UsageError(f"no directory of agents at {agents_dir}", "make it, or name another with --agents")
    return _Planner(options, ports, agents_dir, nats_dir, public_key_file).plan()


class _Planner:
    def __init__(
        self, options: StackOptions, ports: PortPlan, agents_dir: Path, nats_dir: Path, public_key_file: Path
    ) -> None:
        self._options = options
        self._agents_dir = agents_dir
        self._nats_dir = nats_dir
        self._public_key_file = public_key_file
        self._ports = ports
        self._next_health_port = HEALTH_PORT

    def plan(self) -> StackPlan:
        nats_port = self._ports.take("NATS", NATS_PORT, asked=self._options.nats_port)
        monitor_port = self._ports.take("NATS monitoring", NATS_MONITOR_PORT, asked=self._options.nats_monitor_port)
        voice_port = self._ports.take("voice", VOICE_PORT, asked=self._options.voice_port)
        nats_url = f"nats://{HOST}:{nats_port}"
        common = {"VOXBUS_NATS_URL": nats_url, "VOXBUS_HTTP_HOST": HOST, "VOXBUS_LOG_LEVEL": self._options.log_level}
        workers = [spec for stage in Stage for spec in self._workers(stage, common)]
        return StackPlan(
            specs=(self._nats(nats_port, monitor_port), *workers, self._gateway(voice_port, common)),
            nats_url=nats_url,
            nats_monitor_url=f"http://{HOST}:{monitor_port}",
            voice_url=f"ws://{HOST}:{voice_port}",
        )

    def _nats(self, port: int, monitor_port: int) -> ProcessSpec:
        config = write_config(self._nats_dir, host=HOST, port=port, monitor_port=monitor_port)
        monitor = f"http://{HOST}:{monitor_port}"
        return ProcessSpec(
            name="nats", service="nats", rank=Rank.SERVERS, command=(str(nats_binary()), "-c", str(config)),
            ready_url=f"{monitor}/healthz", health_url=f"{monitor}/healthz",
            ports={"nats": port, "monitor": monitor_port},
            hint=f"if its store is damaged, delete {self._nats_dir} and start again", start_timeout_s=30,
        )  # fmt: skip

    def _workers(self, stage: Stage, common: Mapping[str, str]) -> list[ProcessSpec]:
        count = self._options.workers.get(stage, 1)
        service = f"{stage.value}-worker"
        names = [service] if count == 1 else [f"{service}-{number + 1}" for number in range(count)]
        preparation = _speech_weights(common) if stage is Stage.STT else None
        return [self._service(name, service, common, preparation=preparation) for name in names]

    def _gateway(self, port: int, common: Mapping[str, str]) -> ProcessSpec:
        voice = {
            "VOXBUS_VOICE_HOST": HOST,
            "VOXBUS_VOICE_PORT": str(port),
            "VOXBUS_AGENTS_DIR": str(self._agents_dir),
            "VOXBUS_TOKEN_PUBLIC_KEY_FILE": str(self._public_key_file),
        }
        return self._service("voice-gateway", "voice-gateway", {**common, **voice}, voice_port=port)

    def _service(
        self,
        name: str,
        service: str,
        env: Mapping[str, str],
        *,
        voice_port: int | None = None,
        preparation: Preparation | None = None,
    ) -> ProcessSpec:
        self._next_health_port += 1
        port = self._ports.take(f"health of {name}", self._next_health_port)
        url = f"http://{HOST}:{port}"
        ports = {"http": port} if voice_port is None else {"voice": voice_port, "http": port}
        return ProcessSpec(
            name=name, service=service, rank=Rank.SERVICES, command=_module(service),
            ready_url=f"{url}/ready", health_url=f"{url}/health",
            ports=ports, env={**env, "VOXBUS_HTTP_PORT": str(port)}, preparation=preparation, identifies=True,
        )  # fmt: skip


def _module(service: str, part: str = "") -> tuple[str, ...]:
    return (sys.executable, "-m", f"voxbus.{service.replace('-', '_')}{part}")


def _speech_weights(env: Mapping[str, str]) -> Preparation | None:
    """What must be done once before a speech-to-text worker can start; None when the weights are there."""
    if find_damage(moonshine_directory(SttSettings().model_cache)) is None:
        return None
    return Preparation("stt-prepare", "preparing the speech weights", _module("stt-worker", ".prepare"), env)
