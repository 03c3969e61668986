"""Agents as they are edited, asked of two real processes at once."""

from __future__ import annotations

import asyncio

import pytest
from agents_stand import AgentsStand, Neighbours, admin, user

from voxbus.contracts import agents
from voxbus.contracts.access import Actor
from voxbus.contracts.agents import MASK, AgentSpec
from voxbus.contracts.base import new_id
from voxbus.contracts.llm import HttpEndpoint, Tool, ToolKind
from voxbus.contracts.rpc import RequestErrorCode

pytestmark = pytest.mark.integration

SPEC = AgentSpec(name="Front desk", llm_settings={"$ref": 1, "a.b": {"$where": 12345678901234567890123}})


def spec_with_secret(value: str, url: str = "https://crm.example/book") -> AgentSpec:
    """A spec with one tool that sends a secret header."""
    http = HttpEndpoint(url=url, secret_headers={"Authorization": value})
    return AgentSpec(name="Front desk", tools=(Tool(name="book", kind=ToolKind.HTTP, http=http),))


def secret_of(spec: AgentSpec) -> str:
    """The value of its header."""
    assert spec.tools[0].http
    return spec.tools[0].http.secret_headers["Authorization"]


async def create(around: Neighbours, actor: Actor, spec: AgentSpec = SPEC) -> agents.Agent:
    """A new agent."""
    return (await around.ask(agents.CREATE_AGENT, agents.CreateAgent(actor=actor, spec=spec))).agent


async def test_created(around: Neighbours) -> None:
    """An agent is answered as it was created, whatever its settings are called, and belongs to the actor."""
    actor = user()
    made = await create(around, actor)
    assert (made.user_id, made.revision, made.published_version, made.unpublished_changes) == (
        actor.user_id, 1, None, True,
    )  # fmt: skip
    got = await around.ask(agents.GET_AGENT, agents.GetAgent(actor=actor, agent_id=made.id))
    assert got == made
    assert got.draft == SPEC
    assert await around.events_of(made.id, 1) == ["agent.created"]


async def test_create_repeated(around: Neighbours) -> None:
    """The same key and content answers the same agent; other content under the key is refused."""
    actor = user()
    request = agents.CreateAgent(actor=actor, spec=SPEC, idempotency_key="k1")
    first = await around.ask(agents.CREATE_AGENT, request)
    again = await around.ask(agents.CREATE_AGENT, request)
    assert (first.replayed, again.replayed) == (False, True)
    assert again.agent == first.agent
    other = request.model_copy(update={"spec": AgentSpec(name="Other")})
    assert (await around.refused(agents.CREATE_AGENT, other)).code is RequestErrorCode.KEY_REUSED
    another = await around.ask(agents.CREATE_AGENT, request.model_copy(update={"actor": user()}))
    assert another.agent.id != first.agent.id


async def test_created_by_two_at_once(around: Neighbours) -> None:
    """The same create sent to two processes at once makes one agent."""
    request = agents.CreateAgent(actor=user(), spec=SPEC, idempotency_key="k")
    made = await asyncio.gather(*(around.ask(agents.CREATE_AGENT, request) for _ in range(8)))
    assert len({item.agent.id for item in made}) == 1
    assert [item.replayed for item in made].count(False) == 1


async def test_chosen_id(around: Neighbours) -> None:
    """A client chooses an id once; a repeat under the same key is still answered."""
    agent_id = new_id("desk")
    request = agents.CreateAgent(actor=user(), agent_id=agent_id, spec=SPEC, idempotency_key="k")
    assert (await around.ask(agents.CREATE_AGENT, request)).agent.id == agent_id
    assert (await around.ask(agents.CREATE_AGENT, request)).replayed
    taken = agents.CreateAgent(actor=user(), agent_id=agent_id, spec=SPEC)
    assert (await around.refused(agents.CREATE_AGENT, taken)).code is RequestErrorCode.CONFLICT


