"""Agents in files: `{"id": …, "name": …, …}`, the id and what is edited of an agent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from voxbus.contracts.agents import AgentId, AgentSpec
from voxbus.local.documents import read_object
from voxbus.local.errors import UsageError

_AGENT_ID: TypeAdapter[str] = TypeAdapter(AgentId)


@dataclass(frozen=True)
class AgentFile:
    """One agent as a file has it; what the file leaves out is the default."""

    path: Path
    agent_id: str
    spec: AgentSpec


def read_agents(*paths: Path) -> list[AgentFile]:
    """The agents of files and directories (`*.json` in them, by name); raises UsageError. No id may come twice."""
    agents = [read_agent(file) for path in paths for file in _files(path)]
    seen: dict[str, Path] = {}
    for agent in agents:
        if agent.agent_id in seen:
            raise UsageError(f"{seen[agent.agent_id]} and {agent.path} are both the agent {agent.agent_id}")
        seen[agent.agent_id] = agent.path
    return agents


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(path.glob("*.json"))
    if not files:
        raise UsageError(f"there is no .json file in {path}")
    return files


def read_agent(path: Path) -> AgentFile:
    """The agent of one file; raises UsageError that says what is wrong with it."""
    content = read_object(path)
    agent_id = content.pop("id", None)
    try:
        _AGENT_ID.validate_python(agent_id)
    except ValidationError:
        raise UsageError(
            f"{path}: it needs an id that can be used (it has {agent_id!r})",
            'write "id": "front-desk": 3 to 64 lower-case letters, digits, - and _',
        ) from None
    return AgentFile(path, agent_id, _spec(path, content))


def _spec(path: Path, content: dict[str, Any]) -> AgentSpec:
    try:
        return AgentSpec.model_validate(content, extra="forbid")
    except ValidationError as error:
        problems = [f"  /{'/'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()]
        raise UsageError("\n".join([f"{path} is no agent that can be used:", *problems])) from None
