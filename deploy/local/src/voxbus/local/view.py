"""The conversation on the terminal, while it is spoken."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from voxbus.contracts import native
from voxbus.local.client import ServerMessage
from voxbus.local.report import shares, steps

_INDENT = 17
_STYLES = {"caller": "cyan", "agent": "green"}


class ConversationView:
    """Prints each message of a call as it comes; words that are not final yet are shown on a terminal only."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        if self._live is not None:
            self._live.stop()

    def on_message(self, at_s: float, message: ServerMessage) -> None:
        """A `client.Listener`."""
        match message:
            case native.TranscriptMessage(final=False):
                if self._live is not None:
                    self._live.update(_words(at_s, message), refresh=True)
            case native.TranscriptMessage():
                self._print(_words(at_s, message))
            case native.Turn():
                self._print(_turn(message))
            case native.Clear():
                self._print(_line(at_s, "", "(the agent falls silent)", "dim"))
            case native.ErrorMessage():
                self._print(_line(at_s, "error", f"{message.message} ({message.code.value})", "bold red"))
            case native.Ended():
                detail = f": {message.detail}" if message.detail else ""
                self._print(_line(at_s, "ended", f"{message.reason.value}{detail}", "dim"))
            case _:
                pass

    def _print(self, line: Text) -> None:
        if self._live is not None:
            self._live.update(Text(), refresh=True)
        self._console.print(line, soft_wrap=True)


def _words(at_s: float, message: native.TranscriptMessage) -> Text:
    style = _STYLES[message.role] if message.final else f"{_STYLES[message.role]} dim"
    return _line(at_s, message.role, message.text, style)


def _line(at_s: float, who: str, text: str, style: str) -> Text:
    return Text.assemble((f"{at_s:7.2f}  ", "dim"), (f"{who:<7} ", f"bold {style}"), (text, style))


def _turn(turn: native.Turn) -> Text:
    parts = [f"{step.label} {step.end_ms:.0f}" for step in steps(turn.timings)]
    timings = f": {', '.join(parts)} ms" if parts else ""
    lines = [f"turn {turn.turn} {turn.kind.value}{' interrupted' if turn.interrupted else ''}{timings}"]
    if shares(turn.timings):
        lines.append(shares(turn.timings))
    return Text("\n".join(f"{'':{_INDENT}}{line}" for line in lines), "dim")
