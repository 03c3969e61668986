"""What differs between two specs, place by place. Lists are compared by index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from voxbus.agents.pointers import escape
from voxbus.contracts.agents import MASK, AgentSpec, Difference


@dataclass(frozen=True)
class _Secret:
    """A value that is compared and never shown."""

    value: str


def differences(before: AgentSpec, after: AgentSpec) -> Iterator[Difference]:
    """One after the other, in the order of the fields. A secret that changed shows as a mask that became a mask."""
    for difference in compare_json(_content(before), _content(after)):
        yield difference.model_copy(update={"before": _shown(difference.before), "after": _shown(difference.after)})


def compare_json(before: Any, after: Any) -> Iterator[Difference]:
    """What differs between two JSON values."""
    return _compare("", before, after)


def _content(spec: AgentSpec) -> dict[str, Any]:
    content = spec.model_dump(mode="json")
    for tool in content["tools"]:
        if tool["http"]:
            secrets = tool["http"]["secret_headers"]
            tool["http"]["secret_headers"] = {name: _Secret(value) for name, value in secrets.items()}
    return content


def _compare(path: str, before: Any, after: Any) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in (*before, *(key for key in after if key not in before)):
            yield from _member(f"{path}/{escape(key)}", before, after, key, key in before, key in after)
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            yield from _member(f"{path}/{index}", before, after, index, index < len(before), index < len(after))
    elif not _same(before, after):
        yield Difference.model_construct(path=path, change="changed", before=before, after=after)


def _member(path: str, before: Any, after: Any, key: Any, in_before: bool, in_after: bool) -> Iterator[Difference]:
    if not in_before:
        yield Difference.model_construct(path=path, change="added", before=None, after=after[key])
    elif not in_after:
        yield Difference.model_construct(path=path, change="removed", before=before[key], after=None)
    else:
        yield from _compare(path, before[key], after[key])


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, bool) or isinstance(after, bool):  # Python takes True for 1
        return before is after
    return bool(before == after)


def _shown(value: Any) -> Any:
    if isinstance(value, _Secret):
        return MASK
    if isinstance(value, dict):
        return {key: _shown(item) for key, item in value.items()}
    return [_shown(item) for item in value] if isinstance(value, list) else value
