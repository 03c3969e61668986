"""Replays a conversation against a script and finds what the agent does next. No chance, no I/O; only patterns have a clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from pydantic import JsonValue

from voxbus.contracts.llm import ChatMessage, Role
from voxbus.llm_worker import regexes
from voxbus.llm_worker.script.extract import find
from voxbus.llm_worker.script.found import Found
from voxbus.llm_worker.script.memory import Memory, places
from voxbus.llm_worker.script.model import HEARD, Answer, AnySlot, Script, fill
from voxbus.llm_worker.script.phrases import MAX_CHARS, is_greeting, matches, without, yes_or_no


@dataclass(frozen=True, slots=True)
class Say:
    """Words of the agent."""

    text: str


@dataclass(frozen=True, slots=True)
class CallTool:
    """A tool call. If it fails, `failed` is said instead of what follows, and the call ends."""

    tool: str
    arguments: dict[str, JsonValue]
    failed: str


@dataclass(frozen=True, slots=True)
class EndCall:
    """The agent hangs up once it has spoken."""


Step = Say | CallTool | EndCall


@dataclass(frozen=True, slots=True)
class State:
    """Where the conversation is. `heard`: the caller's last words; `misses`: answers to the open question not understood."""

    values: dict[str, Found] = field(default_factory=dict)
    heard: str = ""
    confirmed: bool = False
    misses: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """One turn of the caller. `interrupted`: it cut the agent short."""

    text: str
    interrupted: bool = False


_outcomes: Final[Memory[tuple[State, tuple[Step, ...]]]] = Memory()


def turns(messages: Iterable[ChatMessage]) -> list[Heard]:
    """The caller's turns. What was said in several goes, without hearing a word of the agent in between, is one."""
    result: list[Heard] = []
    interrupted = answered = False
    for message in messages:
        if message.role is Role.ASSISTANT:
            interrupted = interrupted or message.interrupted
            answered = answered or bool(message.text.strip())
        elif message.role is Role.USER:
            if result and not answered:
                result[-1] = Heard(f"{result[-1].text} {message.text}".strip(), result[-1].interrupted)
            else:
                result.append(Heard(message.text, interrupted))
            interrupted = answered = False
    return result


def plan(script: Script, messages: Iterable[ChatMessage]) -> tuple[Step, ...]:
    """What the agent does after these messages; the first question, if the caller has not spoken yet."""
    engine = _Engine(script)
    state = State()
    steps: tuple[Step, ...] = (Say(engine.question(state)),)
    heard = turns(messages)
    keys = places(script.fingerprint, (f"{turn.interrupted}{turn.text}" for turn in heard))
    done = 0
    known = _outcomes.last(keys)
    if known is not None:
        position, (state, steps) = known
        done = position + 1
    with regexes.limited():
        for turn, key in zip(heard[done:], keys[done:], strict=True):
            state, steps = engine.step(state, replace(turn, text=turn.text[:MAX_CHARS]))
            _outcomes.keep(key, (state, steps))
    return steps


