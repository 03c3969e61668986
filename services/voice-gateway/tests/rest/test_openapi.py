"""The OpenAPI document says what the API does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from rest_stand import RestStand

from voxbus.voice_gateway.rest.api import openapi_document

pytestmark = pytest.mark.unit

DOCUMENT = openapi_document()
OPERATIONS = [
    (method, path, operation) for path, item in DOCUMENT["paths"].items() for method, operation in item.items()
]
NAMES = [f"{method.upper()} {path}" for method, path, _ in OPERATIONS]
Operation = Mapping[str, Any]
each_operation = pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=NAMES)


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Every object of the document."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from nodes(value)


def valid(schema: Any, value: Any) -> bool:
    """Whether a value fits a schema of the document."""
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]}).is_valid(value)


def body_schema(method: str, path: str) -> Any:
    """The schema of an operation's body."""
    return next(iter(DOCUMENT["paths"][path][method]["requestBody"]["content"].values()))["schema"]


def test_references() -> None:
    """Every reference leads somewhere, and every schema is used."""
    used = {node["$ref"] for node in nodes(DOCUMENT) if isinstance(node.get("$ref"), str)}
    assert used == {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}


def test_schemas() -> None:
    """Every schema is a JSON schema."""
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_names() -> None:
    """Operations can be told apart by their ids."""
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(ids)) == len(ids)


@each_operation
def test_failures(method: str, path: str, operation: Operation) -> None:
    """Every operation says how it can fail, as problem documents, and that it needs credentials where it does."""
    responses = operation["responses"]
    assert "500" in responses or path == "/health"
    for status, response in responses.items():
        if int(status) >= 400 and path != "/health":
            assert list(response["content"]) == ["application/problem+json"], (status, response)
    guarded = "security" in operation
    assert guarded == ("401" in responses) or path in ("/auth/login", "/auth/refresh")
    if "requestBody" in operation:
        assert {"413", "415", "422"} <= set(responses)
    if any(parameter["name"] == "If-Match" and parameter["required"] for parameter in operation.get("parameters", ())):
        assert {"412", "428"} <= set(responses)


@each_operation
def test_explained(method: str, path: str, operation: Operation) -> None:
    """Every operation has a tag, a summary and a description."""
    assert operation["tags"]
    assert operation["summary"]
    assert operation["description"]


@each_operation
def test_examples(method: str, path: str, operation: Operation) -> None:
    """Every JSON body has an example that fits its schema."""
    for media_type, media in operation.get("requestBody", {}).get("content", {}).items():
        if media_type.endswith("json"):
            assert media["examples"]
            for example in media["examples"].values():
                assert valid(media["schema"], example["value"]), example


def test_examples_of_answers() -> None:
    """Every example of a schema fits it, and every answer has one."""
    answered = {
        media["schema"]["$ref"].rpartition("/")[2]
        for _, path, operation in OPERATIONS
        for status, response in operation["responses"].items()
        for media in response.get("content", {}).values()
        if status < "300" and path not in ("/health", "/.well-known/jwks.json", "/auth/keys/rotate")
    }
    assert [name for name in answered if "examples" not in DOCUMENT["components"]["schemas"][name]] == []
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            assert valid({"$ref": f"#/components/schemas/{name}"}, example), name


def test_bodies_are_closed() -> None:
    """A body with an unknown field does not fit, at the top and inside."""
    schema = body_schema("post", "/agents")
    assert valid(schema, {"name": "x", "limits": {"silence_s": 5}})
    assert not valid(schema, {"name": "x", "nmae": "x"})
    assert not valid(schema, {"name": "x", "limits": {"silence": 5}})
    assert not valid(schema, {"name": "x", "tools": [{"name": "a", "extra": 1}]})
    assert valid(schema, {"name": "x", "llm_settings": {"whatever": {"a": 1}}})


def test_patches_are_partial() -> None:
    """Of a merge patch every field may be missing, null, or partial where it is an object; a list is whole."""
    schema = body_schema("patch", "/agents/{agent_id}")
    assert valid(schema, {})
    assert valid(schema, {"greeting": None, "limits": {"silence_s": None}, "phrases": None, "metadata": {"a": None}})
    assert not valid(schema, {"nmae": "x"})
    assert not valid(schema, {"limits": {"silence": 5}})
    assert not valid(schema, {"tools": [{"description": "without its name"}]})


async def test_served() -> None:
    """The document and a page for people are served; the page and its policy reach for nothing that is elsewhere."""
    client = RestStand().client(None)
    assert (await client.get("/openapi.json")).json() == DOCUMENT
    page = await client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert "http" not in page.text + policy
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(linked) == 5
    for address in linked:
        found = await client.get(f"/{address}")
        assert found.status_code == 200, address
        assert len(found.content) > 100


async def test_only_files_of_the_page_are_served() -> None:
    """Another name below /docs is not found, whatever it looks like."""
    client = RestStand().client(None)
    for name in ("other.js", "__init__.py", "..%2fmain.py"):
        assert (await client.get(f"/docs/{name}")).status_code in (404, 422)


async def test_the_bare_address_leads_to_the_documentation() -> None:
    """By a relative address, so that it works below a path of a proxy."""
    response = await RestStand().client(None).get("/")
    assert (response.status_code, response.headers["location"]) == (307, "docs")