async def test_ownership(around: Neighbours) -> None:
    """Another user's agent is not there for any operation; an admin's hand reaches it."""
    made = await create(around, user())
    other = user()
    requests = [
        (agents.GET_AGENT, agents.GetAgent(actor=other, agent_id=made.id)),
        (agents.REPLACE_AGENT, agents.ReplaceAgent(actor=other, agent_id=made.id, spec=SPEC)),
        (agents.PATCH_AGENT, agents.PatchAgent(actor=other, agent_id=made.id, patch={})),
        (agents.DELETE_AGENT, agents.DeleteAgent(actor=other, agent_id=made.id)),
        (agents.PUBLISH_AGENT, agents.PublishAgent(actor=other, agent_id=made.id)),
        (agents.LIST_AGENT_VERSIONS, agents.ListAgentVersions(actor=other, agent_id=made.id)),
        (agents.GET_AGENT_VERSION, agents.GetAgentVersion(actor=other, agent_id=made.id, version="1")),
        (
            agents.COMPARE_AGENT_VERSIONS,
            agents.CompareAgentVersions(actor=other, agent_id=made.id, before="draft", after="draft"),
        ),
        (agents.RESTORE_AGENT_VERSION, agents.RestoreAgentVersion(actor=other, agent_id=made.id, version=1)),
    ]
    for operation, request in requests:
        failure = await around.refused(operation, request)
        assert (failure.code, failure.error.message) == (RequestErrorCode.NOT_FOUND, "there is no such agent")
    assert (await around.ask(agents.GET_AGENT, agents.GetAgent(actor=admin(), agent_id=made.id))).id == made.id
    assert (await around.ask(agents.GET_AGENT, agents.GetAgent(agent_id=made.id))).id == made.id


async def test_owner_given(around: Neighbours) -> None:
    """An admin creates for, and gives to, users that exist; anybody else is refused."""
    owner, heir = user(), user()
    around.users |= {owner.user_id, heir.user_id}
    made = await around.ask(agents.CREATE_AGENT, agents.CreateAgent(actor=admin(), user_id=owner.user_id, spec=SPEC))
    assert made.agent.user_id == owner.user_id
    wrong = agents.CreateAgent(actor=admin(), user_id="nobody", spec=SPEC)
    failure = await around.refused(agents.CREATE_AGENT, wrong)
    assert (failure.code, failure.error.problems[0].path) == (RequestErrorCode.INVALID, "/user_id")
    patch = agents.PatchAgent(actor=owner, agent_id=made.agent.id, patch={"user_id": heir.user_id})
    assert (await around.refused(agents.PATCH_AGENT, patch)).code is RequestErrorCode.FORBIDDEN
    given = await around.ask(agents.PATCH_AGENT, patch.model_copy(update={"actor": admin()}))
    assert (given.user_id, given.revision) == (heir.user_id, 2)
    gone = await around.refused(agents.GET_AGENT, agents.GetAgent(actor=owner, agent_id=made.agent.id))
    assert gone.code is RequestErrorCode.NOT_FOUND


async def test_replaced(around: Neighbours) -> None:
    """A replacement counts as one revision; the same once more counts as none; a stale one is refused."""
    actor = user()
    made = await create(around, actor)
    request = agents.ReplaceAgent(actor=actor, agent_id=made.id, spec=AgentSpec(name="New"), expected_revision=1)
    changed = await around.ask(agents.REPLACE_AGENT, request)
    assert (changed.name, changed.draft.llm_settings, changed.revision) == ("New", {}, 2)
    assert (await around.refused(agents.REPLACE_AGENT, request)).code is RequestErrorCode.STALE
    same = await around.ask(agents.REPLACE_AGENT, request.model_copy(update={"expected_revision": None}))
    assert same.revision == 2
    assert await around.events_of(made.id, 2) == ["agent.created", "agent.updated"]


async def test_patched(around: Neighbours) -> None:
    """A merge patch changes what it names and removes what is null; a bad result is refused with its place."""
    actor = user()
    made = await create(around, actor, AgentSpec(name="A", greeting="Hello", llm_settings={"x": 1, "y": 2}))
    patch = {"greeting": None, "llm_settings": {"x": None, "z": [None]}, "limits": {"max_duration_s": 60}}
    changed = await around.ask(agents.PATCH_AGENT, agents.PatchAgent(actor=actor, agent_id=made.id, patch=patch))
    assert changed.draft.greeting is None
    assert changed.draft.llm_settings == {"y": 2, "z": [None]}
    assert (changed.draft.limits.max_duration_s, changed.draft.limits.silence_s) == (60, 10.0)
    for wrong, path in (
        ({"name": None}, "/name"),
        ({"limits": {"max_duration_s": 1}}, "/limits/max_duration_s"),
        ({"limits": {"colour": 1}}, "/limits/colour"),
        ({"nam": "x"}, "/nam"),
        ({"tts_provider": "nobody"}, "/tts_provider"),
        ({"user_id": 7}, "/user_id"),
    ):
        failure = await around.refused(
            agents.PATCH_AGENT,
            agents.PatchAgent(actor=actor, agent_id=made.id, patch=wrong),
        )
        assert (failure.code, failure.error.problems[0].path) == (RequestErrorCode.INVALID, path)


