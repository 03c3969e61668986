"""Every process of Voxbus' own, with its ports and its environment."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final

from voxbus.contracts.stage import Stage
from voxbus.local.credentials import LOCAL_ADMIN_EMAIL
from voxbus.local.plan.options import REST, STORING, StackOptions
from voxbus.local.plan.rank import Rank
from voxbus.local.ports import HOST, PortPlan
from voxbus.local.process import Preparation, ProcessSpec
from voxbus.local.state import StateDir
from voxbus.stt_worker.models import find_damage, moonshine_directory
from voxbus.stt_worker.settings import Settings as SttSettings

REST_PORT: Final = 8000
VOICE_PORT: Final = 7860
HEALTH_PORT: Final = 8100
"""The health ports of the services count up from here."""
_MODULES: Final = {REST: "voxbus.voice_gateway.rest"}


class ServicePlanner:
    """Makes the specs of the services of one stack."""

    def __init__(
        self, options: StackOptions, ports: PortPlan, state: StateDir, *, nats_url: str, mongo_url: str
    ) -> None:
        self._options = options
        self._ports = ports
        self._state = state
        self._mongo_url = mongo_url
        self._common = {
            "VOXBUS_NATS_URL": nats_url,
            "VOXBUS_HTTP_HOST": HOST,
            "VOXBUS_LOG_LEVEL": options.log_level,
        }
        self._next_health_port = HEALTH_PORT
        self._voice_port = ports.take("voice", VOICE_PORT, asked=options.voice_port)
        self.voice_url = f"ws://{HOST}:{self._voice_port}"

    def specs(self) -> tuple[ProcessSpec, ...]:
        """All of them; the calls' first, which take longest to start."""
        workers = [spec for stage in Stage for spec in self._workers(stage)]
        storing = [spec for service in STORING for spec in self._storing(service)]
        return (*workers, self._voice_gateway(), *storing, *self._rest_gateways())

    def _workers(self, stage: Stage) -> list[ProcessSpec]:
        service = f"{stage.value}-worker"
        preparation = _speech_weights(self._common) if stage is Stage.STT else None
        names = _names(service, self._options.count(stage.value))
        return [self._service(name, service, {}, preparation=preparation) for name in names]

    def _voice_gateway(self) -> ProcessSpec:
        env = {
            "VOXBUS_VOICE_HOST": HOST,
            "VOXBUS_VOICE_PORT": str(self._voice_port),
            "VOXBUS_CACHE_DIR": str(self._state.cache),
        }
        return self._service("voice-gateway", "voice-gateway", env, ports={"voice": self._voice_port})

    def _storing(self, service: str) -> list[ProcessSpec]:
        env = {"VOXBUS_MONGO_URL": self._mongo_url}
        if service == "auth":
            env["VOXBUS_ADMIN_EMAIL"] = LOCAL_ADMIN_EMAIL
            env["VOXBUS_ADMIN_PASSWORD_FILE"] = str(self._state.admin_password_file)
        return [self._service(name, service, env) for name in _names(service, self._options.count(service))]

    def _rest_gateways(self) -> list[ProcessSpec]:
        names = _names(REST, self._options.count(REST))
        return [self._rest_gateway(name, number) for number, name in enumerate(names)]

    def _rest_gateway(self, name: str, number: int) -> ProcessSpec:
        asked = self._options.rest_port if number == 0 else None
        port = self._ports.take("REST", REST_PORT + number, asked=asked)
        env = {
            "VOXBUS_REST_HOST": HOST,
            "VOXBUS_REST_PORT": str(port),
            "VOXBUS_VOICE_URL": f"{self.voice_url}/v1/voice",
            "VOXBUS_EXPECTED_SERVICES": ",".join(self._expected()),
        }
        return self._service(name, REST, env, ports={"rest": port})

    def _expected(self) -> list[str]:
        """The services without which something cannot be done."""
        stages = [f"{stage.value}-worker" for stage in Stage if self._options.count(stage.value)]
        return [*STORING, "voice-gateway", *stages]

    def _service(
        self,
        name: str,
        service: str,
        env: Mapping[str, str],
        *,
        ports: Mapping[str, int] | None = None,
        preparation: Preparation | None = None,
    ) -> ProcessSpec:
        self._next_health_port += 1
        port = self._ports.take(f"health of {name}", self._next_health_port)
        url = f"http://{HOST}:{port}"
        return ProcessSpec(
            name=name, service=service, rank=Rank.SERVICES, command=_module(service),
            ready_url=f"{url}/ready", health_url=f"{url}/health",
            ports={**(ports or {}), "http": port}, env={**self._common, **env, "VOXBUS_HTTP_PORT": str(port)},
            preparation=preparation, identifies=True,
        )  # fmt: skip


def _names(service: str, count: int) -> list[str]:
    return [service] if count == 1 else [f"{service}-{number + 1}" for number in range(count)]


def _module(service: str, part: str = "") -> tuple[str, ...]:
    module = _MODULES.get(service, f"voxbus.{service.replace('-', '_')}")
    return (sys.executable, "-m", f"{module}{part}")


def _speech_weights(env: Mapping[str, str]) -> Preparation | None:
    """What must be done once before a speech-to-text worker can start; None when the weights are there."""
    if find_damage(moonshine_directory(SttSettings().model_cache)) is None:
        return None
    return Preparation("stt-prepare", "preparing the speech weights", _module("stt-worker", ".prepare"), env)
