"""The turn machine decides by audio alone: when a turn starts, pauses and ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxbus.contracts.stt import TurnEndReason
from voxbus.stt_worker.turns import (
    ASK_AGAIN_AT,
    COMPLETE_FROM,
    DIP_WINDOWS,
    PAUSE_MS,
    START_WINDOWS,
    Ask,
    Decision,
    Ended,
    Paused,
    Started,
    TurnMachine,
)
from voxbus.stt_worker.vad import WINDOW_MS

pytestmark = pytest.mark.unit

VOICE, SILENCE = 0.9, 0.01
SILENCE_MS = 1500


def hear(machine: TurnMachine, probability: float, windows: int) -> list[Decision]:
    return [decision for _ in range(windows) for decision in machine.hear(probability)]


def speak(machine: TurnMachine, windows: int = 20) -> list[Decision]:
    return hear(machine, VOICE, windows)


def pause(machine: TurnMachine) -> Ask:
    """Be silent until the turn model is asked."""
    *_, ask = hear(machine, SILENCE, PAUSE_MS // WINDOW_MS)
    assert isinstance(ask, Ask)
    return ask


def test_speech_starts_where_the_voice_began_once_it_lasts() -> None:
    """The start is reported after 96 ms of voice, with the time of the first of them."""
    machine = TurnMachine(1000, SILENCE_MS)
    hear(machine, SILENCE, 10)
    assert hear(machine, VOICE, START_WINDOWS - 1) == []
    assert machine.hear(VOICE) == [Started(1000 + 10 * WINDOW_MS, resumed=False)]


def test_a_click_is_no_speech() -> None:
    """Two windows of voice between silences start nothing, however often they come."""
    machine = TurnMachine(0, SILENCE_MS)
    for _ in range(50):
        assert speak(machine, START_WINDOWS - 1) + hear(machine, SILENCE, DIP_WINDOWS) == []
    assert not machine.in_turn


def test_a_short_dip_is_no_pause() -> None:
    """Speech goes on through silences shorter than the pause."""
    machine = TurnMachine(0, SILENCE_MS)
    speak(machine)
    assert hear(machine, SILENCE, PAUSE_MS // WINDOW_MS - 1) + speak(machine, 1) == []
    assert machine.speaking


def test_an_uncertain_window_keeps_the_voice() -> None:
    """Between the two thresholds a voice goes on and none begins."""
    machine = TurnMachine(0, SILENCE_MS)
    assert hear(machine, 0.4, 50) == []
    speak(machine)
    assert hear(machine, 0.4, 50) == []


def test_a_pause_asks_the_turn_model() -> None:
    """At the pause the end of the voice is reported and the model is asked about the audio so far."""
    machine = TurnMachine(0, SILENCE_MS)
    speak(machine, 20)
    voice_end = 20 * WINDOW_MS
    assert hear(machine, SILENCE, PAUSE_MS // WINDOW_MS) == [Paused(voice_end), Ask(1, voice_end + PAUSE_MS)]


def test_a_complete_turn_ends_at_once() -> None:
    """A yes of the model ends the turn with its times and the model's probability."""
    machine = TurnMachine(0, SILENCE_MS)
    speak(machine, 20)
    ask = pause(machine)
    assert machine.answer(ask.question, 0.8) == [Ended(0, 20 * WINDOW_MS, TurnEndReason.COMPLETE, 0.8)]
    assert not machine.in_turn


def test_an_incomplete_turn_is_asked_about_again_and_ends_at_the_ceiling() -> None:
    """After a no the model is asked once more late in the pause, and the silence ceiling ends the turn."""
    machine = TurnMachine(0, SILENCE_MS)
    speak(machine)
    ask = pause(machine)
    machine.answer(ask.question, 0.1)
    asked_after = [PAUSE_MS]
    ended: list[Ended] = []
    while not ended:
        for decision in machine.hear(SILENCE):
            if isinstance(decision, Ask):
                asked_after.append(decision.until_ms - 20 * WINDOW_MS)
                machine.answer(decision.question, 0.2)
            elif isinstance(decision, Ended):
                ended.append(decision)
    assert len(asked_after) == 2
    assert 0 <= asked_after[1] - SILENCE_MS * ASK_AGAIN_AT < WINDOW_MS
    assert ended[0].reason is TurnEndReason.SILENCE
    assert 0 <= machine.now_ms - ended[0].speech_end_ms - SILENCE_MS < WINDOW_MS


def test_the_ceiling_does_not_wait_for_the_model() -> None:
    """A model that never answers ends no turn late."""
    machine = TurnMachine(0, 300)
    speak(machine)
    pause(machine)
    decisions = hear(machine, SILENCE, 6)
    assert [decision.reason for decision in decisions if isinstance(decision, Ended)] == [TurnEndReason.SILENCE]


