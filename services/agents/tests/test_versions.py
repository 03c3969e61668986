"""Publishing, and what versions are good for, asked of two real processes at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from agents_stand import Neighbours, user

from voxbus.contracts import agents
from voxbus.contracts.access import Actor
from voxbus.contracts.agents import AgentSpec
from voxbus.contracts.llm import HttpEndpoint, Tool, ToolKind
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.contracts.stage import ProviderChoice
from voxbus.runtime.rpc import RequestFailedError

pytestmark = pytest.mark.integration


class Desk:
    """One agent and its owner."""

    def __init__(self, around: Neighbours, actor: Actor, agent_id: str) -> None:
        self.around = around
        self.actor = actor
        self.id = agent_id

    @classmethod
    async def made(cls, around: Neighbours, spec: AgentSpec | None = None) -> Desk:
        """A new one."""
        actor = user()
        request = agents.CreateAgent(actor=actor, spec=spec or AgentSpec(name="Desk"))
        return cls(around, actor, (await around.ask(agents.CREATE_AGENT, request)).agent.id)

    async def get(self) -> agents.Agent:
        """As it is."""
        return await self.around.ask(agents.GET_AGENT, agents.GetAgent(actor=self.actor, agent_id=self.id))

    async def patch(self, revision: int | None = None, **patch: object) -> agents.Agent:
        """Change its draft."""
        request = agents.PatchAgent.model_validate(
            {"actor": self.actor, "agent_id": self.id, "patch": patch, "expected_revision": revision}
        )
        return await self.around.ask(agents.PATCH_AGENT, request)

    async def publish(self, revision: int | None = None, note: str = "") -> agents.Agent:
        """Make its draft a version."""
        request = agents.PublishAgent(actor=self.actor, agent_id=self.id, expected_revision=revision, note=note)
        return await self.around.ask(agents.PUBLISH_AGENT, request)

    async def version(self, name: str) -> agents.AgentVersionDetail:
        """One version."""
        request = agents.GetAgentVersion(actor=self.actor, agent_id=self.id, version=name)
        return await self.around.ask(agents.GET_AGENT_VERSION, request)

    async def versions(self, **page: object) -> agents.AgentVersionPage:
        """A page of the list."""
        request = agents.ListAgentVersions.model_validate({"actor": self.actor, "agent_id": self.id, **page})
        return await self.around.ask(agents.LIST_AGENT_VERSIONS, request)


async def test_call_uses_what_is_published(around: Neighbours) -> None:
    """A call gets nothing before the first publishing, and then the published version whatever the draft becomes."""
    fallback = ProviderChoice(name="local", settings={"model": "small"})
    desk = await Desk.made(around, AgentSpec(name="Desk", greeting="Hello", llm_fallbacks=(fallback,)))
    failure = await around.refused(agents.RESOLVE_AGENT, agents.ResolveAgent(agent_id=desk.id))
    assert failure.code is RequestErrorCode.NOT_FOUND
    published = await desk.publish()
    assert (published.published_version, published.unpublished_changes) == (1, False)
    changed = await desk.patch(greeting="Good day")
    assert changed.unpublished_changes
    config = (await around.ask(agents.RESOLVE_AGENT, agents.ResolveAgent(agent_id=desk.id))).config
    assert (config.id, config.version, config.greeting) == (desk.id, 1, "Hello")
    assert config.llm.providers == (ProviderChoice(name="scripted"), fallback)
    assert (await desk.publish()).published_version == 2
    config = (await around.ask(agents.RESOLVE_AGENT, agents.ResolveAgent(agent_id=desk.id))).config
    assert (config.version, config.greeting) == (2, "Good day")


async def test_resolve_is_for_the_platform(around: Neighbours) -> None:
    """No user, not even the owner, gets what a call gets."""
    desk = await Desk.made(around)
    await desk.publish()
    request = agents.ResolveAgent(actor=desk.actor, agent_id=desk.id)
    assert (await around.refused(agents.RESOLVE_AGENT, request)).code is RequestErrorCode.FORBIDDEN


async def test_event_holds_the_configuration(around: Neighbours) -> None:
    """The event of a publishing tells version and configuration."""
    desk = await Desk.made(around, AgentSpec(name="Desk", system_prompt="Be kind."))
    await desk.publish()
    assert await around.events_of(desk.id, 2) == ["agent.created", "agent.published"]
    data = next(data for kind, data in around.events if kind == "agent.published" and data["agent_id"] == desk.id)
    assert (data["version"], data["config"]["version"], data["config"]["system_prompt"]) == (1, 1, "Be kind.")


async def test_nothing_to_publish(around: Neighbours) -> None:
    """A draft that is published already is not published again; after a change and back it isn't either."""
    desk = await Desk.made(around)
    await desk.publish()
    with pytest.raises(RequestFailedError, match="nothing was changed since version 1"):
        await desk.publish()
    await desk.patch(greeting="x")
    assert not (await desk.patch(greeting=None)).unpublished_changes
    with pytest.raises(RequestFailedError, match="conflict"):
        await desk.publish()


