"""Rules of specs: what is checked, what becomes of a version."""

from __future__ import annotations

from typing import Any

import pytest

from voxbus.agents.checks import MAX_DEPTH, MAX_SIZE_BYTES, check
from voxbus.agents.domain import config_of, content_hash, read_spec, spec_text
from voxbus.contracts.agent import StageChoice
from voxbus.contracts.agents import AgentSpec
from voxbus.contracts.llm import HttpEndpoint, Tool, ToolKind
from voxbus.contracts.providers import KNOWN_PROVIDERS
from voxbus.contracts.stage import ProviderChoice, Stage

pytestmark = pytest.mark.unit


def nested(depth: int) -> Any:
    """A value of lists inside each other."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def spec(**values: Any) -> AgentSpec:
    """A spec that is fine but for `values`."""
    return AgentSpec(name="Desk", **values)


def tool(**parameters: Any) -> Tool:
    """A tool with this schema of its arguments."""
    return Tool(name="t", parameters=parameters)


def http_tool(headers: dict[str, str], secret_headers: dict[str, str], url: str = "https://a.example") -> Tool:
    """A tool that sends headers."""
    http = HttpEndpoint(url=url, headers=headers, secret_headers=secret_headers)
    return Tool(name="t", kind=ToolKind.HTTP, http=http)


@pytest.mark.parametrize("stage", Stage)
def test_known_providers_are_fine(stage: Stage) -> None:
    """Every known provider may be named, first or as a fallback."""
    for name in KNOWN_PROVIDERS[stage]:
        choice = ProviderChoice(name=name)
        assert check(spec(**{f"{stage}_provider": name, f"{stage}_fallbacks": (choice,)})) == []


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"llm_provider": "nobody"}, "/llm_provider"),
        ({"stt_fallbacks": [ProviderChoice(name="local"), ProviderChoice(name="x")]}, "/stt_fallbacks/1/name"),
        ({"tools": [tool(), tool()]}, "/tools/1/name"),
        ({"tools": [http_tool({"A": "1", "a": "2"}, {})]}, "/tools/0/http/headers/a"),
        ({"tools": [http_tool({"A": "1"}, {"a": "2"})]}, "/tools/0/http/secret_headers/a"),
        ({"tools": [http_tool({}, {}, "https://a.example:99999/")]}, "/tools/0/http/url"),
        ({"tools": [http_tool({}, {}, "https://:80/")]}, "/tools/0/http/url"),
        ({"tools": [http_tool({}, {}, "https://[::1/")]}, "/tools/0/http/url"),
        ({"tools": [tool(properties={})]}, "/tools/0/parameters/type"),
        ({"tools": [tool(type="array")]}, "/tools/0/parameters/type"),
        ({"tools": [tool(type="object", properties=[])]}, "/tools/0/parameters/properties"),
        ({"tools": [tool(type="object", properties={"a/b": 1})]}, "/tools/0/parameters/properties/a~1b"),
        ({"tools": [tool(type="object", required="a")]}, "/tools/0/parameters/required"),
        (
            {"tools": [tool(type="object", properties={"a": {"type": "text"}})]},
            "/tools/0/parameters/properties/a/type",
        ),
        (
            {"tools": [tool(type="object", properties={"a": {"type": ["string", 1]}})]},
            "/tools/0/parameters/properties/a/type",
        ),
        (
            {"tools": [tool(type="object", properties={"a": {"items": {"enum": 1}}})]},
            "/tools/0/parameters/properties/a/items/enum",
        ),
        ({"tts_settings": {"a": nested(MAX_DEPTH)}}, "/tts_settings"),
        ({"llm_settings": {"a": "x" * MAX_SIZE_BYTES}}, ""),
    ],
)
def test_wrong(wrong: dict[str, Any], path: str) -> None:
    """What is wrong is found, and the pointer says where."""
    assert [problem.path for problem in check(spec(**wrong))] == [path]


@pytest.mark.parametrize(
    "fine",
    [
        {"tools": [tool(), tool(type="object").model_copy(update={"name": "u"})]},
        {"tools": [tool(type="object", properties={"a": True, "b": {"type": ["string", "null"]}}, required=["a"])]},
        {"tools": [tool(type="object", **{"$defs": {"a": {}}}, properties={"a": {"$ref": "#/$defs/a"}})]},
        {"llm_settings": {"a": nested(MAX_DEPTH - 1)}},
        {"tools": [http_tool({}, {}, "http://[::1]:8080/x?y=1")]},
    ],
)
def test_fine(fine: dict[str, Any]) -> None:
    """What is unusual and right passes."""
    assert check(spec(**fine)) == []


def test_an_unknown_provider_is_told_the_known() -> None:
    """The message says which providers there are."""
    (problem,) = check(spec(llm_provider="nobody"))
    assert problem.message == "no llm provider is called nobody; known: local, scripted"


def test_config() -> None:
    """A version's configuration has everything that the spec says."""
    content = spec(
        language="de",
        system_prompt="Be kind.",
        greeting="Hallo",
        llm_provider="local",
        llm_settings={"model": "m"},
        llm_fallbacks=(ProviderChoice(name="scripted", settings={"script": "s"}),),
        tools=(tool(),),
        metadata={"team": "desk"},
    )
    config = config_of("agent_1", 7, content)
    assert (config.id, config.version) == ("agent_1", 7)
    same = ("name", "language", "system_prompt", "greeting", "turn_taking", "limits", "phrases", "tools", "metadata")
    assert [getattr(config, name) for name in same] == [getattr(content, name) for name in same]
    assert config.llm == StageChoice(
        provider=ProviderChoice(name="local", settings={"model": "m"}), fallbacks=content.llm_fallbacks
    )


def test_content_hash() -> None:
    """Content has one hash whatever the order of its keys, and other content has another."""
    one, same, other = ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 3})
    hashes = [content_hash(spec_text(spec(llm_settings=settings))) for settings in (one, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_stored_text() -> None:
    """A spec comes out of its stored text as it went in, whatever its keys and numbers are."""
    content = spec(llm_settings={"$ref": None, "a.b": 10**30, "": [1.5, True]}, metadata={"k": "\N{SNOWMAN}"})
    assert read_spec(spec_text(content)) == content


def test_broken_text() -> None:
    """What is said of a stored text that cannot be read quotes nothing of it."""
    with pytest.raises(ValueError, match="in 1 places") as failure:
        read_spec('{"name": "Desk", "limits": "hush"}')
    assert failure.value.__cause__ is None
    assert "hush" not in str(failure.value)
