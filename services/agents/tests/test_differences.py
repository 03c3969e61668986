"""What differs between two specs."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxbus.agents.differences import compare_json, differences
from voxbus.contracts.agents import MASK, AgentSpec, Difference
from voxbus.contracts.llm import HttpEndpoint, Tool, ToolKind

pytestmark = pytest.mark.unit

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "/", "~", "~1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "/", "~", ""]), inner),
    max_leaves=8,
)


def applied(before: Any, found: list[Difference]) -> Any:
    """`before` with every difference carried out."""
    root = {"": copy.deepcopy(before)}
    removed = [item for item in found if item.change == "removed"]
    for difference in [item for item in found if item.change != "removed"] + removed[::-1]:
        at: Any = root
        *way, last = (part.replace("~1", "/").replace("~0", "~") for part in difference.path.split("/"))
        for part in way:
            at = at[int(part) if isinstance(at, list) else part]
        if isinstance(at, list):
            index = int(last)
            at[index : index + 1] = [] if difference.change == "removed" else [difference.after]
        elif difference.change == "removed":
            del at[last]
        else:
            at[last] = difference.after
    return root[""]


def exactly(value: Any) -> Any:
    """A form in which true is not 1."""
    if isinstance(value, dict):
        return {key: exactly(item) for key, item in value.items()}
    return [exactly(item) for item in value] if isinstance(value, list) else (type(value).__name__, value)


@given(JSON, JSON)
def test_differences_make_one_the_other(before: Any, after: Any) -> None:
    """Carried out, the differences turn the one into the other; there are none between equals only."""
    found = list(compare_json(before, after))
    assert exactly(applied(before, found)) == exactly(after)
    assert (found == []) == (exactly(before) == exactly(after))


@given(JSON, JSON)
def test_backwards(before: Any, after: Any) -> None:
    """Compared the other way round, added is removed and the sides change places."""
    opposite = {"added": "removed", "removed": "added", "changed": "changed"}
    there = {(item.path, item.change, str(item.before), str(item.after)) for item in compare_json(before, after)}
    back = {
        (item.path, opposite[item.change], str(item.after), str(item.before)) for item in compare_json(after, before)
    }
    assert there == back


def secret_tool(value: str) -> Tool:
    """A tool with one secret."""
    return Tool(name="t", kind=ToolKind.HTTP, http=HttpEndpoint(url="https://a.example", secret_headers={"K": value}))


def test_secrets_are_masked() -> None:
    """A secret shows as a mask, whether it changed or came with its tool; an equal one does not show."""
    one, other = AgentSpec(name="A", tools=(secret_tool("x"),)), AgentSpec(name="A", tools=(secret_tool("y"),))
    (changed,) = differences(one, other)
    assert (changed.path, changed.before, changed.after) == ("/tools/0/http/secret_headers/K", MASK, MASK)
    (added,) = differences(AgentSpec(name="A"), one)
    assert (added.path, added.change) == ("/tools/0", "added")
    assert isinstance(added.after, dict)
    assert added.after["http"] == {**secret_tool(MASK).model_dump(mode="json")["http"]}
    assert list(differences(one, one)) == []
