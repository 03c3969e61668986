"""JSON schemas of what clients send: like the models', and closed, because unknown fields are refused."""

from __future__ import annotations

import copy
from typing import Any, Final

from pydantic import BaseModel

_REF: Final = "#/components/schemas/"
_NULL: Final = {"type": "null"}


class RequestSchemas:
    """Adds to the components: `AgentSpecInput` for a whole `AgentSpec`, `AgentSpecPatch` for a merge patch of one."""

    def __init__(self, components: dict[str, Any]) -> None:
        self._components = components
        self._used: set[str] = set()

    def strict(self, model: type[BaseModel]) -> dict[str, Any]:
        """The reference to a model's schema without unknown fields."""
        return self._add(model, "Input")

    def patch_of(self, model: type[BaseModel]) -> dict[str, Any]:
        """The reference to the schema of a merge patch: every field may be left out, and null takes it away."""
        return self._add(model, "Patch")

    def _add(self, model: type[BaseModel], suffix: str) -> dict[str, Any]:
        schema = model.model_json_schema(mode="validation", ref_template=_REF + "{model}")
        definitions = {**schema.pop("$defs", {}), model.__name__: schema}
        for name, definition in definitions.items():
            self._components[name + "Input"] = _closed(copy.deepcopy(definition))
            if suffix == "Patch" and "properties" in definition:
                self._components[name + "Patch"] = _patched(copy.deepcopy(definition), definitions)
        self._drop_unused(model.__name__ + suffix)
        return {"$ref": _REF + model.__name__ + suffix}

    def _drop_unused(self, root: str) -> None:
        """A patch adds both forms of every model below it; the forms that nothing refers to only fill the document."""
        used: set[str] = set()
        pending = [root]
        while pending:
            name = pending.pop()
            if name not in used and name in self._components:
                used.add(name)
                pending.extend(_references(self._components[name]))
        self._roots = getattr(self, "_roots", set()) | used
        for name in [
            name for name in self._components if name.endswith(("Input", "Patch")) and name not in self._roots
        ]:
            del self._components[name]


def _references(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        found = [schema["$ref"].removeprefix(_REF)] if isinstance(schema.get("$ref"), str) else []
        return found + [name for value in schema.values() for name in _references(value)]
    if isinstance(schema, list):
        return [name for value in schema for name in _references(value)]
    return []


def _closed(schema: Any) -> Any:
    """References become those of the closed form, objects with named fields take no others."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    result = {name: value if name in ("default", "examples") else _closed(value) for name, value in schema.items()}
    if isinstance(result.get("$ref"), str):
        result["$ref"] += "Input"
    if isinstance(result.get("properties"), dict) and result.get("type") == "object":
        result["additionalProperties"] = False
    return result


def _patched(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    schema.pop("required", None)
    schema["properties"] = {name: _optional(field, definitions) for name, field in schema.get("properties", {}).items()}
    schema["additionalProperties"] = False
    return schema


def _optional(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A field of a patch: partial where it is an object, else whole; or null."""
    field = {name: value for name, value in field.items() if name != "default"}
    notes: dict[str, Any] = {name: field.pop(name) for name in ("title", "description") if name in field}
    reference = str(field.get("$ref", "")).removeprefix(_REF)
    if "properties" in definitions.get(reference, {}):
        options: list[Any] = [{"$ref": _REF + reference + "Patch"}]
    else:
        wholes = [option for option in field.get("anyOf", [field]) if option != _NULL]
        options = [_removable(_closed(option)) for option in wholes]
    return {**notes, "anyOf": [*options, _NULL]}


def _removable(schema: dict[str, Any]) -> dict[str, Any]:
    """Of an object with free names: each may be null, and how many there are is not known before the patch is applied."""
    if schema.get("type") != "object":
        return schema
    result = {name: value for name, value in schema.items() if name not in ("minProperties", "maxProperties")}
    if isinstance(result.get("additionalProperties"), dict):
        result["additionalProperties"] = {"anyOf": [result["additionalProperties"], _NULL]}
    if "patternProperties" in result:
        patterns = result["patternProperties"].items()
        result["patternProperties"] = {pattern: {"anyOf": [value, _NULL]} for pattern, value in patterns}
    return result