async def test_versions_listed(around: Neighbours) -> None:
    """Versions come newest first and page by page, with who, when and why."""
    desk = await Desk.made(around)
    for number in range(1, 6):
        await desk.patch(greeting=f"Hello {number}")
        await desk.publish(note=f"note {number}")
    first = await desk.versions(limit=2)
    second = await desk.versions(limit=2, cursor=first.next_cursor)
    third = await desk.versions(limit=2, cursor=second.next_cursor)
    items = [*first.items, *second.items, *third.items]
    assert [(item.version, item.note, item.current) for item in items] == [
        (number, f"note {number}", number == 5) for number in (5, 4, 3, 2, 1)
    ]
    assert {item.published_by for item in items} == {desk.actor.user_id}
    assert third.next_cursor is None
    for wrong, path in (({"cursor": "x"}, "/cursor"), ({"sort": "note"}, "/sort")):
        with pytest.raises(RequestFailedError) as failure:
            await desk.versions(**wrong)
        assert failure.value.error.problems[0].path == path
    assert (await desk.version("2")).spec.greeting == "Hello 2"
    assert (await desk.version("published")).version == 5
    for name, code in (("6", RequestErrorCode.NOT_FOUND), ("draft", RequestErrorCode.INVALID)):
        with pytest.raises(RequestFailedError) as failure:
            await desk.version(name)
        assert failure.value.code is code


async def test_restored(around: Neighbours) -> None:
    """A restored version is the draft, secrets included; calls use it only once it is published."""
    http = HttpEndpoint(url="https://a.example", secret_headers={"X-Key": "one"})
    desk = await Desk.made(around, AgentSpec(name="Desk", tools=(Tool(name="t", kind=ToolKind.HTTP, http=http),)))
    await desk.publish()
    await desk.patch(tools=[], greeting="x")
    await desk.publish()
    request = agents.RestoreAgentVersion(actor=desk.actor, agent_id=desk.id, version=1)
    restored = await around.ask(agents.RESTORE_AGENT_VERSION, request)
    assert (restored.draft.greeting, restored.published_version, restored.unpublished_changes) == (None, 2, True)
    assert (await around.ask(agents.RESTORE_AGENT_VERSION, request)).revision == restored.revision
    await desk.publish()
    config = (await around.ask(agents.RESOLVE_AGENT, agents.ResolveAgent(agent_id=desk.id))).config
    assert config.version == 3
    assert config.tools[0].http == http
    failure = await around.refused(agents.RESTORE_AGENT_VERSION, request.model_copy(update={"version": 9}))
    assert failure.code is RequestErrorCode.NOT_FOUND


