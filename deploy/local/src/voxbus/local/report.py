"""The latency waterfall of a turn: what followed the end of the caller's words, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rich.text import Text

from voxbus.contracts import native
from voxbus.contracts.call import TurnKind, TurnTimings

BAR_WIDTH: Final = 48
_STEPS: Final = (
    ("turn_decided", "turn decided", "blue"),
    ("first_token", "first token", "magenta"),
    ("first_sentence", "first sentence", "magenta"),
    ("first_audio", "first audio", "cyan"),
    ("first_played", "first played", "green"),
)
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"


@dataclass(frozen=True)
class Step:
    """One bar: it begins where the step before it ended."""

    label: str
    style: str
    start_ms: float
    end_ms: float


def steps(timings: TurnTimings) -> list[Step]:
    """The steps that happened, in order."""
    found: list[Step] = []
    before = timings.speech_end
    for name, label, style in _STEPS:
        at: float | None = getattr(timings, name)
        if at is not None:
            found.append(Step(label, style, before, max(at, before)))
            before = max(at, before)
    return found


def shares(timings: TurnTimings) -> str:
    """What the engines took and what the platform added, as far as it is known."""
    engines = [("stt", timings.stt_ms), ("llm", timings.llm_ms), ("tts", timings.tts_ms)]
    parts = [f"{name} {value:.0f} ms" for name, value in engines if value is not None]
    text = f"engines: {', '.join(parts)}" if parts else ""
    platform_ms = timings.platform_ms
    if platform_ms is None:
        return text
    return f"{text}{'; ' if text else ''}platform: {platform_ms:.1f} ms"


def waterfall(turn: native.Turn, scale_ms: float) -> list[Text]:
    """A turn as lines of text; `scale_ms` is as long as the widest bar may be."""
    lines = [_title(turn)]
    for step in steps(turn.timings):
        line = Text(f"  {step.label:<15}")
        line.append(_bar(step, scale_ms), step.style)
        line.append(f" {step.end_ms:6.0f} ms", "bold").append(f"  (+{step.end_ms - step.start_ms:.0f})", "dim")
        lines.append(line)
    if shares(turn.timings):
        lines.append(Text(f"  {shares(turn.timings)}", "dim"))
    return lines


def scale_of(turns: list[native.Turn]) -> float:
    """One scale for all turns, in milliseconds, so that their bars can be compared."""
    ends = [step.end_ms for turn in turns for step in steps(turn.timings)]
    return max([*ends, 1.0])


def replies(turns: list[native.Turn]) -> list[native.Turn]:
    """The turns in which the agent answered the caller."""
    return [turn for turn in turns if turn.kind is TurnKind.REPLY]


def _title(turn: native.Turn) -> Text:
    what = f"“{turn.caller_text}”" if turn.caller_text else f"({turn.kind.value})"
    title = Text.assemble((f"turn {turn.turn} ", "bold"), what)
    return title.append(" interrupted", "yellow") if turn.interrupted else title


def _bar(step: Step, scale_ms: float) -> str:
    """A bar of fixed width, an eighth of a column exact at its right end; a step too short to see still shows a sliver."""
    start = step.start_ms / scale_ms * BAR_WIDTH
    end = max(step.end_ms / scale_ms * BAR_WIDTH, start + 0.125)
    first = min(int(start), BAR_WIDTH - 1)
    eighths = max(1, round((min(end, BAR_WIDTH) - first) * 8))
    bar = "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
    return (" " * first + bar).ljust(BAR_WIDTH)[:BAR_WIDTH]
