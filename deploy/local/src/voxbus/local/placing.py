"""A whole call, from connecting to the saved recording, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from rich.console import Console

from voxbus.contracts import native
from voxbus.local.client import AudioDevice, CallClient
from voxbus.local.dialogue import Exchange, ScriptLine, converse
from voxbus.local.errors import UsageError
from voxbus.local.view import ConversationView
from voxbus.local.wav import read_wav, write_stereo_wav


@dataclass(frozen=True)
class CallTarget:
    """Whom to call, and as whom."""

    url: str
    token: str
    agent_id: str
    sample_rate: int


class CallResult(BaseModel):
    """What came of a call."""

    model_config = ConfigDict(frozen=True)

    session_id: str
    agent_id: str
    agent_name: str
    duration_s: float
    interrupted: bool
    """The person at the terminal ended it with Ctrl-C."""
    exchanges: tuple[Exchange, ...]
    lines: int
    """How many lines there were to say."""
    agent_audio_s: float
    turns: tuple[native.Turn, ...]
    errors: tuple[native.ErrorMessage, ...]
    ended: native.Ended | None
    recording: Path | None

    @property
    def problem(self) -> str | None:
        """Why this was no conversation; None when it was one."""
        if self.ended is None:
            return "the gateway dropped the call"
        if self.agent_audio_s == 0:
            return "the agent was never heard"
        if len(self.exchanges) < self.lines:
            return f"the call ended after {len(self.exchanges)} of {self.lines} lines ({self.ended.reason.value})"
        unanswered = [exchange.name for exchange in self.exchanges if not exchange.answered]
        return f"no answer to {', '.join(unanswered)}" if unanswered else None


def load_lines(files: Sequence[Path], barge_ins: dict[int, int], sample_rate: int) -> list[ScriptLine]:
    """The files as lines to say; `barge_ins` maps a file's number, from 1, to milliseconds. Raises CommandError."""
    unknown = [number for number in barge_ins if not 1 <= number <= len(files)]
    if unknown:
        raise UsageError(f"--barge-in {unknown[0]}: there is no such file", f"files are numbered 1 to {len(files)}")
    return [
        ScriptLine(file.name, read_wav(file, sample_rate), barge_ins.get(number))
        for number, file in enumerate(files, start=1)
    ]


async def place_call(
    target: CallTarget,
    lines: Sequence[ScriptLine],
    *,
    console: Console | None,
    save: Path | None,
    until_stopped: Callable[[Awaitable[list[Exchange]]], Awaitable[list[Exchange] | None]],
    device: AudioDevice | None = None,
) -> CallResult:
    """Call, say the lines (with a `device`: let a person talk until the call ends), hang up, save.

    `until_stopped` runs the conversation and returns None when a signal cut it short. Raises GatewayUnreachableError and
    CallRefusedError.
    """
    if console is None:
        return await _place(target, lines, None, save, until_stopped, device)
    with ConversationView(console) as view:
        return await _place(target, lines, view, save, until_stopped, device)


async def _place(
    target: CallTarget,
    lines: Sequence[ScriptLine],
    view: ConversationView | None,
    save: Path | None,
    until_stopped: Callable[[Awaitable[list[Exchange]]], Awaitable[list[Exchange] | None]],
    device: AudioDevice | None,
) -> CallResult:
    client = CallClient(
        target.url, token=target.token, agent_id=target.agent_id, sample_rate=target.sample_rate,
        listener=view.on_message if view else None, device=device,
    )  # fmt: skip
    async with client:
        exchanges = await until_stopped(_talk(client) if device is not None else converse(client, lines))
        await client.hang_up()
    if save is not None:
        write_stereo_wav(save, client.caller_track, client.agent_track, target.sample_rate)
    return _result(client, exchanges, len(lines), save)


async def _talk(client: CallClient) -> list[Exchange]:
    await client.until(lambda: False)  # until the call is over
    return []


def _result(client: CallClient, exchanges: list[Exchange] | None, lines: int, save: Path | None) -> CallResult:
    assert client.ready is not None  # noqa: S101
    return CallResult(
        session_id=client.ready.session_id,
        agent_id=client.ready.agent_id,
        agent_name=client.ready.agent_name,
        duration_s=round(client.now_s, 3),
        interrupted=exchanges is None,
        exchanges=tuple(exchanges or ()),
        lines=lines,
        agent_audio_s=round(client.playout.heard_s, 3),
        turns=tuple(client.turns),
        errors=tuple(client.errors),
        ended=client.ended,
        recording=save.absolute() if save else None,
    )