async def test_compared(around: Neighbours) -> None:
    """A comparison names each place that differs, and never a secret."""
    http = HttpEndpoint(url="https://a.example", secret_headers={"X-Key": "hush"})
    tool = Tool(name="t", kind=ToolKind.HTTP, http=http)
    desk = await Desk.made(around, AgentSpec(name="Desk", tools=(tool,)))
    await desk.publish()
    other = tool.model_copy(update={"http": http.model_copy(update={"secret_headers": {"X-Key": "quiet"}})})
    dump = [item.model_dump(mode="json") for item in (other, other.model_copy(update={"name": "u"}))]
    await desk.patch(name="Hall", tools=dump)
    request = agents.CompareAgentVersions(actor=desk.actor, agent_id=desk.id, before="published", after="draft")
    compared = await around.ask(agents.COMPARE_AGENT_VERSIONS, request)
    assert (compared.before, compared.after) == ("1", "draft")
    found = {item.path: (item.change, item.before, item.after) for item in compared.differences}
    assert set(found) == {"/name", "/tools/0/http/secret_headers/X-Key", "/tools/1"}
    assert found["/name"] == ("changed", "Desk", "Hall")
    assert found["/tools/0/http/secret_headers/X-Key"] == ("changed", agents.MASK, agents.MASK)
    assert "hush" not in compared.encode().decode()
    assert "quiet" not in compared.encode().decode()
    same = request.model_copy(update={"before": "draft"})
    assert (await around.ask(agents.COMPARE_AGENT_VERSIONS, same)).differences == ()


async def test_too_different(around: Neighbours) -> None:
    """A comparison that fits into no answer is refused, not lost."""
    desk = await Desk.made(around)
    await desk.patch(llm_settings={"k" * 50_000: {str(number): 1 for number in range(100)}})
    await desk.publish()
    await desk.patch(llm_settings={"k" * 50_000: {str(number): 2 for number in range(100)}})
    request = agents.CompareAgentVersions(actor=desk.actor, agent_id=desk.id, before="1", after="draft")
    failure = await around.refused(agents.COMPARE_AGENT_VERSIONS, request)
    assert failure.code is RequestErrorCode.TOO_LARGE


async def test_published_by_two_at_once(around: Neighbours) -> None:
    """Of publishings of the same draft by two processes at once, one makes the version and the others are told so."""
    for _ in range(5):
        desk = await Desk.made(around)
        results = await asyncio.gather(*(desk.publish() for _ in range(8)), return_exceptions=True)
        won = [result for result in results if isinstance(result, agents.Agent)]
        lost = [result.code for result in results if isinstance(result, RequestFailedError)]
        assert len(won) == 1
        assert lost == [RequestErrorCode.CONFLICT] * 7
        assert [item.version for item in (await desk.versions()).items] == [1]
        assert (await around.events_of(desk.id, 2)) == ["agent.created", "agent.published"]


async def test_no_update_is_lost(around: Neighbours) -> None:
    """Patches of different fields by two processes at once all count; of those that expect a revision, one does."""
    desk = await Desk.made(around)
    await asyncio.gather(*(desk.patch(metadata={f"key{number}": "x"}) for number in range(6)))
    agent = await desk.get()
    assert set(agent.draft.metadata) == {f"key{number}" for number in range(6)}
    assert agent.revision == 7
    results = await asyncio.gather(
        *(desk.patch(revision=7, greeting=f"Hello {number}") for number in range(6)), return_exceptions=True
    )
    stale = [result for result in results if isinstance(result, RequestFailedError)]
    assert [failure.code for failure in stale] == [RequestErrorCode.STALE] * 5
    assert (await desk.get()).revision == 8


async def test_publishing_between_changes(around: Neighbours) -> None:
    """While drafts change under it, each publishing makes a whole version of its own: numbers without gap or repeat."""
    desk = await Desk.made(around)

    async def change_and_publish(number: int) -> None:
        await desk.patch(greeting=f"Hello {number}")
        with suppress(RequestFailedError):  # another publishing took this change along
            await desk.publish()

    await asyncio.gather(*(change_and_publish(number) for number in range(6)))
    items = (await desk.versions()).items
    assert [item.version for item in items] == list(range(len(items), 0, -1))
    greetings = [(await desk.version(str(item.version))).spec.greeting for item in items]
    assert len(set(greetings)) == len(greetings)
