"""What a spec must fulfil beyond its contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from voxbus.agents.domain import spec_text
from voxbus.agents.pointers import pointer
from voxbus.contracts.agents import AgentSpec
from voxbus.contracts.llm import Tool
from voxbus.contracts.providers import KNOWN_PROVIDERS
from voxbus.contracts.rpc import FieldProblem
from voxbus.contracts.stage import ProviderChoice, Stage

MAX_SIZE_BYTES: Final = 256 * 1024
"""Of a spec as JSON: it travels in one message, with room for an answer around it."""
MAX_DEPTH: Final = 32
"""Of settings and schemas. JSON parsers stop at 200, and an answer wraps a few levels around them."""
_TYPES: Final = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})


def check(spec: AgentSpec) -> list[FieldProblem]:
    """Everything that is wrong; empty when nothing is."""
    deep = list(_too_deep(spec))
    if deep:
        return deep  # the other checks follow the same nesting
    return [*_size(spec), *_providers(spec), *_tools(spec)]


def _size(spec: AgentSpec) -> Iterator[FieldProblem]:
    size_bytes = len(spec_text(spec).encode())
    if size_bytes > MAX_SIZE_BYTES:
        yield FieldProblem(path="", message=f"the agent takes {size_bytes} bytes as JSON; {MAX_SIZE_BYTES} are allowed")


def _providers(spec: AgentSpec) -> Iterator[FieldProblem]:
    for stage in Stage:
        field = f"{stage.value}_provider"
        yield from _known(stage, getattr(spec, field), pointer(field))
        fallbacks = f"{stage.value}_fallbacks"
        for number, choice in enumerate(getattr(spec, fallbacks)):
            yield from _known(stage, choice.name, pointer(fallbacks, number, "name"))


def _known(stage: Stage, name: str, path: str) -> Iterator[FieldProblem]:
    known = KNOWN_PROVIDERS[stage]
    if name not in known:
        yield FieldProblem(path=path, message=f"no {stage.value} provider is called {name}; known: {', '.join(known)}")


def _tools(spec: AgentSpec) -> Iterator[FieldProblem]:
    names: set[str] = set()
    for number, tool in enumerate(spec.tools):
        if tool.name in names:
            yield FieldProblem(path=pointer("tools", number, "name"), message=f"another tool is called {tool.name}")
        names.add(tool.name)
        yield from _address(number, tool)
        yield from _headers(number, tool)
        yield from _parameters(pointer("tools", number, "parameters"), tool.parameters)


def _address(number: int, tool: Tool) -> Iterator[FieldProblem]:
    """Which addresses may be called is the worker's to say; that there is one is seen here."""
    if tool.http is None:
        return
    try:
        parts = urlsplit(tool.http.url)
        fine = bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine:
        yield FieldProblem(path=pointer("tools", number, "http", "url"), message="no host and port can be read in it")


def _headers(number: int, tool: Tool) -> Iterator[FieldProblem]:
    """Header names are the same whatever their case, and each is sent once."""
    if tool.http is None:
        return
    seen: set[str] = set()
    for field in ("headers", "secret_headers"):
        for header in getattr(tool.http, field):
            if header.lower() in seen:
                path = pointer("tools", number, "http", field, header)
                yield FieldProblem(path=path, message=f"the header {header} is given twice")
            seen.add(header.lower())


def _parameters(path: str, schema: dict[str, Any]) -> Iterator[FieldProblem]:
    if not schema:
        return
    if schema.get("type") != "object":
        yield FieldProblem(path=f"{path}/type", message='arguments are an object: the type must be "object"')
        return
    yield from _schema(path, schema)


def _schema(path: str, schema: Any) -> Iterator[FieldProblem]:
    """The structure of a JSON schema. Workers check the rest when they use it."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        yield FieldProblem(path=path, message="a JSON schema is an object, true or false")
        return
    yield from _type(f"{path}/type", schema.get("type"))
    yield from _required(f"{path}/required", schema.get("required"))
    if "enum" in schema and not isinstance(schema["enum"], list):
        yield FieldProblem(path=f"{path}/enum", message="must be a list")
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        yield FieldProblem(path=f"{path}/properties", message="must be an object of JSON schemas")
    else:
        for name, item in properties.items():
            yield from _schema(f"{path}/properties{pointer(name)}", item)
    if "items" in schema:
        yield from _schema(f"{path}/items", schema["items"])


def _type(path: str, kind: Any) -> Iterator[FieldProblem]:
    kinds = kind if isinstance(kind, list) else [kind]
    if kind is not None and not all(isinstance(item, str) and item in _TYPES for item in kinds):
        yield FieldProblem(path=path, message=f"must be one of {', '.join(sorted(_TYPES))}, or a list of them")


def _required(path: str, required: Any) -> Iterator[FieldProblem]:
    if required is None:
        return
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        yield FieldProblem(path=path, message="must be a list of names")


def _too_deep(spec: AgentSpec) -> Iterator[FieldProblem]:
    for path, value in _free_content(spec):
        if not _fits(value, MAX_DEPTH):
            yield FieldProblem(path=path, message=f"nested more than {MAX_DEPTH} levels deep")


def _free_content(spec: AgentSpec) -> Iterator[tuple[str, Any]]:
    for stage in Stage:
        yield pointer(f"{stage.value}_settings"), getattr(spec, f"{stage.value}_settings")
        fallbacks: tuple[ProviderChoice, ...] = getattr(spec, f"{stage.value}_fallbacks")
        for number, choice in enumerate(fallbacks):
            yield pointer(f"{stage.value}_fallbacks", number, "settings"), choice.settings
    for number, tool in enumerate(spec.tools):
        yield pointer("tools", number, "parameters"), tool.parameters


def _fits(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    items = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_fits(item, depth - 1) for item in items)
