"""Messages, subjects and documents against their committed forms."""

from __future__ import annotations

import copy
import json
from typing import Any

import contract_files
import pytest
import yaml

from voxbus.contracts import subjects
from voxbus.contracts.schemas import MESSAGES, breaking_changes, schema_of

pytestmark = pytest.mark.contract


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_no_message_breaks_its_peers(name: str) -> None:
    """Each message still accepts what the committed schema accepts."""
    committed = json.loads((contract_files.SCHEMAS / f"{name}.json").read_text())
    assert breaking_changes(committed, schema_of(MESSAGES[name])) == []


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_committed_schemas_are_current(name: str) -> None:
    """The committed schema of each message is the one of the code (`make contracts` writes it)."""
    assert (contract_files.SCHEMAS / f"{name}.json").read_text() == contract_files.schema_text(name)


def test_no_schema_is_left_over() -> None:
    """A message that was removed from the code is noticed."""
    assert {path.stem for path in contract_files.SCHEMAS.glob("*.json")} == set(MESSAGES)


def test_the_asyncapi_document_is_current() -> None:
    """`docs/asyncapi.yaml` is the one of the code (`make contracts` writes it)."""
    assert contract_files.ASYNCAPI.read_text() == contract_files.asyncapi_text()


def test_the_openapi_document_is_current() -> None:
    """`docs/openapi.json` is the one of the code (`make contracts` writes it)."""
    assert contract_files.OPENAPI.read_text() == contract_files.openapi_text()


def test_the_page_of_settings_is_current_and_complete() -> None:
    """`docs/settings.md` is the one of the code, and says of every variable what it is for."""
    text = contract_files.SETTINGS.read_text()
    assert text == contract_files.settings_text()
    assert "| |" not in text.replace("  ", " ")


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [reference for value in node.values() for reference in _references(value)]
    if isinstance(node, list):
        return [reference for item in node for reference in _references(item)]
    return []


def test_every_reference_of_the_asyncapi_document_resolves() -> None:
    """No `$ref` of the document points to nothing."""
    document = yaml.safe_load(contract_files.ASYNCAPI.read_text())
    assert _references(document)
    for reference in _references(document):
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in node, reference
            node = node[part]


def test_every_subject_is_in_the_asyncapi_document() -> None:
    """A subject cannot be added without being documented."""
    addresses = [channel["address"] for channel in contract_files.document()["channels"].values() if channel["address"]]
    for subject in subjects.ALL:
        assert any(subject.match(address) is not None for address in addresses), subject.template


@pytest.fixture
def schema() -> dict[str, Any]:
    """A schema to break."""
    return copy.deepcopy(schema_of(MESSAGES["TtsSentence"]))


def test_a_removed_field_is_a_breaking_change(schema: dict[str, Any]) -> None:
    """Removing a field is found."""
    new = copy.deepcopy(schema)
    del new["properties"]["text"]
    assert breaking_changes(schema, new) == ["text: removed"]


def test_a_newly_required_field_is_a_breaking_change(schema: dict[str, Any]) -> None:
    """A new field must be optional."""
    new = copy.deepcopy(schema)
    new["properties"]["voice"] = {"type": "string"}
    assert breaking_changes(schema, new) == []
    new["required"].append("voice")
    assert breaking_changes(schema, new) == ["voice: newly required"]


def test_a_changed_type_is_a_breaking_change(schema: dict[str, Any]) -> None:
    """Another type is found, also inside a nested model."""
    new = copy.deepcopy(schema)
    new["properties"]["index"]["type"] = "string"
    assert breaking_changes(schema, new) == ["index: type integer became string"]
    agent = schema_of(MESSAGES["AgentConfig"])
    nested = copy.deepcopy(agent)
    nested["$defs"]["CallLimits"]["properties"]["silence_s"]["type"] = "string"
    assert breaking_changes(agent, nested) == ["limits.silence_s: type number became string"]


def test_a_removed_enumeration_value_is_a_breaking_change() -> None:
    """A value that old peers send must stay."""
    ended = schema_of(MESSAGES["CallEnded"])
    new = copy.deepcopy(ended)
    new["$defs"]["EndReason"]["enum"].remove("agent_ended")
    assert breaking_changes(ended, new) == ["reason: values removed: agent_ended"]
