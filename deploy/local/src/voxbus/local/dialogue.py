"""A scripted caller: says its lines, each when it is the caller's turn, or into the agent's words when told to barge in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voxbus.contracts import native
from voxbus.contracts.call import TurnKind
from voxbus.local.client import CallClient, Said


@dataclass(frozen=True)
class ScriptLine:
    """Something to say."""

    name: str
    pcm: bytes
    """PCM16 mono at the call's rate."""
    barge_in_ms: int | None = None
    """Say it this long after the agent's audio started, instead of waiting for the caller's turn."""


@dataclass(frozen=True)
class Pace:
    """How patient the caller is, in seconds."""

    pause_s: float = 0.4
    """Between the end of the agent's words and the caller's."""
    greeting_s: float = 5.0
    """How long to wait for the agent to speak first."""
    reply_s: float = 20.0
    """How long to wait for the beginning of a reply."""
    settled_s: float = 3.0
    """An agent that fell silent for this long without telling that its turn is over has finished all the same."""
    goodbye_s: float = 2.0
    """After the last reply: how long the agent has to end the call before the caller does."""


@dataclass(frozen=True)
class Exchange:
    """A line and whether the agent answered."""

    name: str
    said: Said
    answered: bool
    response_s: float | None
    """From the end of the caller's voice to the first audio of the answer, as the caller heard it."""


async def converse(client: CallClient, lines: Sequence[ScriptLine], pace: Pace = Pace()) -> list[Exchange]:
    """Hold the conversation and hang up. A line the call did not live to hear is not in the result."""
    exchanges: list[Exchange] = []
    heard_after_s = 0.0
    for line in lines:
        if line.barge_in_ms is None:
            if not exchanges:
                await wait_greeting(client, pace)
            await _pause(client, pace.pause_s)
        else:
            await _wait_barge_in(client, heard_after_s, line.barge_in_ms, pace.reply_s)
        if not client.live:
            break
        said = await client.say(line.pcm)
        heard_after_s = said.voice_end_s
        interrupted_next = _next_barges_in(lines, len(exchanges))
        answered = await wait_reply(client, said, pace, whole=not interrupted_next)
        start_s = reply_start_s(client, said)
        response_s = start_s - said.voice_end_s if start_s is not None else None
        exchanges.append(Exchange(line.name, said, answered, response_s))
    await client.until(lambda: client.ended is not None, timeout_s=pace.goodbye_s)
    await client.hang_up()
    return exchanges


async def wait_greeting(client: CallClient, pace: Pace = Pace()) -> bool:
    """Wait until the agent has greeted; False when it does not speak first."""
    if not await client.until(lambda: client.agent_spoke, timeout_s=pace.greeting_s):
        return False
    return await client.until(lambda: _finished(client, client.playout.segments[0].start_s, TurnKind.GREETING, pace))


async def wait_reply(client: CallClient, said: Said, pace: Pace = Pace(), *, whole: bool = True) -> bool:
    """Wait for the answer to `said`, with `whole` until it has been heard to its end; False when none comes."""
    if not await client.until(lambda: reply_start_s(client, said) is not None, timeout_s=pace.reply_s):
        return False
    start_s = reply_start_s(client, said)
    if whole and start_s is not None:
        await client.until(lambda: _finished(client, start_s, TurnKind.REPLY, pace))
    return True


def reply_start_s(client: CallClient, said: Said) -> float | None:
    """When the caller began to hear the answer to `said`."""
    starts = (segment.start_s for segment in client.playout.segments if segment.start_s >= said.voice_end_s)
    return next(starts, None)


def _finished(client: CallClient, since_s: float, kind: TurnKind, pace: Pace) -> bool:
    """Whether the turn of the agent that began to be heard at `since_s` is over and heard."""
    if client.agent_speaking:
        return False
    told = [
        timed.message.kind
        for timed in client.messages
        if isinstance(timed.message, native.Turn) and timed.at_s >= since_s
    ]
    return kind in told or (not told and client.now_s - client.playout.ends_s > pace.settled_s)


def _next_barges_in(lines: Sequence[ScriptLine], index: int) -> bool:
    return index + 1 < len(lines) and lines[index + 1].barge_in_ms is not None


async def _pause(client: CallClient, pause_s: float) -> None:
    until_s = client.now_s + pause_s
    await client.until(lambda: client.now_s >= until_s)


async def _wait_barge_in(client: CallClient, after_s: float, barge_in_ms: int, timeout_s: float) -> None:
    """Wait until the agent has been heard for `barge_in_ms` in audio that began after `after_s`."""

    def due() -> bool:
        starts = [segment.start_s for segment in client.playout.segments if segment.start_s >= after_s]
        return bool(starts) and client.now_s >= starts[0] + barge_in_ms / 1000

    await client.until(due, timeout_s=timeout_s + barge_in_ms / 1000)
