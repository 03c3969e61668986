"""What the world is told of a call: events on the bus, turn messages to the client, metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from pydantic import JsonValue

from voxbus.contracts.agent import AgentConfig
from voxbus.contracts.base import Message
from voxbus.contracts.call import CallEnded, CallStarted, EndReason, StreamTakenOver, TurnCompleted, TurnKind
from voxbus.contracts.llm import Usage
from voxbus.contracts.native import Turn
from voxbus.contracts.stage import Stage
from voxbus.contracts.stt import TurnEnded
from voxbus.runtime.streams import OwnedStream, Takeover
from voxbus.voice_gateway import metrics
from voxbus.voice_gateway.edge.line import Line
from voxbus.voice_gateway.turn import TurnResult

Publish = Callable[..., Coroutine[Any, Any, None]]


class CallReport:
    """Collects and publishes the facts of one call. Publishing never holds up the call."""

    def __init__(
        self,
        call_id: str,
        agent: AgentConfig,
        gateway_id: str,
        line: Line,
        publish: Publish,
        traceparent: str,
    ) -> None:
        self.turns = 0
        self.detail = ""
        self.variables: dict[str, JsonValue] = {}
        self._call_id = call_id
        self._agent = agent
        self._gateway_id = gateway_id
        self._line = line
        self._publish = publish
        self._traceparent = traceparent
        self._started_at = datetime.now(UTC)
        self._takeovers = 0
        self._caller_text: list[str] = []
        self._caller_turn: TurnEnded | None = None
        self._caller_start_ms: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def started(self) -> None:
        """The call is up."""
        self._started_at = datetime.now(UTC)
        metrics.CALLS_LIVE.inc()
        metrics.CALLS_STARTED.labels(self._line.protocol).inc()
        self._send(
            CallStarted(
                call_id=self._call_id,
                agent_id=self._agent.id,
                agent_version=self._agent.version,
                gateway_id=self._gateway_id,
                protocol=self._line.protocol,
                sample_rate=self._line.sample_rate,
                started_at=self._started_at,
            )
        )

    def caller_said(self, text: str, turn: TurnEnded | None) -> None:
        """Words of the caller that the next turn answers."""
        self._caller_text.append(text)
        if turn is not None:
            self._caller_turn = turn
            if self._caller_start_ms is None:
                self._caller_start_ms = turn.start_ms

    def turn_completed(self, kind: TurnKind, result: TurnResult) -> None:
        """The caller heard the agent, wholly or in part (or should have)."""
        caller_text = " ".join(self._caller_text) if kind is TurnKind.REPLY else ""
        caller = self._caller_turn if kind is TurnKind.REPLY else None
        start_ms = self._caller_start_ms if kind is TurnKind.REPLY else None
        if kind is TurnKind.REPLY:
            self._caller_text, self._caller_turn, self._caller_start_ms = [], None, None
        providers = dict(result.providers)
        if caller is not None and caller.provider:
            providers[Stage.STT.value] = caller.provider
        number, self.turns = self.turns, self.turns + 1
        metrics.observe_turn(result.timings)
        self._line.send_message(
            Turn(
                turn=number,
                kind=kind,
                caller_text=caller_text,
                agent_text=result.heard,
                interrupted=result.interrupted,
                timings=result.timings,
            )
        )
        self._send(
            TurnCompleted(
                call_id=self._call_id,
                agent_id=self._agent.id,
                turn=number,
                kind=kind,
                caller_text=caller_text,
                caller_start_ms=start_ms,
                caller_end_ms=caller.speech_end_ms if caller else None,
                agent_text=result.heard,
                agent_generated=result.generated,
                interrupted=result.interrupted,
                tool_calls=tuple(called.call for called in result.tool_calls),
                timings=result.timings,
                usage=result.finished.usage if result.finished else Usage(),
                providers=providers,
            )
        )

    def stream_taken_over(self, stage: Stage, stream: OwnedStream, takeover: Takeover) -> None:
        """A stage went on with another worker."""
        self._takeovers += 1
        self._send(
            StreamTakenOver(
                call_id=self._call_id,
                stage=stage,
                stream_id=stream.stream_id,
                attempt=takeover.attempt,
                reason=takeover.reason,
                from_worker=takeover.from_worker,
                to_worker=takeover.to_worker,
                gap_ms=round(takeover.gap_s * 1000, 1),
            )
        )

    def ended(self, reason: EndReason, duration_s: float) -> None:
        """The call is over."""
        metrics.CALLS_LIVE.dec()
        metrics.CALLS_ENDED.labels(reason.value, reason.party.value).inc()
        metrics.CALL_SECONDS.observe(duration_s)
        self._send(
            CallEnded(
                call_id=self._call_id,
                agent_id=self._agent.id,
                agent_version=self._agent.version,
                gateway_id=self._gateway_id,
                reason=reason,
                party=reason.party,
                detail=self.detail,
                started_at=self._started_at,
                ended_at=datetime.now(UTC),
                duration_s=duration_s,
                turns=self.turns,
                takeovers=self._takeovers,
                variables=self.variables,
            )
        )

    async def flush(self) -> None:
        """Wait until all has been published."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _send(self, data: Message) -> None:
        # One after the other: an ended call must not overtake its last turn.
        before = tuple(self._tasks)
        task = asyncio.create_task(self._send_after(before, data))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_after(self, before: tuple[asyncio.Task[None], ...], data: Message) -> None:
        if before:
            await asyncio.wait(before)
        await self._publish(data, subject=self._call_id, traceparent=self._traceparent)
