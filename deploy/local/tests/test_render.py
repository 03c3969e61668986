"""What people read: log lines, the waterfall, the conversation."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from voxbus.contracts import native
from voxbus.contracts.call import EndReason, TurnKind, TurnTimings
from voxbus.local.logs import LogFollower, LogRenderer, parse
from voxbus.local.report import BAR_WIDTH, replies, scale_of, shares, steps, waterfall
from voxbus.local.view import ConversationView

pytestmark = pytest.mark.unit
TIMINGS = TurnTimings(
    turn_decided=600, first_token=620, first_sentence=650, first_audio=700, first_played=705,
    stt_ms=590, llm_ms=15, tts_ms=45,
)  # fmt: skip


def turn(timings: TurnTimings = TIMINGS, **more: object) -> native.Turn:
    fields: dict[str, object] = {
        "turn": 1,
        "kind": "reply",
        "caller_text": "hello",
        "agent_text": "hi",
        "interrupted": False,
    }
    return native.Turn.model_validate({**fields, "timings": timings, **more})


def test_a_json_line_becomes_time_process_level_message_and_fields() -> None:
    """Fields follow the message, those that are null are left out, and values with spaces are quoted."""
    line = json.dumps(
        {"timestamp": "2026-01-02T03:04:05.678Z", "level": "warning", "service": "stt-worker", "message": "slow", "call_id": None,
         "reason": "no room", "wait_ms": 12}
    )  # fmt: skip
    text = LogRenderer(("nats", "stt-worker")).render("stt-worker", line).plain
    assert text.endswith('.678 stt-worker WARNING slow reason="no room" wait_ms=12')


def test_an_exception_is_shown_indented_below() -> None:
    """A traceback in a JSON line is readable."""
    line = json.dumps({"level": "error", "message": "failed", "exception": "Traceback:\n  ValueError"})
    assert LogRenderer(("a",)).render("a", line).plain.endswith("ERROR   failed\n    Traceback:\n      ValueError")


def test_lines_of_nats_are_understood() -> None:
    """The server's own format gives level, time and message."""
    parsed = parse("[123] 2026/01/02 03:04:05.678901 [WRN] disk is slow")
    assert (parsed.level, parsed.message) == ("warning", "disk is slow")
    assert parsed.time is not None
    assert parsed.time.microsecond == 678_901


@pytest.mark.parametrize("line", ["plain words", "{broken", "", "[1] not a nats line", '{"a": [red]}'])
def test_other_lines_pass_unchanged(line: str) -> None:
    """What is in no known format is shown as it is, markup included."""
    assert LogRenderer(("a",)).render("a", line).plain.endswith(f"a {line}")


def test_a_growing_file_is_followed_by_whole_lines(tmp_path: Path) -> None:
    """A line is given once, when it is complete; a file that begins anew is read from its start."""
    file = tmp_path / "log"
    follower = LogFollower(file)
    assert follower.lines() == []
    file.write_text("one\ntw")
    assert follower.lines() == ["one"]
    with file.open("a") as more:
        more.write("o\nthree\n")
    assert follower.lines() == ["two", "three"]
    file.write_text("new\n")
    assert follower.lines() == ["new"]


def test_steps_follow_each_other() -> None:
    """Each step begins where the one before ended; steps that never happened are left out."""
    assert [(step.label, step.start_ms, step.end_ms) for step in steps(TIMINGS)] == [
        ("turn decided", 0, 600),
        ("first token", 600, 620),
        ("first sentence", 620, 650),
        ("first audio", 650, 700),
        ("first played", 700, 705),
    ]
    assert [step.label for step in steps(TurnTimings(first_audio=10))] == ["first audio"]


def test_a_waterfall_shows_every_step_with_its_time() -> None:
    """One line a step: a bar at its place, when it ended, what it took; then who took how much."""
    lines = [line.plain for line in waterfall(turn(), 705)]
    assert lines[0] == "turn 1 “hello”"
    decided, played = lines[1], lines[5]
    assert decided.startswith("  turn decided   ████")
    assert decided.endswith("   600 ms  (+600)")
    assert played.endswith("   705 ms  (+5)")
    bars = [line[17 : 17 + BAR_WIDTH] for line in lines[1:6]]
    starts = [len(bar) - len(bar.lstrip()) for bar in bars]
    assert starts == sorted(starts)
    assert all(len(bar) == BAR_WIDTH and bar.strip() for bar in bars)
    assert lines[6] == "  engines: stt 590 ms, llm 15 ms, tts 45 ms; platform: 15.0 ms"


def test_shares_show_what_is_known() -> None:
    """Nothing is invented for a turn that was cut short."""
    assert shares(TurnTimings()) == ""
    assert shares(TurnTimings(stt_ms=5)) == "engines: stt 5 ms"


def test_the_scale_is_shared_by_all_turns() -> None:
    """Bars of different turns can be compared; without any turn there is still a scale."""
    assert scale_of([turn(), turn(TurnTimings(turn_decided=2000))]) == 2000
    assert scale_of([]) == 1.0
    assert replies([turn(kind="greeting"), turn()]) == [turn()]


def show(*messages: object, terminal: bool = False) -> str:
    out = StringIO()
    console = Console(file=out, force_terminal=terminal, width=200, color_system=None)
    with ConversationView(console) as view:
        for number, message in enumerate(messages):
            view.on_message(float(number), message)  # type: ignore[arg-type]
    return out.getvalue()


def words(text: str, *, final: bool) -> native.TranscriptMessage:
    return native.TranscriptMessage(role="caller", text=text, final=final, turn=1)


def test_the_conversation_is_printed_in_order() -> None:
    """Words, turns with their timings, errors and the end, one line each."""
    agent = native.TranscriptMessage(role="agent", text="hi [there]", final=True, turn=1)
    fault = native.ErrorMessage(code=native.NativeErrorCode.INVALID_AUDIO, message="odd")
    ended = native.Ended(reason=EndReason.AGENT_ENDED, duration_s=3)
    shown = show(words("hello", final=True), agent, turn(kind=TurnKind.REPLY), fault, native.Clear(), ended)
    lines = [line.strip() for line in shown.splitlines()]
    assert lines[0] == "0.00  caller  hello"
    assert lines[1] == "1.00  agent   hi [there]"
    assert lines[2].startswith("turn 1 reply: turn decided 600, first token 620")
    assert lines[3].startswith("engines: stt 590 ms")
    assert lines[4] == "3.00  error   odd (invalid_audio)"
    assert lines[5] == "4.00          (the agent falls silent)"
    assert lines[6] == "5.00  ended   agent_ended"


def test_words_that_are_not_final_are_for_terminals() -> None:
    """A file gets each word once, a terminal sees the words grow."""
    messages = (words("hel", final=False), words("hello", final=True))
    assert "hel\n" not in show(*messages)
    assert "hel" in show(words("hel", final=False), terminal=True)
