"""The agent's turns in a call: one after the other, each from the decision to speak until it was heard or cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from voxbus.contracts.call import TurnKind
from voxbus.contracts.llm import ToolKind
from voxbus.contracts.stt import TurnEnded
from voxbus.voice_gateway.conversation import Conversation
from voxbus.voice_gateway.metrics import BARGE_INS, TURNS
from voxbus.voice_gateway.report import CallReport
from voxbus.voice_gateway.timings import TurnClock
from voxbus.voice_gateway.turn import AgentTurn, TurnContext, TurnResult

Run = Callable[[AgentTurn], Awaitable[TurnResult]]


_CLOSE_S = 2.0


@dataclass(frozen=True)
class CallerWords:
    """What the caller said, or keyed, for the agent to answer."""

    text: str
    clock: TurnClock
    turn: TurnEnded | None
    """The turn of speech it was; None for keys."""


class Dialogue:
    """Runs turns as tasks and keeps the conversation.

    `done` is called when a turn is over, heard or not; `broken` when one failed in a way that is ours.
    """

    def __init__(
        self,
        context: TurnContext,
        report: CallReport,
        *,
        done: Callable[[TurnResult], None],
        broken: Callable[[], None],
        log: Any,
    ) -> None:
        self._context = context
        self._report = report
        self._done = done
        self._broken = broken
        self._log = log
        self.ends_call = False
        """Whether the agent has asked for the end of the call and the caller has said nothing since."""
        self._conversation = Conversation()
        self._turn: AgentTurn | None = None
        self._live: set[AgentTurn] = set()  # the running one, and those that wait for it
        self._task: asyncio.Task[None] | None = None
        self._interrupted: TurnResult | None = None
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def turn(self) -> AgentTurn | None:
        """The agent's turn now; None while it only listens."""
        return self._turn

    def answer(self, words: CallerWords) -> None:
        """Let the model answer the caller."""
        self._interrupted = None

        async def run(agent_turn: AgentTurn) -> TurnResult:
            # Now, not before: until its turn came, another was still the caller's latest.
            self.ends_call = False
            self._conversation.caller_said(words.text)
            self._report.caller_said(words.text, words.turn)
            return await agent_turn.reply(self._conversation.messages)

        self._begin(AgentTurn(self._context, TurnKind.REPLY, words.clock), run)

    def speak(self, kind: TurnKind, text: str) -> None:
        """Say a given text."""
        self._begin(AgentTurn(self._context, kind, TurnClock.unprompted()), lambda turn: turn.say(text))

    def barge_in(self) -> None:
        """The caller cuts in."""
        turn = self._turn
        if turn is not None and turn.audible and not turn.interrupted:
            BARGE_INS.inc()
            self._log.info("barge-in")
        self.fall_silent()

    def fall_silent(self) -> None:
        """Stop speaking, or thinking, at once."""
        for turn in tuple(self._live):
            turn.interrupt()

    def check(self, now: float) -> None:
        """Let a turn that has come to a standstill fail (called by the clock)."""
        for turn in self._live:
            turn.check(now)

    def go_on(self) -> None:
        """What cut the agent off was a noise and no words: take up the rest."""
        if self._turn is None or self._turn.interrupted:
            self._spawn(self._take_up(self._task))

    async def close(self) -> None:
        """End all turns, within two seconds, and start no other."""
        self._closed = True
        self.fall_silent()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_CLOSE_S)
            for task in late:
                self._log.error("turn did not end")
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _begin(self, turn: AgentTurn, run: Run) -> None:
        before, self._turn = self._task, turn
        self._live.add(turn)
        self._task = self._spawn(self._run(turn, run, before))

    async def _run(self, turn: AgentTurn, run: Run, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        if self._closed:
            return
        try:
            result = await run(turn)
        except Exception:
            self._log.exception("turn failed")
            self._broken()
            return
        finally:
            self._live.discard(turn)
        if self._turn is turn:
            self._turn = None
        self._record(turn, result)
        self._done(result)

    async def _take_up(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        interrupted, self._interrupted = self._interrupted, None
        if interrupted is None or self._turn is not None or self._closed:
            return
        unfinished, rest = interrupted.unfinished, interrupted.rest
        if unfinished is not None:
            self._begin(self._next_reply(), lambda turn: turn.resume(unfinished, rest))
        elif rest:
            self.speak(interrupted.kind, rest)
        elif self._conversation.unanswered:
            self._begin(self._next_reply(), lambda turn: turn.reply(self._conversation.messages))
        else:
            self._done(replace(interrupted, interrupted=False))  # all of it had been heard

    def _next_reply(self) -> AgentTurn:
        return AgentTurn(self._context, TurnKind.REPLY, TurnClock.unprompted())

    def _record(self, turn: AgentTurn, result: TurnResult) -> None:
        self._conversation.agent_said(result.heard, interrupted=result.interrupted, tool_calls=result.tool_calls)
        for called in result.tool_calls:
            if called.ok and called.kind is ToolKind.RECORD:
                self._report.variables.update(called.call.arguments)
            elif called.ok and called.kind is ToolKind.END_CALL:
                self.ends_call = True
        TURNS.labels(turn.kind.value, _outcome(result)).inc()
        if result.interrupted and self._turn is None:  # else the caller has said something newer
            self._interrupted = result
        if result.heard or not result.interrupted:
            self._report.turn_completed(turn.kind, result)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _outcome(result: TurnResult) -> str:
    if result.failure is not None:
        return "failed"
    if result.interrupted:
        return "interrupted" if result.heard else "withdrawn"
    return "completed"
