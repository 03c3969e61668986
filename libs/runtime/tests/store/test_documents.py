"""What documents of all services share."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo.errors import DuplicateKeyError

from voxbus.contracts.access import Actor, Role
from voxbus.contracts.agents import CREATE_AGENT
from voxbus.contracts.auth import OPERATIONS
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError
from voxbus.runtime.store import DocumentStore
from voxbus.runtime.store.documents import (
    content_hash,
    create_once,
    idempotency,
    idempotency_index,
    merge_patch,
    now,
)

ANN = Actor(user_id="user_ann", role=Role.USER)
BOB = Actor(user_id="user_bob", role=Role.USER)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_does_what_the_rfc_says(document: Any, patch: Any, result: Any) -> None:
    """The examples of RFC 7396, appendix A."""
    assert merge_patch(document, patch) == result


_JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.unit
@given(_JSON, _JSON)
def test_a_patch_applied_twice_changes_nothing_more(document: Any, patch: Any) -> None:
    """Merge patches are idempotent, so a client may send one again."""
    once = merge_patch(document, patch)
    assert merge_patch(once, patch) == once


@pytest.mark.unit
def test_the_hash_of_content_ignores_the_order_of_keys() -> None:
    """The same JSON object hashes alike however it was written, another does not."""
    assert content_hash({"a": 1, "b": {"c": "é", "d": None}}) == content_hash({"b": {"d": None, "c": "é"}, "a": 1})
    assert content_hash({"a": 1}) != content_hash({"a": "1"})


@pytest.mark.unit
def test_keys_of_users_and_operations_do_not_meet() -> None:
    """The same idempotency key of another user, or at another operation, is another key."""
    keys = [idempotency(actor, CREATE_AGENT, "k", {})["key"] for actor in (ANN, BOB, None)]
    keys.append(idempotency(ANN, OPERATIONS[0], "k", {})["key"])
    assert len(set(keys)) == 4


def agent(document_id: str, content: dict[str, Any], key: str | None = None, actor: Actor = ANN) -> dict[str, Any]:
    """A document that a create would insert."""
    made: dict[str, Any] = {"_id": document_id, "created_at": now(), **content}
    if key:
        made["idempotency"] = idempotency(actor, CREATE_AGENT, key, content)
    return made


@pytest.mark.integration
async def test_a_repeated_create_gives_the_first_record(store: DocumentStore) -> None:
    """With the same key and content there is one document, as it was kept, and the repeat says so."""
    await idempotency_index(store.database, "agents")
    agents = store.collection("agents")
    first, replayed = await create_once(agents, agent("agent_1", {"name": "a"}, "k"))
    assert not replayed
    again, replayed = await create_once(agents, agent("agent_2", {"name": "a"}, "k"))
    assert replayed
    assert again == first
    assert await agents.count_documents({}) == 1


@pytest.mark.integration
async def test_a_key_with_other_content_is_refused(store: DocumentStore) -> None:
    """The same key for something else fails with KEY_REUSED; another user may use it."""
    await idempotency_index(store.database, "agents")
    agents = store.collection("agents")
    await create_once(agents, agent("agent_1", {"name": "a"}, "k"))
    with pytest.raises(RequestFailedError) as raised:
        await create_once(agents, agent("agent_2", {"name": "b"}, "k"))
    assert raised.value.code is RequestErrorCode.KEY_REUSED
    await create_once(agents, agent("agent_3", {"name": "b"}, "k", BOB))


@pytest.mark.integration
async def test_creates_without_a_key_are_all_new(store: DocumentStore) -> None:
    """Documents without an idempotency key do not meet in its index."""
    await idempotency_index(store.database, "agents")
    for number in range(3):
        _, replayed = await create_once(store.collection("agents"), agent(f"agent_{number}", {"name": "a"}))
        assert not replayed


@pytest.mark.integration
async def test_another_unique_field_is_the_services_matter(store: DocumentStore) -> None:
    """When the id is taken, or another unique field, the driver's error goes through, unless the key explains it."""
    await idempotency_index(store.database, "agents")
    agents = store.collection("agents")
    await agents.create_index("name", unique=True)
    await create_once(agents, agent("agent_1", {"name": "a"}, "k"))
    with pytest.raises(DuplicateKeyError):
        await create_once(agents, agent("agent_1", {"name": "b"}))
    with pytest.raises(DuplicateKeyError):
        await create_once(agents, agent("agent_2", {"name": "a"}, "k2"))
    _, replayed = await create_once(agents, agent("agent_1", {"name": "a"}, "k"))
    assert replayed


@pytest.mark.integration
async def test_times_come_back_as_they_were_kept(store: DocumentStore) -> None:
    """`now` has the store's precision and zone, so what is answered first is what is read later."""
    agents = store.collection("agents")
    made = agent("agent_1", {})
    await agents.insert_one(made)
    assert await agents.find_one({"_id": "agent_1"}) == made