async def test_secret(stand: AgentsStand, around: Neighbours) -> None:
    """A secret is masked in each answer, kept when the mask comes back, given to calls, and in no event or log."""
    actor = user()
    secret = f"Bearer {new_id('s3cret')}"
    made = await create(around, actor, spec_with_secret(secret))
    assert secret_of(made.draft) == MASK
    shown = made.draft.model_copy(update={"name": "Renamed"})
    replaced = await around.ask(agents.REPLACE_AGENT, agents.ReplaceAgent(actor=actor, agent_id=made.id, spec=shown))
    assert secret_of(replaced.draft) == MASK
    patch = {"tools": shown.model_dump(mode="json")["tools"], "language": "de"}
    await around.ask(agents.PATCH_AGENT, agents.PatchAgent(actor=actor, agent_id=made.id, patch=patch))
    await around.ask(agents.PUBLISH_AGENT, agents.PublishAgent(actor=actor, agent_id=made.id))
    resolved = await around.ask(agents.RESOLVE_AGENT, agents.ResolveAgent(agent_id=made.id))
    assert resolved.config.tools[0].http
    assert resolved.config.tools[0].http.secret_headers == {"Authorization": secret}
    detail = await around.ask(
        agents.GET_AGENT_VERSION, agents.GetAgentVersion(actor=actor, agent_id=made.id, version="published")
    )
    assert secret_of(detail.spec) == MASK
    await around.events_of(made.id, 4)
    assert secret not in str(around.events)
    assert secret not in stand.log_text()


async def test_mask_for_nothing(around: Neighbours) -> None:
    """A mask where no value is stored is refused, as is one that would carry the value to another server."""
    actor = user()
    failure = await around.refused(agents.CREATE_AGENT, agents.CreateAgent(actor=actor, spec=spec_with_secret(MASK)))
    assert failure.error.problems[0].path == "/tools/0/http/secret_headers/Authorization"
    made = await create(around, actor, spec_with_secret("Bearer x"))
    elsewhere = spec_with_secret(MASK, "https://thief.example/book")
    request = agents.ReplaceAgent(actor=actor, agent_id=made.id, spec=elsewhere)
    assert (await around.refused(agents.REPLACE_AGENT, request)).code is RequestErrorCode.INVALID


async def test_listed(around: Neighbours) -> None:
    """A list holds what is the actor's, in the order asked for, page by page, and what the filters leave."""
    actor = user()
    names = ["beta", "Alpha", "gamma.*", "delta"]
    made = [
        await create(around, actor, AgentSpec(name=name, language="de" if name == "beta" else "en")) for name in names
    ]
    await create(around, user())
    await around.ask(agents.PUBLISH_AGENT, agents.PublishAgent(actor=actor, agent_id=made[3].id))

    async def listed(**filters: object) -> list[str]:
        found: list[str] = []
        cursor: str | None = None
        while True:
            request = agents.ListAgents.model_validate({"actor": actor, "limit": 3, "cursor": cursor, **filters})
            page = await around.ask(agents.LIST_AGENTS, request)
            found += [item.name for item in page.items]
            cursor = page.next_cursor
            if cursor is None:
                return found

    assert await listed() == names[::-1]
    assert await listed(sort="created_at") == names
    assert await listed(sort="name") == ["Alpha", "beta", "delta", "gamma.*"]
    assert await listed(sort="-updated_at") == ["delta", "gamma.*", "Alpha", "beta"]
    assert await listed(name="ALPHA") == ["Alpha"]
    assert await listed(name=".*") == ["gamma.*"]
    assert await listed(published=True) == ["delta"]
    assert await listed(published=False, sort="name") == ["Alpha", "beta", "gamma.*"]
    assert await listed(language="de") == ["beta"]
    assert await listed(provider="scripted", name="a", sort="name") == ["Alpha", "beta", "delta", "gamma.*"]
    assert await listed(provider="local_") == []
    assert await listed(user_id="someone") == []
    by_admin = agents.ListAgents(actor=admin(), user_id=actor.user_id)
    assert len((await around.ask(agents.LIST_AGENTS, by_admin)).items) == 4
    wrong = await around.refused(agents.LIST_AGENTS, agents.ListAgents(actor=actor, sort="draft"))
    assert wrong.error.problems[0].path == "/sort"
