"""Where the gateway gets agents from: a directory with one JSON file per agent."""

from __future__ import annotations

from pathlib import Path

import structlog
from pydantic import ValidationError

from voxbus.contracts.agent import AgentConfig

log = structlog.get_logger(__name__)


class AgentDirectory:
    """Agents in `{directory}/*.json`. A changed file counts from the next call on; a broken one is logged and skipped."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[Path, tuple[int, AgentConfig | None]] = {}

    def get(self, agent_id: str) -> AgentConfig | None:
        """The agent, or None when there is none of this id."""
        self._refresh()
        for _, agent in self._files.values():
            if agent is not None and agent.id == agent_id:
                return agent
        return None

    def ids(self) -> tuple[str, ...]:
        """The ids of all agents."""
        self._refresh()
        return tuple(sorted(agent.id for _, agent in self._files.values() if agent is not None))

    def _refresh(self) -> None:
        files: dict[Path, tuple[int, AgentConfig | None]] = {}
        for path in sorted(self._directory.glob("*.json")):
            try:
                changed = path.stat().st_mtime_ns
                known = self._files.get(path)
                files[path] = known if known and known[0] == changed else (changed, _read(path))
            except OSError as error:  # removed since it was listed, or not ours to read
                log.warning("agent file skipped", file=path.name, error=error.strerror)
        self._files = files


def _read(path: Path) -> AgentConfig | None:
    try:
        return AgentConfig.model_validate_json(path.read_bytes())
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)
        ]
        log.error("agent file skipped", file=path.name, problems=problems)  # noqa: TRY400
        return None