class _Engine:
    def __init__(self, script: Script) -> None:
        self._script = script

    def step(self, state: State, heard: Heard) -> tuple[State, tuple[Step, ...]]:
        """The new state, and the reply to one turn of the caller."""
        script = self._script
        state = replace(state, heard=heard.text.strip())
        answers = [answer for answer in script.answers if matches(answer.match, heard.text)]
        asides = [fill(answer.say, _spoken(state)) for answer in answers if not answer.end]
        farewell = next((answer for answer in answers if answer.end), None)
        rest = without([phrase for answer in answers for phrase in answer.match], heard.text) if answers else heard.text
        if not script.slots:
            return state, self._small_talk(state, asides, farewell)
        found, refused = self._find(state, rest)
        if found:
            return self._fill(state, found, asides)
        if refused is not None:
            return self._refuse(state, *refused)
        return self._no_news(state, heard, rest, asides, farewell)

    def question(self, state: State) -> str:
        """What the agent waits for."""
        slot = self._open_slot(state)
        script = self._script
        if slot is not None:
            return fill(slot.ask, _spoken(state))
        if script.confirm is not None and not state.confirmed:
            return fill(script.confirm.ask, _spoken(state))
        return fill(script.done.after, _spoken(state)) if script.done else ""

    def _open_slot(self, state: State) -> AnySlot | None:
        return next((slot for slot in self._script.slots if slot.name not in state.values), None)

    def _find(self, state: State, text: str) -> tuple[dict[str, Found], tuple[AnySlot, Found] | None]:
        """New values, and one that was understood but is not allowed."""
        open_slot = self._open_slot(state)
        found: dict[str, Found] = {}
        refused: tuple[AnySlot, Found] | None = None
        for slot in self._script.slots:
            value = find(slot, text, asked=slot is open_slot)
            if value is None or value == state.values.get(slot.name):
                continue
            if value.outside:
                refused = refused or (slot, value)
            else:
                found[slot.name] = value
        return found, refused

    def _fill(self, state: State, found: dict[str, Found], asides: list[str]) -> tuple[State, tuple[Step, ...]]:
        script = self._script
        corrected = any(name in state.values for name in found)
        was_complete = self._open_slot(state) is None
        state = State({**state.values, **found}, state.heard)
        spoken = _spoken(state)
        lines = list(asides)
        if corrected and was_complete and script.confirm is not None:
            lines.append(fill(script.confirm.corrected, spoken))
        else:
            lines += [fill(slot.accepted, spoken) for slot in script.slots if slot.name in found]
        if self._open_slot(state) is None and script.confirm is None:
            return self._finish(state, lines)
        return state, _say(*lines, self.question(state))

    def _no_news(
        self,
        state: State,
        heard: Heard,
        rest: str,
        asides: list[str],
        farewell: Answer | None,
    ) -> tuple[State, tuple[Step, ...]]:
        """Nothing new was understood: a yes or no, a question of the caller's, a goodbye, or nothing at all."""
        script = self._script
        confirming = script.confirm is not None and self._open_slot(state) is None and not state.confirmed
        if confirming:
            decided = self._decide(state, rest)
            if decided is not None:
                return decided
        if farewell is not None:
            return state, (*_say(*asides, fill(farewell.say, _spoken(state))), EndCall())
        question = self.question(state)
        if asides or heard.interrupted or is_greeting(heard.text) or matches(script.repeat, heard.text):
            return state, _say(*asides, question)
        return self._miss(state, fill(self._retry(state), _spoken(state)) or question)

    def _refuse(self, state: State, slot: AnySlot, value: Found) -> tuple[State, tuple[Step, ...]]:
        """The caller wants something that cannot be."""
        line = slot.outside or _nth(slot.retry, state.misses) or slot.ask
        return self._miss(state, fill(line, {**_spoken(state), slot.name: value.spoken}))

    def _decide(self, state: State, rest: str) -> tuple[State, tuple[Step, ...]] | None:
        """While everything is being confirmed: yes, no, or "the time is wrong"."""
        assert self._script.confirm is not None  # noqa: S101  # the caller looked
        answer = yes_or_no(rest)
        if answer:
            return self._finish(replace(state, confirmed=True, misses=0), [])
        wrong = next((slot for slot in self._script.slots if slot.words and matches(slot.words, rest)), None)
        if wrong is not None:
            state = State({name: value for name, value in state.values.items() if name != wrong.name}, state.heard)
            return state, _say(fill(wrong.ask, _spoken(state)))
        if answer is False:
            return self._miss(state, fill(self._script.confirm.change, _spoken(state)))
        return None

    def _finish(self, state: State, lines: list[str]) -> tuple[State, tuple[Step, ...]]:
        done = self._script.done
        assert done is not None  # noqa: S101  # a script with slots has it
        values = {name: found.value for name, found in state.values.items()}
        spoken = _spoken(state)
        calls = tuple(
            CallTool(
                call.tool,
                {key: fill(item, values) if isinstance(item, str) else item for key, item in call.arguments.items()},
                fill(done.failed, spoken),
            )
            for call in done.calls
        )
        end = (EndCall(),) if done.end else ()
        return replace(state, confirmed=True, misses=0), (*_say(*lines), *calls, *_say(fill(done.say, spoken)), *end)

    def _miss(self, state: State, line: str) -> tuple[State, tuple[Step, ...]]:
        state = replace(state, misses=state.misses + 1)
        give_up = self._script.give_up
        if state.misses >= give_up.after:
            return state, (*_say(fill(give_up.say, _spoken(state))), EndCall())
        return state, _say(line)

    def _retry(self, state: State) -> str:
        slot = self._open_slot(state)
        if slot is not None:
            return _nth(slot.retry, state.misses)
        confirm = self._script.confirm
        return _nth(confirm.retry, state.misses) if confirm is not None and not state.confirmed else ""

    def _small_talk(self, state: State, asides: list[str], farewell: Answer | None) -> tuple[Step, ...]:
        if asides:
            return _say(*asides)
        if farewell is not None:
            return (*_say(fill(farewell.say, _spoken(state))), EndCall())
        line = (self._script.otherwise or "") if state.heard else self._script.unheard
        return _say(fill(line, _spoken(state)))


def _say(*lines: str) -> tuple[Step, ...]:
    text = " ".join(line[0].upper() + line[1:] for line in lines if line)
    return (Say(text),) if text else ()


def _nth(lines: tuple[str, ...], index: int) -> str:
    return lines[min(index, len(lines) - 1)] if lines else ""


def _spoken(state: State) -> dict[str, str]:
    """What placeholders stand for."""
    return {**{name: found.spoken for name, found in state.values.items()}, HEARD: state.heard}
