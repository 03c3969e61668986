"""The last known version of each agent on disk, for a gateway that starts while `agents` is away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog
from pydantic import ValidationError

from voxbus.contracts.agent import AgentConfig
from voxbus.voice_gateway.files import write_private

log = structlog.get_logger(__name__)


class KeptAgents:
    """`{directory}/{agent id}.json`, mode 0600: agents hold secret headers. A disk that fails is logged, never raised."""

    def __init__(self, directory: Path | None) -> None:
        """None: nothing is kept."""
        self._directory = directory
        self._turn = asyncio.Lock()
        """Changes are made one after the other, so that the last one wins."""

    async def read(self, agent_id: str) -> AgentConfig | None:
        """The agent, or None when none of this id can be read."""
        file = self._file(agent_id)
        if file is None:
            return None
        try:
            config = AgentConfig.model_validate_json(await asyncio.to_thread(file.read_bytes))
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            log.warning("kept agent cannot be read", agent_id=agent_id, error=type(error).__name__)
            return None
        return config if config.id == agent_id else None

    async def write(self, config: AgentConfig) -> None:
        """Keep it instead of what was there."""
        file = self._file(config.id)
        if file is None:
            return
        async with self._turn:
            try:
                await asyncio.to_thread(write_private, file, config.encode())
            except OSError as error:
                log.warning("agent cannot be kept", agent_id=config.id, error=error.strerror)

    async def remove(self, agent_id: str) -> None:
        """Forget it."""
        file = self._file(agent_id)
        if file is None:
            return
        async with self._turn:
            try:
                await asyncio.to_thread(file.unlink, missing_ok=True)
            except OSError as error:
                log.warning("kept agent cannot be removed", agent_id=agent_id, error=error.strerror)

    def _file(self, agent_id: str) -> Path | None:
        return self._directory / f"{agent_id}.json" if self._directory is not None else None
