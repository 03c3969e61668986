"""Masks of secret headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxbus.agents.secret_headers import mask, unmask
from voxbus.contracts.agents import MASK, AgentSpec
from voxbus.contracts.llm import HttpEndpoint, Tool, ToolKind

pytestmark = pytest.mark.unit

VALUES = st.from_regex(r"[ -~]{0,20}", fullmatch=True).filter(lambda value: value != MASK)
HEADERS = st.dictionaries(st.sampled_from(["Authorization", "X-Key", "X-~Key"]), VALUES, max_size=3)
URLS = st.sampled_from(["https://a.example", "https://a.example/x?y=1", "http://b.example:8080/"])


@st.composite
def specs(draw: st.DrawFn) -> AgentSpec:
    """Specs whose tools have distinct names, some with secrets."""
    names = draw(st.lists(st.sampled_from("abcd"), unique=True, max_size=4))
    tools = []
    for name in names:
        http = HttpEndpoint(url=draw(URLS), secret_headers=draw(HEADERS))
        tools.append(draw(st.sampled_from([Tool(name=name), Tool(name=name, kind=ToolKind.HTTP, http=http)])))
    return AgentSpec(name="Desk", tools=tuple(tools))


def one_tool(value: str, url: str = "https://a.example/x", name: str = "t", header: str = "X-Key") -> AgentSpec:
    """A spec with one secret."""
    http = HttpEndpoint(url=url, secret_headers={header: value})
    return AgentSpec(name="Desk", tools=(Tool(name=name, kind=ToolKind.HTTP, http=http),))


@given(specs())
def test_round_trip(spec: AgentSpec) -> None:
    """What is shown, sent back, is what was stored."""
    assert unmask(mask(spec), spec) == (spec, [])


@given(specs())
def test_nothing_is_shown(spec: AgentSpec) -> None:
    """Every value of a secret header is shown as the mask, and all else as it is."""
    shown = mask(spec)
    for before, after in zip(spec.tools, shown.tools, strict=True):
        if before.http and after.http:
            assert after.http.secret_headers == dict.fromkeys(before.http.secret_headers, MASK)
            assert after.http.model_copy(update={"secret_headers": {}}) == before.http.model_copy(
                update={"secret_headers": {}}
            )
        else:
            assert before == after


@given(specs(), specs())
def test_no_mask_is_stored(sent: AgentSpec, stored: AgentSpec) -> None:
    """A mask is replaced or refused, never kept; values that are sent are taken as they are."""
    shown = mask(sent)
    whole, problems = unmask(shown, stored)
    left = sum(list(tool.http.secret_headers.values()).count(MASK) for tool in whole.tools if tool.http)
    assert left == len(problems)
    assert unmask(sent, stored) == (sent, [])


@pytest.mark.parametrize(
    ("sent", "known"),
    [
        (one_tool(MASK), True),
        (one_tool(MASK, header="x-key"), True),
        (one_tool(MASK, url="https://A.example/other?x"), True),
        (one_tool(MASK, url="https://a.example:8443/x"), False),
        (one_tool(MASK, url="http://a.example/x"), False),
        (one_tool(MASK, url="https://a.example.thief.example/x"), False),
        (one_tool(MASK, name="u"), False),
        (one_tool(MASK, header="X-Other"), False),
    ],
)
def test_what_a_mask_stands_for(sent: AgentSpec, *, known: bool) -> None:
    """A mask stands for the value of the same tool, header and server."""
    whole, problems = unmask(sent, one_tool("hush"))
    if known:
        assert whole.tools[0].http
        assert list(whole.tools[0].http.secret_headers.values()) == ["hush"]
        assert problems == []
    else:
        assert len(problems) == 1


def test_pointer_of_a_problem() -> None:
    """The pointer to an unknown mask escapes what a header's name may hold."""
    _, problems = unmask(one_tool(MASK, header="X-~Key"), None)
    assert problems[0].path == "/tools/0/http/secret_headers/X-~0Key"