def test_a_question_that_is_given_up_leaves_the_turn_to_the_ceiling() -> None:
    """When no answer will come the model is not asked again in this pause; in the next one it is."""
    machine = TurnMachine(0, SILENCE_MS)
    speak(machine, 20)
    assert machine.answer(pause(machine).question, None) == []
    assert machine.unanswered_ms == 0
    speak(machine, 20)
    ask = pause(machine)
    assert machine.answer(ask.question, None) == []
    (ended,) = hear(machine, SILENCE, SILENCE_MS // WINDOW_MS)
    assert isinstance(ended, Ended)
    assert (ended.reason, ended.probability) == (TurnEndReason.SILENCE, None)


def test_a_ceiling_below_the_pause_still_holds() -> None:
    """The shortest allowed ceiling (200 ms) ends the turn at the pause or one window later."""
    machine = TurnMachine(0, 200)
    speak(machine)
    decisions = hear(machine, SILENCE, 7)
    assert isinstance(decisions[-1], Ended)


def test_resumed_speech_makes_the_answer_void() -> None:
    """A yes that comes after the caller went on does not end the turn."""
    machine = TurnMachine(0, SILENCE_MS)
    speak(machine)
    ask = pause(machine)
    resumed = speak(machine, START_WINDOWS)
    assert resumed == [Started(20 * WINDOW_MS + PAUSE_MS, resumed=True)]
    assert machine.answer(ask.question, 0.99) == []
    assert machine.speaking


def test_a_yes_waits_for_a_voice_that_may_be_beginning() -> None:
    """A yes during the first windows of a voice ends the turn only when it was no voice."""
    machine = TurnMachine(0, SILENCE_MS)
    speak(machine)
    ask = pause(machine)
    speak(machine, 1)
    assert machine.answer(ask.question, 0.9) == []
    (ended,) = hear(machine, SILENCE, DIP_WINDOWS)
    assert isinstance(ended, Ended)
    assert ended.reason is TurnEndReason.COMPLETE


def test_closing_ends_a_running_turn_only() -> None:
    """Closing in a turn ends it as closed; closing outside of one does nothing."""
    machine = TurnMachine(0, SILENCE_MS)
    assert machine.close() == []
    speak(machine, 20)
    assert machine.close() == [Ended(0, 20 * WINDOW_MS, TurnEndReason.CLOSED, None)]


def test_a_turn_goes_on_after_a_takeover() -> None:
    """Speech resumes the turn that began before, which keeps its start."""
    machine = TurnMachine(5000, SILENCE_MS, turn_start_ms=2000)
    assert machine.in_turn
    assert speak(machine, START_WINDOWS) == [Started(5000, resumed=True)]
    ended = machine.close()[0]
    assert isinstance(ended, Ended)
    assert ended.start_ms == 2000


def test_a_turn_ends_by_silence_after_a_takeover() -> None:
    """With nothing more to hear the ceiling ends the turn; the model is not asked about mere silence."""
    machine = TurnMachine(5000, SILENCE_MS, turn_start_ms=2000)
    (ended,) = hear(machine, SILENCE, SILENCE_MS // WINDOW_MS + 1)
    assert ended == Ended(2000, 5000, TurnEndReason.SILENCE, None)


def test_the_silence_before_a_replayed_turn_does_not_count() -> None:
    """A replay begins before the turn does: the ceiling counts from the turn's start, and its end is not before that."""
    machine = TurnMachine(1500, SILENCE_MS, turn_start_ms=2000)
    decisions = hear(machine, SILENCE, (500 + SILENCE_MS) // WINDOW_MS)
    assert decisions == []
    assert machine.hear(SILENCE) == [Ended(2000, 2000, TurnEndReason.SILENCE, None)]


def test_only_the_turn_from_before_a_takeover_keeps_its_start() -> None:
    """The replayed voice is met again as that of the turn that the owner knows; the next turn is a new one."""
    machine = TurnMachine(1500, SILENCE_MS, turn_start_ms=1600)
    hear(machine, SILENCE, 5)
    speak(machine, 20)
    first = machine.close()[0]
    assert isinstance(first, Ended)
    assert first.start_ms == 1600
    hear(machine, SILENCE, 5)
    speak(machine, 20)
    second = machine.close()[0]
    assert isinstance(second, Ended)
    assert second.start_ms > 1600


WINDOWS = st.lists(st.tuples(st.floats(0, 1), st.one_of(st.none(), st.floats(0, 1))), max_size=300)


@given(windows=WINDOWS, silence_ms=st.integers(200, 3000), start_ms=st.integers(0, 10**7))
def test_any_audio_gives_a_sensible_order(
    windows: list[tuple[float, float | None]], silence_ms: int, start_ms: int
) -> None:
    """Whatever is heard and answered: starts and pauses alternate, each turn has one end, times never go back."""
    machine = TurnMachine(start_ms, silence_ms)
    decisions: list[Decision] = []
    question: int | None = None
    for probability, answer in windows:
        decisions += machine.hear(probability)
        if decisions and isinstance(decisions[-1], Ask):
            question = decisions[-1].question
        if answer is not None and question is not None:
            decisions += machine.answer(question, answer)
            question = None
        assert machine.unanswered_ms <= silence_ms + PAUSE_MS
        assert start_ms <= machine.needed_from_ms <= machine.now_ms
    decisions += machine.close()
    state, last_ms = "idle", start_ms
    for decision in decisions:
        if isinstance(decision, Started):
            assert state == ("paused" if decision.resumed else "idle")
            assert decision.at_ms >= last_ms
            state, last_ms = "speaking", decision.at_ms
        elif isinstance(decision, Paused):
            assert state == "speaking"
            assert decision.at_ms > last_ms
            state, last_ms = "paused", decision.at_ms
        elif isinstance(decision, Ask):
            assert state == "paused"
        else:
            assert state in {"paused", "speaking"}
            assert decision.reason is TurnEndReason.CLOSED or state == "paused"
            assert decision.start_ms < decision.speech_end_ms
            if decision.reason is TurnEndReason.COMPLETE:
                assert decision.probability is not None
                assert decision.probability >= COMPLETE_FROM
            state, last_ms = "idle", decision.speech_end_ms
    assert state == "idle"


@given(silence_ms=st.integers(200, 10_000))
def test_silence_always_ends_a_turn_at_its_ceiling(silence_ms: int) -> None:
    """For every ceiling the turn ends within one window of it, or of the shortest pause."""
    machine = TurnMachine(0, silence_ms)
    speak(machine)
    heard_ms = 0
    while machine.in_turn:
        machine.hear(SILENCE)
        heard_ms += WINDOW_MS
    assert silence_ms <= heard_ms < silence_ms + WINDOW_MS
