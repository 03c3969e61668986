"""What a script and a long call may cost."""

from __future__ import annotations

import time
from typing import Any

import pytest

from voxbus.contracts.llm import ChatMessage, Role
from voxbus.llm_worker.script import engine, library
from voxbus.llm_worker.script.engine import Say, plan
from voxbus.llm_worker.script.memory import Memory, places
from voxbus.llm_worker.script.model import Script

pytestmark = pytest.mark.unit


def long_call(turns: int, text: str) -> list[ChatMessage]:
    pair = (ChatMessage(role=Role.USER, text=text), ChatMessage(role=Role.ASSISTANT, text="And which day?"))
    return [message for _ in range(turns) for message in pair]


def test_patterns_that_explode_hold_up_a_call_once() -> None:
    """Searches share 20 ms of a reply however many turns there were, and a pattern that hangs is not tried again."""
    script = Script.model_validate(
        {"otherwise": "Hm.", "answers": [{"match": [f"/^(\\w+\\s?)*{end}$/"], "say": "x"} for end in "!;<>="]}
    )
    messages = long_call(60, "a lot of words that are said by a caller in a single long sentence which goes on")
    began = time.thread_time()
    assert plan(script, messages) == (Say("Hm."),)
    assert time.thread_time() - began < 0.2
    for number in range(len(script.answers)):
        plan(
            script,
            [
                *messages,
                ChatMessage(role=Role.USER, text=f"and what is it that you told me about a while ago {number}"),
            ],
        )
    began = time.thread_time()
    plan(script, [*messages[:-2], ChatMessage(role=Role.USER, text="and something else that is as long as the others")])
    assert time.thread_time() - began < 0.02


def test_a_harmless_pattern_works_beside_one_that_explodes() -> None:
    """Once the bad pattern is known, the others have all the time they need."""
    script = Script.model_validate(
        {"otherwise": "Hm.", "answers": [{"match": [r"/^(\w+\s?)*=$/", "/pri[cz]e/"], "say": "Five dollars."}]}
    )
    long = "what is the price of all the things that you have there in your very nice little shop"
    plan(script, long_call(1, long))
    assert plan(script, long_call(2, f"{long} today")) == (Say("Five dollars."),)


def test_a_turn_costs_the_same_however_long_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a reply only what the caller said since is worked on, and what comes out is what a whole replay gives."""
    worked_on: list[str] = []
    step = engine._Engine.step

    def counted(self: Any, state: engine.State, heard: engine.Heard) -> Any:
        worked_on.append(heard.text)
        return step(self, state, heard)

    monkeypatch.setattr(engine, "_outcomes", Memory())
    monkeypatch.setattr(engine._Engine, "step", counted)
    script = library.load("receptionist")
    messages: list[ChatMessage] = []
    for text in ("Tuesday at three.", "Charlie.", "five five five, oh one four seven"):
        messages.append(ChatMessage(role=Role.USER, text=text))
        steps = plan(script, messages)
        assert plan(script, messages) == steps
        assert worked_on.pop() == text
        assert not worked_on
        messages.append(ChatMessage(role=Role.ASSISTANT, text="And then?"))
    monkeypatch.setattr(engine, "_outcomes", Memory())
    assert plan(script, messages) == steps
    assert len(worked_on) == 3


def test_memory_is_bounded() -> None:
    """The place that was used longest ago is forgotten first."""
    memory: Memory[str] = Memory(max_places=2)
    one, two, three = places("script", ["1", "2", "3"])
    memory.keep(one, "a")
    memory.keep(two, "b")
    assert memory.last([one]) == (0, "a")
    memory.keep(three, "c")
    assert memory.last([two]) is None
    assert memory.last([one, two]) == (0, "a")
