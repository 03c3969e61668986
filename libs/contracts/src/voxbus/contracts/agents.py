"""Agents as they are edited: drafts, versions, and the requests that `agents` answers. A call uses an `AgentConfig`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field, JsonValue, StringConstraints

from voxbus.contracts.agent import AgentConfig, CallLimits, Phrases
from voxbus.contracts.base import Identifier, Message
from voxbus.contracts.llm import Tool
from voxbus.contracts.rpc import CreateRequest, Done, Operation, PageRequest, Request
from voxbus.contracts.stage import ProviderChoice, ProviderName
from voxbus.contracts.stt import TurnTaking

MASK: Final = "********"
"""What is answered in place of a secret; sent back, it leaves the secret as it is."""
AgentId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{1,62}[a-z0-9]$")]
"""An id that a client chooses: 3 to 64 lower-case letters, digits, `-` and `_`."""
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]


class AgentSpec(Message):
    """What is edited of an agent."""

    name: str = Field(min_length=1, max_length=100, pattern=r"\S")
    language: str = Field(default="en", max_length=35, pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")
    system_prompt: str = Field(default="", max_length=32_000)
    greeting: str | None = Field(default=None, max_length=1000)
    """What the agent says first; None: it waits for the caller."""
    stt_provider: ProviderName = "local"
    llm_provider: ProviderName = "scripted"
    tts_provider: ProviderName = "local"
    stt_settings: dict[str, JsonValue] = Field(default_factory=dict)
    llm_settings: dict[str, JsonValue] = Field(default_factory=dict)
    tts_settings: dict[str, JsonValue] = Field(default_factory=dict)
    stt_fallbacks: tuple[ProviderChoice, ...] = Field(default=(), max_length=5)
    llm_fallbacks: tuple[ProviderChoice, ...] = Field(default=(), max_length=5)
    tts_fallbacks: tuple[ProviderChoice, ...] = Field(default=(), max_length=5)
    turn_taking: TurnTaking = TurnTaking()
    limits: CallLimits = CallLimits()
    phrases: Phrases = Phrases()
    tools: tuple[Tool, ...] = Field(default=(), max_length=32)
    metadata: dict[MetadataKey, MetadataValue] = Field(default_factory=dict, max_length=50)


class AgentSummary(Message):
    """An agent in a list: what is in its draft, and what is published."""

    id: Identifier
    user_id: Identifier
    name: str
    language: str
    stt_provider: ProviderName
    llm_provider: ProviderName
    tts_provider: ProviderName
    revision: int
    """Grows with each change."""
    published_version: int | None = None
    """What calls use; None: it cannot be called yet."""
    published_at: datetime | None = None
    unpublished_changes: bool = True
    """Whether the draft differs from what is published."""
    created_at: datetime
    updated_at: datetime


class Agent(AgentSummary):
    """An agent with its draft. Values of secret headers are masked."""

    draft: AgentSpec


class AgentPage(Message):
    """A page of agents."""

    items: tuple[AgentSummary, ...]
    next_cursor: str | None = None


class CreatedAgent(Message):
    """`replayed`: an earlier request with the same idempotency key made it."""

    agent: Agent
    replayed: bool = False


class AgentVersion(Message):
    """A published version in a list."""

    agent_id: Identifier
    version: int = Field(ge=1)
    note: str = ""
    published_at: datetime
    published_by: Identifier | None = None
    current: bool = False
    """Whether calls use it."""


class AgentVersionPage(Message):
    """A page of versions, newest first."""

    items: tuple[AgentVersion, ...]
    next_cursor: str | None = None


class AgentVersionDetail(AgentVersion):
    """A version with its content; secrets are masked."""

    spec: AgentSpec


class Difference(Message):
    """One place in which two versions differ. A side on which it is missing is None, with `change` saying so."""

    path: str
    """JSON pointer into the spec."""
    change: Literal["added", "removed", "changed"]
    before: JsonValue = None
    after: JsonValue = None


class AgentComparison(Message):
    """What differs between two versions."""

    agent_id: Identifier
    before: str
    after: str
    differences: tuple[Difference, ...]


VersionName = Annotated[str, StringConstraints(pattern=r"^(draft|published|[1-9][0-9]{0,8})$")]
"""`draft`, `published` or a number."""


class CreateAgent(CreateRequest):
    """CONFLICT when the id is taken. Only an admin names another owner."""

    agent_id: AgentId | None = None
    """None: one is made up."""
    user_id: Identifier | None = None
    """The owner; None: the actor."""
    spec: AgentSpec


class GetAgent(Request):
    """One agent."""

    agent_id: Identifier


class ListAgents(PageRequest):
    """Sorts by `created_at` (default, descending), `updated_at` and `name`."""

    name: str | None = Field(default=None, max_length=100)
    """Part of the name, whatever its case."""
    user_id: Identifier | None = None
    published: bool | None = None
    language: str | None = Field(default=None, max_length=35)
    provider: ProviderName | None = None
    """Used at any stage, fallbacks not counted."""


class ReplaceAgent(Request):
    """The draft becomes `spec`. STALE when the agent was changed since `expected_revision`."""

    agent_id: Identifier
    expected_revision: int | None = None
    spec: AgentSpec
    user_id: Identifier | None = None
    """A new owner; for admins."""


class PatchAgent(Request):
    """A JSON merge patch (RFC 7396) of the draft. INVALID when the result is no valid draft; `user_id` is for admins."""

    agent_id: Identifier
    expected_revision: int | None = None
    patch: dict[str, JsonValue]


class DeleteAgent(Request):
    """CONFLICT when a campaign that is scheduled, running or paused uses it."""

    agent_id: Identifier
    expected_revision: int | None = None


class PublishAgent(Request):
    """The draft becomes a new version, and calls use it. CONFLICT when nothing was changed since the last one."""

    agent_id: Identifier
    expected_revision: int | None = None
    note: str = Field(default="", max_length=500)


class ListAgentVersions(PageRequest):
    """Newest first; no other order."""

    agent_id: Identifier


class GetAgentVersion(Request):
    """One version."""

    agent_id: Identifier
    version: VersionName


class CompareAgentVersions(Request):
    """From `before` to `after`."""

    agent_id: Identifier
    before: VersionName
    after: VersionName


class RestoreAgentVersion(Request):
    """The draft becomes what version `version` was; publish it to use it."""

    agent_id: Identifier
    version: int = Field(ge=1)
    expected_revision: int | None = None


class ResolveAgent(Request):
    """What a call uses: the published version, secrets included. For the platform alone; NOT_FOUND when none is published."""

    agent_id: Identifier


class ResolvedAgent(Message):
    """A published version."""

    user_id: Identifier
    config: AgentConfig


CREATE_AGENT: Final = Operation("agents", "create", CreateAgent, CreatedAgent)
GET_AGENT: Final = Operation("agents", "get", GetAgent, Agent, safe=True)
LIST_AGENTS: Final = Operation("agents", "list", ListAgents, AgentPage, safe=True)
REPLACE_AGENT: Final = Operation("agents", "replace", ReplaceAgent, Agent)
PATCH_AGENT: Final = Operation("agents", "patch", PatchAgent, Agent)
DELETE_AGENT: Final = Operation("agents", "delete", DeleteAgent, Done)
PUBLISH_AGENT: Final = Operation("agents", "publish", PublishAgent, Agent)
LIST_AGENT_VERSIONS: Final = Operation("agents", "list_versions", ListAgentVersions, AgentVersionPage, safe=True)
GET_AGENT_VERSION: Final = Operation("agents", "get_version", GetAgentVersion, AgentVersionDetail, safe=True)
COMPARE_AGENT_VERSIONS: Final = Operation("agents", "compare", CompareAgentVersions, AgentComparison, safe=True)
RESTORE_AGENT_VERSION: Final = Operation("agents", "restore", RestoreAgentVersion, Agent)
RESOLVE_AGENT: Final = Operation("agents", "resolve", ResolveAgent, ResolvedAgent, safe=True)

OPERATIONS: Final = (
    CREATE_AGENT, GET_AGENT, LIST_AGENTS, REPLACE_AGENT, PATCH_AGENT, DELETE_AGENT, PUBLISH_AGENT, LIST_AGENT_VERSIONS,
    GET_AGENT_VERSION, COMPARE_AGENT_VERSIONS, RESTORE_AGENT_VERSION, RESOLVE_AGENT,
)  # fmt: skip


class AgentCreated(Message):
    """`voxbus.agent.created.v1`"""

    agent_id: Identifier
    user_id: Identifier


class AgentUpdated(Message):
    """`voxbus.agent.updated.v1`: the draft or the owner changed; what calls use did not."""

    agent_id: Identifier
    user_id: Identifier
    revision: int


class AgentPublished(Message):
    """`voxbus.agent.published.v1`: calls use this version from now on. `config` holds no secret."""

    agent_id: Identifier
    user_id: Identifier
    version: int
    config: AgentConfig


class AgentDeleted(Message):
    """`voxbus.agent.deleted.v1`"""

    agent_id: Identifier
    user_id: Identifier
