"""What a person can choose about the stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from voxbus.contracts.stage import Stage
from voxbus.local.errors import UsageError

BUILT_IN_AGENTS: Final = Path(__file__).parent.parent / "agents"
STORING: Final = ("auth", "agents", "campaigns")
"""The services that keep documents."""
REST: Final = "rest-gateway"
MAX_PROCESSES: Final = 16
_STAGES: Final = tuple(stage.value for stage in Stage)
_EXAMPLE: Final = "write it like --processes stt=2,tts=2,agents=2"


@dataclass(frozen=True)
class StackOptions:
    """What a person can choose about the stack."""

    processes: Mapping[str, int] = field(default_factory=dict)
    """How many of each stage and service; one of each that is not named."""
    voice_port: int | None = None
    rest_port: int | None = None
    nats_port: int | None = None
    nats_monitor_port: int | None = None
    mongo_port: int | None = None
    mongo_url: str | None = None
    """A MongoDB that runs already; None: one is started."""
    agents_dir: Path = BUILT_IN_AGENTS
    log_level: str = "INFO"

    def count(self, name: str) -> int:
        """How many processes of a stage or service there are to be."""
        return self.processes.get(name, 1)


def parse_processes(text: str) -> dict[str, int]:
    """`stt=2,auth=2` as processes per stage and service; a stage may have none. Raises UsageError."""
    processes: dict[str, int] = {}
    for part in filter(None, text.replace(" ", "").split(",")):
        name, _, count = part.partition("=")
        known = (*_STAGES, *STORING, REST)
        if name not in known:
            raise UsageError(f"--processes {part}: {name!r} is none of {', '.join(known)}", _EXAMPLE)
        least = 0 if name in _STAGES else 1
        if not count.isdecimal() or not least <= int(count) <= MAX_PROCESSES:
            raise UsageError(f"--processes {part}: not a number from {least} to {MAX_PROCESSES}", _EXAMPLE)
        processes[name] = int(count)
    return processes
