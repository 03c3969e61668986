"""Every message, its JSON schema, and what counts as a breaking change of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from voxbus.contracts import agents, auth, call, campaigns, llm, native, rpc, stage, stt, tts
from voxbus.contracts.agent import AgentConfig
from voxbus.contracts.base import Message
from voxbus.contracts.event import EVENT_TYPES

OPERATIONS: Final[tuple[rpc.Operation[Any, Any], ...]] = (
    *auth.OPERATIONS,
    *agents.OPERATIONS,
    *campaigns.OPERATIONS,
)
"""Every request that a service answers."""

_RPC_MODELS: Final[tuple[type[Message], ...]] = (
    rpc.RequestError,
    *(operation.request for operation in OPERATIONS),
    *(operation.result for operation in OPERATIONS),
)

_MODELS: Final[tuple[type[Message], ...]] = (
    *_RPC_MODELS,
    *EVENT_TYPES,
    AgentConfig,
    stage.StreamReply,
    stage.StageError,
    stage.ProcessStatus,
    stt.SttOpen,
    stt.SpeechStarted,
    stt.SpeechPaused,
    stt.Transcript,
    stt.TurnEnded,
    llm.LlmOpen,
    llm.LlmFirstToken,
    llm.LlmSentence,
    llm.LlmToolCalled,
    llm.LlmFinished,
    tts.TtsOpen,
    tts.TtsSentence,
    tts.TtsSentenceStarted,
    tts.TtsSentenceDone,
    call.CallStarted,
    call.TurnCompleted,
    call.StreamTakenOver,
    call.CallEnded,
    native.Auth,
    native.Audio,
    native.Mark,
    native.Dtmf,
    native.Hangup,
    native.Ready,
    native.TranscriptMessage,
    native.Clear,
    native.Turn,
    native.ErrorMessage,
    native.Ended,
)

MESSAGES: Final[dict[str, type[Message]]] = {model.__name__: model for model in _MODELS}
"""Name to model: all that travels, on the bus and at the edge."""


def schema_of(model: type[Message]) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of what a receiver accepts."""
    return model.model_json_schema(mode="validation")


def breaking_changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What of `new` would break peers that speak `old`: inside a major version only optional fields are added."""
    return list(_compare(old, new, old.get("$defs", {}), new.get("$defs", {}), "", frozenset()))


def _compare(
    old: dict[str, Any],
    new: dict[str, Any],
    old_defs: dict[str, Any],
    new_defs: dict[str, Any],
    path: str,
    seen: frozenset[str],
) -> Iterator[str]:
    reference = old.get("$ref")
    if reference is not None:
        if reference in seen:
            return
        seen |= {reference}
    old, new = _resolve(old, old_defs), _resolve(new, new_defs)
    for field in sorted(set(new.get("required", [])) - set(old.get("required", []))):
        yield f"{path}{field}: newly required"
    old_fields, new_fields = old.get("properties", {}), new.get("properties", {})
    for field, old_field in old_fields.items():
        if field not in new_fields:
            yield f"{path}{field}: removed"
        else:
            yield from _compare(old_field, new_fields[field], old_defs, new_defs, f"{path}{field}.", seen)
    yield from _compare_values(old, new, path.rstrip(".") or "message")
    for old_part, new_part, name in _parts(old, new):
        yield from _compare(old_part, new_part, old_defs, new_defs, f"{path}{name}.", seen)


def _compare_values(old: dict[str, Any], new: dict[str, Any], where: str) -> Iterator[str]:
    if old.get("type") != new.get("type"):
        yield f"{where}: type {old.get('type')} became {new.get('type')}"
    if old.get("const") != new.get("const"):
        yield f"{where}: constant {old.get('const')!r} became {new.get('const')!r}"
    gone = set(old.get("enum", [])) - set(new.get("enum", []))
    if gone:
        yield f"{where}: values removed: {', '.join(sorted(map(str, gone)))}"
    if any(len(old.get(keyword, [])) > len(new.get(keyword, [])) for keyword in ("anyOf", "oneOf")):
        yield f"{where}: a variant was removed"


def _parts(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any], str]]:
    """The schemas inside of arrays and unions, side by side."""
    if "items" in old and "items" in new:
        yield old["items"], new["items"], "[]"
    for keyword in ("anyOf", "oneOf"):
        for number, (old_option, new_option) in enumerate(
            zip(old.get(keyword, []), new.get(keyword, []), strict=False)
        ):
            yield old_option, new_option, f"{keyword}{number}"


def _resolve(schema: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    resolved: dict[str, Any] = defs[reference.removeprefix("#/$defs/")] if reference else schema
    return resolved
