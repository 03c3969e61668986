"""Schemas and arguments that are out to hang, fetch or break."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from voxbus.contracts.llm import ChatMessage, LlmToolCalled, Role, Tool, ToolCall, ToolKind
from voxbus.contracts.stage import ErrorCode
from voxbus.llm_worker import schemas
from voxbus.llm_worker.providers.base import ToolCallRequested
from voxbus.llm_worker.tools import Toolbox
from voxbus.runtime.streams import StageFailure

pytestmark = pytest.mark.unit


def call(parameters: dict[str, JsonValue], arguments: Any) -> LlmToolCalled:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return Toolbox((Tool(name="book", parameters=parameters),)).call(ToolCallRequested("c1", "book", text))


def refusal(parameters: dict[str, JsonValue]) -> StageFailure:
    with pytest.raises(StageFailure, match="tool book") as failure:
        Toolbox((Tool(name="book", parameters=parameters),))
    assert failure.value.code is ErrorCode.BAD_REQUEST
    return failure.value


def properties(**schemas: JsonValue) -> dict[str, JsonValue]:
    return {"type": "object", "properties": schemas}


def test_nothing_is_fetched_or_read_for_a_schema(tmp_path: Path) -> None:
    """A reference to an address or a file is refused when the stream opens, though the file is there."""
    file = tmp_path / "schema.json"
    file.write_text('{"type": "object"}')
    for target in (file.as_uri(), "http://127.0.0.1:1/schema.json", "other.json"):
        assert "leads nowhere" in refusal({"$ref": target}).message


@pytest.mark.parametrize(
    "schema",
    [
        properties(a={"type": "string", "pattern": r"^(\w+\s?)*!$"}),
        {"type": "object", "patternProperties": {r"^(\w+\s?)*!$": {}}, "additionalProperties": False},
        {"$schema": "http://json-schema.org/draft-07/schema#", **properties(a={"$ref": "#/$defs/a"}),
         "$defs": {"a": {"$schema": "http://json-schema.org/draft-07/schema#", "pattern": r"^(\w+\s?)*!$"}}},
    ],
)  # fmt: skip
def test_a_pattern_that_explodes_finds_nothing_in_a_moment(schema: dict[str, JsonValue]) -> None:
    """Patterns have 20 ms for a whole check, in whatever dialect the schema says it is."""
    long = "a lot of words that are said by a caller in one long breath"
    began = time.thread_time()
    assert not call(schema, {"a": long, long: 1}).ok
    assert time.thread_time() - began < 0.5


def test_patterns_are_checked() -> None:
    """A pattern that fits is no problem, one that does not is; other properties are told from those of a pattern."""
    assert call(properties(a={"pattern": r"^\d+$"}), {"a": "12"}).ok
    assert "does not match" in call(properties(a={"pattern": r"^\d+$"}), {"a": "x"}).result
    closed: dict[str, JsonValue] = {
        **properties(a={}), "patternProperties": {"^x_": {"type": "integer"}}, "additionalProperties": False,
    }  # fmt: skip
    assert call(closed, {"a": 1, "x_b": 2}).ok
    assert "'y' was unexpected" in call(closed, {"y": 2}).result
    assert "not of type 'integer'" in call(closed, {"x_b": "2"}).result
    others: dict[str, JsonValue] = {**properties(a={}), "additionalProperties": {"type": "integer"}}
    assert call(others, {"a": "x", "b": 1}).ok
    assert not call(others, {"b": "x"}).ok


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (properties(a={"$ref": "#/$defs/x"}), "leads nowhere"),
        (properties(a={"pattern": "(("}), "is not a 'regex'"),
        ({**properties(a={"$ref": "#/$defs/x"}), "$defs": {"x": {"type": "nonsense"}}}, "nonsense"),
        ({"patternProperties": {"a": {}}, "unevaluatedProperties": False}, "together"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(schema: dict[str, JsonValue], why: str) -> None:
    """References that lead nowhere and patterns that do not compile are found when the stream opens."""
    assert why in refusal(schema).message


def test_a_local_reference_is_followed() -> None:
    """Definitions of the schema itself work."""
    schema: dict[str, JsonValue] = {**properties(a={"$ref": "#/$defs/x"}), "$defs": {"x": {"type": "string"}}}
    assert call(schema, {"a": "x"}).ok
    assert "not of type 'string'" in call(schema, {"a": 1}).result


def test_an_endless_reference_is_a_wrong_call() -> None:
    """A schema that is itself, and definitions that double each other, end in a result that the model can read."""
    assert "too deeply" in call({"$ref": "#"}, {}).result
    doubling: dict[str, JsonValue] = {
        f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}, {"$ref": f"#/$defs/d{level + 1}"}]}
        for level in range(30)
    }
    began = time.thread_time()
    assert "too deeply" in call({"$ref": "#/$defs/d0", "$defs": {**doubling, "d30": {}}}, {}).result
    assert time.thread_time() - began < 2


def test_arguments_may_be_nested_too_deeply() -> None:
    """A model that opens brackets for ever does not end the turn."""
    assert "too deeply" in call({}, '{"a": ' * 100_000).result
    assert "too deeply" in call({}, '{"a": ' * 900 + "1" + "}" * 900).result
    assert "too deeply" in call({}, '{"a": ' + "[" * 40 + "]" * 40 + "}").result
    assert call({}, {"a": [[[{"b": [1]}]]]}).ok


def test_half_a_character_in_the_arguments_is_replaced() -> None:
    """A lone surrogate, which no message can carry, becomes a replacement character; a whole pair stays."""
    made = call({}, '{"a \\ud83d": ["b \\ud83d", "\\ud83d\\ude00"]}')
    assert made.call.arguments == {"a \ufffd": ["b \ufffd", "\U0001f600"]}
    assert made.model_dump_json()


def test_calls_of_another_worker() -> None:
    """Their results say whether they failed, and a failed one has not ended the call."""
    toolbox = Toolbox((Tool(name="book"), Tool(name="bye", kind=ToolKind.END_CALL)))
    results = {"a": "ok", "b": "error: no such day", "c": '{"free": true}'}
    for name in ("book", "bye"):
        messages = [
            ChatMessage(role=Role.ASSISTANT, tool_calls=tuple(ToolCall(id=call_id, name=name) for call_id in results)),
            *(ChatMessage(role=Role.TOOL, text=text, tool_call_id=call_id) for call_id, text in results.items()),
        ]
        made = toolbox.made(messages)
        assert {call_id: called.ok for call_id, called in made.items()} == {"a": True, "b": False, "c": True}
        assert not toolbox.ends_call([made["b"]])
        assert toolbox.ends_call([made["a"]]) is (name == "bye")


def test_a_schema_is_checked_once() -> None:
    """The next stream of the agent takes the schema as it is, whatever the order of its keys."""
    parameters = properties(day={"type": "string", "pattern": "day$"})
    assert schemas.compiled(parameters) is schemas.compiled(dict(reversed(parameters.items())))
    assert schemas._remembered.cache_info().maxsize == 256
