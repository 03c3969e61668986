"""The AsyncAPI 3 document of the bus, made from the contracts. Committed as `docs/asyncapi.yaml`; a test checks for drift."""

from __future__ import annotations

import re
from typing import Any

from voxbus.contracts import subjects
from voxbus.contracts.base import Message
from voxbus.contracts.event import EVENT_TYPES
from voxbus.contracts.llm import LlmFinished, LlmFirstToken, LlmOpen, LlmSentence, LlmToolCalled
from voxbus.contracts.rpc import Operation, RequestError
from voxbus.contracts.schemas import OPERATIONS, schema_of
from voxbus.contracts.stage import ProcessStatus, Stage, StageError, StreamReply
from voxbus.contracts.stt import SpeechPaused, SpeechStarted, SttOpen, Transcript, TurnEnded
from voxbus.contracts.tts import TtsOpen, TtsSentence, TtsSentenceDone, TtsSentenceStarted

_OPENS: dict[Stage, type[Message]] = {Stage.STT: SttOpen, Stage.LLM: LlmOpen, Stage.TTS: TtsOpen}
_INPUTS: dict[Stage, tuple[type[Message], ...]] = {Stage.STT: (), Stage.LLM: (), Stage.TTS: (TtsSentence,)}
_OUTPUTS: dict[Stage, tuple[type[Message], ...]] = {
    Stage.STT: (SpeechStarted, SpeechPaused, Transcript, TurnEnded),
    Stage.LLM: (LlmFirstToken, LlmSentence, LlmToolCalled, LlmFinished),
    Stage.TTS: (TtsSentenceStarted, TtsSentenceDone),
}
_FRAMED = (
    "Framed: the 20-byte header of `voxbus.contracts.frame`, then this JSON. Frames of kind AUDIO (PCM16 mono 16 kHz, 1 to 50 "
    "frames of 20 ms), HEARTBEAT, CLOSE and CANCEL travel on the same subject."
)


def document() -> dict[str, Any]:
    """The whole document as plain data."""
    builder = _Builder()
    for stage in Stage:
        builder.stage(stage)
    for model, (noun, verb) in EVENT_TYPES.items():
        builder.event(model, noun, verb)
    for operation in OPERATIONS:
        builder.request(operation)
    builder.status()
    builder.limit()
    return builder.document


class _Builder:
    def __init__(self) -> None:
        self._schemas: dict[str, Any] = {}
        self._messages: dict[str, Any] = {}
        self._channels: dict[str, Any] = {}
        self._operations: dict[str, Any] = {}
        self.document: dict[str, Any] = {
            "asyncapi": "3.0.0",
            "info": {
                "title": "Voxbus",
                "version": "1.0.0",
                "description": "The subjects and messages of the Voxbus bus. Generated from voxbus.contracts; do not edit.",
                "license": {"name": "Apache-2.0"},
            },
            "defaultContentType": "application/json",
            "channels": self._channels,
            "operations": self._operations,
            "components": {"messages": self._messages, "schemas": self._schemas},
        }

    def stage(self, stage: Stage) -> None:
        """The three subjects of a stage."""
        name = stage.value
        self._channel(
            f"{name}Open", subjects.OPEN, {"stage": name}, (_OPENS[stage],), "Open a stream on any worker with room."
        )
        self._channel(f"{name}OpenReply", None, {}, (StreamReply,), "The answer, on the reply subject of the open.")
        self._operation(
            f"{name}Open", "receive", f"Workers share the opens in queue group `{name}`.", reply=f"{name}OpenReply"
        )
        self._channel(f"{name}Input", subjects.INPUT, {"stage": name}, _INPUTS[stage], "Owner to worker.", framed=True)
        self._operation(f"{name}Input", "receive", "A worker reads the input of its streams.")
        outputs: tuple[type[Message], ...] = (*_OUTPUTS[stage], StageError)
        self._channel(f"{name}Output", subjects.OUTPUT, {"stage": name}, outputs, "Worker to owner.", framed=True)
        self._operation(f"{name}Output", "send", "A worker sends the output of its streams.")

    def event(self, model: type[Message], noun: str, verb: str) -> None:
        """The subject of an event."""
        name = model.__name__[0].lower() + model.__name__[1:]
        self._channel(
            name, subjects.EVENT, {"noun": noun, "verb": verb}, (model,), "CloudEvents attributes in the headers."
        )
        self._operation(name, "send", f"Event `voxbus.{noun}.{verb}.v1`.")

    def request(self, operation: Operation[Any, Any]) -> None:
        """The subject of a request, and its reply."""
        name = f"{operation.service}.{operation.name}"
        fixed = {"service": operation.service, "operation": operation.name}
        self._channel(name, subjects.RPC, fixed, (operation.request,), "")
        answer = "On the reply subject: an object with `result`, or with `error`."
        self._channel(f"{name}.reply", None, {}, (operation.result, RequestError), answer)
        summary = f"Processes of `{operation.service}` share the requests in its queue group."
        self._operation(name, "receive", summary, reply=f"{name}.reply")

    def status(self) -> None:
        """The status request."""
        self._channel("status", subjects.STATUS, {}, (), "An empty request to all processes.")
        self._channel("statusReply", None, {}, (ProcessStatus,), "One answer of each process, on the reply subject.")
        self._operation("status", "receive", "Every process answers.", reply="statusReply")

    def limit(self) -> None:
        """The counters of rate limits."""
        self._channel("limit", subjects.LIMIT, {}, (), "Empty messages that REST processes count requests with.")
        self._operation("limit", "send", "One message for each request, refused when there were too many.")

    def _channel(
        self,
        name: str,
        subject: subjects.Subject | None,
        fixed: dict[str, str],
        models: tuple[type[Message], ...],
        description: str,
        *,
        framed: bool = False,
    ) -> None:
        channel: dict[str, Any] = {"address": None, "description": f"{description} {_FRAMED if framed else ''}".strip()}
        if subject is not None:
            address = subject.template
            for token, value in fixed.items():
                address = address.replace(f"{{{token}}}", value)
            channel["address"] = address
            parameters = re.findall(r"\{(\w+)\}", address)
            if parameters:
                channel["parameters"] = {
                    token: {"description": f"The {token.replace('_', ' ')}."} for token in parameters
                }
        channel["messages"] = {model.__name__: {"$ref": self._message(model)} for model in models}
        self._channels[name] = channel

    def _operation(self, channel: str, action: str, summary: str, reply: str | None = None) -> None:
        operation: dict[str, Any] = {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}
        if reply is not None:
            operation["reply"] = {
                "address": {"location": "$message.header#/reply"},
                "channel": {"$ref": f"#/channels/{reply}"},
            }
        self._operations[channel] = operation

    def _message(self, model: type[Message]) -> str:
        name = model.__name__
        if name not in self._messages:
            self._messages[name] = {
                "name": name,
                "summary": (model.__doc__ or "").strip().splitlines()[0],
                "payload": {"$ref": f"#/components/schemas/{name}"},
            }
            schema = _rebased(schema_of(model))
            for nested, definition in schema.pop("$defs", {}).items():
                self._schemas[nested] = definition
            self._schemas[name] = schema
        return f"#/components/messages/{name}"


def _rebased(node: Any) -> Any:
    """The schema with its references pointing into the document's components."""
    if isinstance(node, dict):
        return {
            key: value.replace("#/$defs/", "#/components/schemas/") if key == "$ref" else _rebased(value)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [_rebased(item) for item in node]
    return node
