"""Bring agents at a server to what files say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from voxbus.contracts.agents import MASK, AgentSpec
from voxbus.local.agent_files import AgentFile
from voxbus.local.api import ApiClient
from voxbus.local.problem import ApiError

Change = Literal["created", "changed", "unchanged"]


@dataclass(frozen=True)
class Applied:
    """What became of one file."""

    agent_id: str
    change: Change
    """Of the draft."""
    published: bool
    """Whether a new version was published now."""
    version: int | None
    """What calls use; None: it cannot be called."""


async def apply_agents(client: ApiClient, files: Sequence[AgentFile], *, publish: bool) -> list[Applied]:
    """Create the agents that are missing, replace drafts that differ, publish what changed. Raises CommandError."""
    return [await apply_agent(client, file, publish=publish) for file in files]


async def apply_agent(client: ApiClient, file: AgentFile, *, publish: bool) -> Applied:
    """Make the draft what the file says, and with `publish` what calls use. Raises CommandError."""
    agent, change = await _save(client, file)
    publishing = publish and agent["unpublished_changes"]
    if publishing:
        agent = await client.post(f"/agents/{file.agent_id}/publish", {}, revision=agent["revision"])
    return Applied(file.agent_id, change, publishing, agent["published_version"])


async def _save(client: ApiClient, file: AgentFile) -> tuple[dict[str, Any], Change]:
    spec = file.spec.model_dump(mode="json")
    found = await _find(client, file.agent_id)
    if found is None:
        return (await client.create("/agents", {"id": file.agent_id, **spec})).data, "created"
    if not _has_secret(file.spec) and AgentSpec.model_validate(found["draft"]) == file.spec:
        return found, "unchanged"
    agent = await client.put(f"/agents/{file.agent_id}", spec, revision=found["revision"])
    return agent, "unchanged" if agent["revision"] == found["revision"] else "changed"


async def _find(client: ApiClient, agent_id: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = await client.get(f"/agents/{agent_id}")
    except ApiError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise
    return found


def _has_secret(spec: AgentSpec) -> bool:
    """Whether the file has a secret: it is always sent, because the server does not show its own."""
    values = (value for tool in spec.tools if tool.http for value in tool.http.secret_headers.values())
    return any(value != MASK for value in values)
