"""The agents that come with the local stack."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from voxbus.contracts.agents import AgentSpec
from voxbus.contracts.llm import ChatMessage, Role
from voxbus.llm_worker.providers.scripted import ScriptedProvider
from voxbus.llm_worker.script import library
from voxbus.llm_worker.script.engine import CallTool, Say, plan
from voxbus.local.agent_files import read_agent

pytestmark = pytest.mark.unit

FOLDER = Path(str(files("voxbus.local")))
AGENTS = sorted((FOLDER / "agents").glob("*.json"))
BOOKING: list[dict[str, Any]] = [
    entry for entry in json.loads((FOLDER / "samples" / "manifest.json").read_text()) if entry["set"] == "booking"
]


def agent(name: str) -> AgentSpec:
    return read_agent(FOLDER / "agents" / f"{name}.json").spec


def test_there_are_a_receptionist_and_an_echo() -> None:
    """The demo and the tests count on these two."""
    assert {path.stem for path in AGENTS} >= {"receptionist", "echo"}


@pytest.mark.parametrize("path", AGENTS, ids=lambda path: path.stem)
def test_an_agent_is_valid_and_named_after_its_file(path: Path) -> None:
    """Configuration, tools and script are accepted as they would be in a call, and no field is misspelt."""
    assert read_agent(path).agent_id == path.stem
    spec = agent(path.stem)
    for tool in spec.tools:
        Draft202012Validator.check_schema(tool.parameters)
    ScriptedProvider().model(spec.llm_settings, spec.tools)


def test_the_booking_speech_is_a_conversation_with_the_receptionist() -> None:
    """The texts of the sample speech, said in order, end in an appointment that the agent's tool accepts."""
    spec = agent("receptionist")
    script = library.load(str(spec.llm_settings["script"]))
    messages = [ChatMessage(role=Role.ASSISTANT, text=spec.greeting or "")]
    for entry in BOOKING:
        messages.append(ChatMessage(role=Role.USER, text=entry["text"]))
        steps = plan(script, messages)
        words = " ".join(step.text for step in steps if isinstance(step, Say))
        messages.append(ChatMessage(role=Role.ASSISTANT, text=words))
    calls = [step for step in steps if isinstance(step, CallTool)]
    assert [(call.tool, call.arguments) for call in calls] == [
        ("record_appointment", {"day": "Wednesday", "time": "15:00", "name": "Charlie", "phone": "5550147"})
    ]
    schema = next(tool.parameters for tool in spec.tools if tool.name == "record_appointment")
    Draft202012Validator(schema).validate(calls[0].arguments)


def test_the_echo_repeats_what_it_heard() -> None:
    """ "You said", and the words."""
    script = library.parse(agent("echo").llm_settings["script"])  # type: ignore[arg-type]
    assert plan(script, [ChatMessage(role=Role.USER, text="Hello there.")]) == (Say("You said: Hello there."),)
