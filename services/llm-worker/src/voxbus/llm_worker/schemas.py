"""JSON schemas of agents' tools. They come from outside, so nothing in them may fetch, read or hang."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final

from jsonschema import Draft202012Validator, SchemaError, ValidationError
from jsonschema.validators import extend
from pydantic import JsonValue
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from voxbus.llm_worker import regexes

_MAX_REFERENCES: Final = 1000
"""Followed in one check. A few definitions that name each other twice make millions."""
_NOTHING_FETCHED: Final[Registry[Any]] = Registry()
_TOO_DEEP: Final = "it is nested too deeply"

_references: ContextVar[int] = ContextVar("references", default=0)


class ArgumentsSchema:
    """A JSON schema of the 2020-12 draft, whatever its `$schema` says. Raises ValueError when it cannot be used."""

    def __init__(self, schema: Mapping[str, JsonValue]) -> None:
        plain = _without_dialect(dict(schema))
        try:
            _check(plain)
        except RecursionError:
            raise ValueError(_TOO_DEEP) from None
        self._validator = _Validator(plain, registry=_NOTHING_FETCHED)

    def problem(self, arguments: dict[str, Any]) -> str:
        """What is wrong with the arguments; empty when nothing is."""
        token = _references.set(0)
        try:
            with regexes.limited():
                error: ValidationError | None = next(iter(self._validator.iter_errors(arguments)), None)
        except Unresolvable:
            return "the tool's schema has a reference that leads nowhere"
        except RecursionError:
            return "the arguments or the tool's schema are nested too deeply"
        finally:
            _references.reset(token)
        return "" if error is None else f"{error.json_path}: {error.message}"


def compiled(schema: Mapping[str, JsonValue]) -> ArgumentsSchema:
    """Like ArgumentsSchema(), which takes a millisecond: agents are few and calls many, so it is remembered."""
    return _remembered(json.dumps(schema, sort_keys=True))


@lru_cache(maxsize=256)
def _remembered(text: str) -> ArgumentsSchema:
    return ArgumentsSchema(json.loads(text))


def _without_dialect(part: Any) -> Any:
    """Without "$schema", for which the library would take another class of validators in the middle of a check."""
    if isinstance(part, dict):
        kept = {key: item for key, item in part.items() if key != "$schema" or not isinstance(item, str)}
        return {key: _without_dialect(item) for key, item in kept.items()}
    return [_without_dialect(item) for item in part] if isinstance(part, list) else part


def _check(schema: Any) -> None:
    try:
        Draft202012Validator.check_schema(schema)
        keywords = set(_check_parts(schema))
    except SchemaError as error:
        raise ValueError(error.message) from None
    except Unresolvable as error:
        raise ValueError(f"the reference {error.ref} leads nowhere; nothing is fetched") from None
    if {"patternProperties", "unevaluatedProperties"} <= keywords:
        raise ValueError("patternProperties and unevaluatedProperties cannot be used together")


def _check_parts(schema: Any) -> Iterator[str]:
    """Looks at the schema and those in it for what the metaschema does not see; yields the keywords."""
    root: Resource[Any] = DRAFT202012.create_resource(schema)
    pending = [(root, _NOTHING_FETCHED.resolver_with_root(root))]
    while pending:
        resource, resolver = pending.pop()
        part = resource.contents
        if not isinstance(part, dict):
            continue
        yield from part
        for keyword in ("$ref", "$dynamicRef"):
            if keyword in part:
                Draft202012Validator.check_schema(resolver.lookup(part[keyword]).contents)
        _check_patterns([*part.get("patternProperties", ()), *([part["pattern"]] if "pattern" in part else ())])
        pending += [(inner, resolver.in_subresource(inner)) for inner in resource.subresources()]


def _check_patterns(patterns: list[str]) -> None:
    for pattern in patterns:
        problem = regexes.problem(pattern)
        if problem:
            raise ValueError(f"{pattern} is no regular expression: {problem}")


def _reference(validator: Any, reference: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    count = _references.get() + 1
    if count > _MAX_REFERENCES:
        raise RecursionError
    _references.set(count)
    yield from Draft202012Validator.VALIDATORS["$ref"](validator, reference, instance, schema) or ()


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not regexes.found(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: dict[str, Any], instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, inner in patterns.items():
        for name, item in instance.items():
            if regexes.found(pattern, name):
                yield from validator.descend(item, inner, path=name, schema_path=pattern)


def _additional_properties(validator: Any, inner: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """The library's own searches for the patterns of `patternProperties` with no limit of time."""
    if not isinstance(instance, dict):
        return
    patterns = schema.get("patternProperties", {})
    for name, item in instance.items():
        if name in schema.get("properties", {}) or any(regexes.found(pattern, name) for pattern in patterns):
            continue
        if inner is False:
            yield ValidationError(f"Additional properties are not allowed ({name!r} was unexpected)")
        else:
            yield from validator.descend(item, inner, path=name)


_Validator: Final = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        "$ref": _reference,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
    },
)
