"""Calls with human speech through the whole worker: turns, words, replay and ends."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from voxbus.contracts.audio import FRAME_SAMPLES
from voxbus.contracts.stage import ErrorCode, ProviderChoice
from voxbus.contracts.stt import SpeechPaused, SpeechStarted, Transcript, TurnEnded, TurnEndReason, TurnTaking
from voxbus.runtime.streams import StageFailure
from voxbus.stt_worker.service import SttService
from voxbus.stt_worker.settings import Settings

pytestmark = [pytest.mark.unit, pytest.mark.asyncio(loop_scope="session")]

Clip = Callable[[str], NDArray[np.int16]]
Quiet = Callable[[int], NDArray[np.int16]]
PlaceCall = Callable[..., Awaitable[Any]]

BUSY = "all circuits are busy now"
MAILBOX = "to leave a message please enter a mailbox number"
EXTENSION = "please enter a new extension followed by pound"


def plain(text: str) -> str:
    """Small letters and spaces only."""
    return re.sub(r"[^a-z ]", "", text.lower()).strip()


@pytest.fixture
def two_turns(clip: Clip, quiet: Quiet) -> NDArray[np.int16]:
    """A quiet room, a sentence, 2.5 s of quiet, another sentence, 2.5 s of quiet."""
    return np.concatenate([quiet(700), clip("all-circuits-busy-now"), quiet(2500), clip("vm-whichbox"), quiet(2500)])


async def test_each_sentence_is_a_turn_with_its_words(place_call: PlaceCall, two_turns: NDArray[np.int16]) -> None:
    """Two sentences with a pause between them are two turns, each with its words, times, provider and model."""
    call = await place_call()
    await call.send(two_turns)
    await call.close()
    assert [plain(turn.text) for turn in call.turns] == [BUSY, MAILBOX]
    first = call.turns[0]
    assert 650 <= first.start_ms <= 900
    assert 2300 <= first.speech_end_ms <= 2600
    assert first.reason is TurnEndReason.COMPLETE
    assert first.probability > 0.5
    assert (first.provider, first.model) == ("local", "moonshine-base-en-int8")
    assert first.decide_ms > 0


async def test_messages_are_in_the_order_of_the_call(place_call: PlaceCall, two_turns: NDArray[np.int16]) -> None:
    """For each turn: started, paused, final words, ended; nothing of the next turn before the end of this one."""
    call = await place_call()
    await call.send(two_turns)
    await call.close()
    kinds = [type(message) for message in call.messages if not (isinstance(message, Transcript) and not message.final)]
    assert kinds == [SpeechStarted, SpeechPaused, Transcript, TurnEnded] * 2


async def test_interim_words_come_while_the_caller_speaks(place_call: PlaceCall, clip: Clip, quiet: Quiet) -> None:
    """After the first and after the second second of a sentence there are interim words, before its final ones."""
    call = await place_call()
    speech = np.concatenate([quiet(300), clip("vm-whichbox")])

    def interims() -> list[Transcript]:
        return [message for message in call.of(Transcript) if not message.final]

    await call.send(speech[: 1500 * 16])
    await call.until(lambda: len(interims()) == 1)
    await call.send(speech[1500 * 16 : 2500 * 16], start_ms=1500)
    await call.until(lambda: len(interims()) == 2)
    await call.send(speech[2500 * 16 :], start_ms=2500)
    await call.close()
    first, second = interims()[:2]
    assert first.end_ms < second.end_ms <= 2500
    assert first.start_ms == second.start_ms == call.finals[0].start_ms
    assert plain(second.text).startswith("to leave a message")
    assert [plain(turn.text) for turn in call.turns] == [MAILBOX]


@pytest.mark.parametrize("frames", [1, 7, 50])
async def test_the_pieces_that_audio_comes_in_don_t_matter(
    place_call: PlaceCall, two_turns: NDArray[np.int16], frames: int
) -> None:
    """Single frames and whole seconds a message, as fast as possible, give the same turns at the same times."""
    call = await place_call()
    whole = two_turns[: len(two_turns) // (FRAME_SAMPLES * 50) * FRAME_SAMPLES * 50]
    await call.send(whole, frames=frames)
    await call.close()
    assert [plain(turn.text) for turn in call.turns] == [BUSY, MAILBOX]
    assert [(turn.start_ms // 32, turn.reason) for turn in call.turns] == [
        (24, TurnEndReason.COMPLETE),
        (159, TurnEndReason.COMPLETE),
    ]


async def test_times_are_those_of_the_call(place_call: PlaceCall, clip: Clip, quiet: Quiet) -> None:
    """In a stream that begins a minute into the call all times are of the call."""
    audio = np.concatenate([quiet(700), clip("all-circuits-busy-now"), quiet(1500)])
    early, late = await place_call(call_id="early"), await place_call(call_id="late")
    await early.send(audio)
    await late.send(audio, start_ms=60_000)
    await early.close()
    await late.close()
    assert late.turns[0].start_ms == early.turns[0].start_ms + 60_000
    assert late.turns[0].speech_end_ms == early.turns[0].speech_end_ms + 60_000
    assert late.finals[0].start_ms == early.finals[0].start_ms + 60_000


async def test_lost_audio_does_not_shift_the_call(place_call: PlaceCall, clip: Clip, quiet: Quiet) -> None:
    """Two seconds that never came count as silence: they end the turn, and the next one has its true time."""
    call = await place_call()
    first = np.concatenate([quiet(700), clip("all-circuits-busy-now")])
    await call.send(first)
    gone_until_ms = len(first) // 16 + 2000
    await call.send(np.concatenate([clip("agent-newlocation"), quiet(1000)]), start_ms=gone_until_ms)
    await call.close()
    assert [plain(turn.text) for turn in call.turns] == [BUSY, EXTENSION]
    assert gone_until_ms <= call.turns[1].start_ms <= gone_until_ms + 200


async def test_a_turn_that_sounds_unfinished_goes_on_after_a_pause(
    place_call: PlaceCall, clip: Clip, quiet: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the turn model says no, a sentence with 0.7 s of silence in its middle is one turn with all its words."""
    monkeypatch.setattr("voxbus.stt_worker.smart_turn.SmartTurn.probability", lambda *_: 0.1)
    call = await place_call()
    sentence, cut = clip("vm-whichbox"), 1200 * 16
    await call.send(np.concatenate([quiet(500), sentence[:cut], quiet(700), sentence[cut:], quiet(2000)]))
    await call.close()
    assert [(plain(turn.text), turn.reason) for turn in call.turns] == [(MAILBOX, TurnEndReason.SILENCE)]
    assert len(call.of(SpeechStarted)) == len(call.of(SpeechPaused)) == 2


async def test_a_turn_is_finished_when_the_stream_is_closed(place_call: PlaceCall, clip: Clip, quiet: Quiet) -> None:
    """Closing in the middle of speech gives the words so far, as a closed turn, and then ends the stream."""
    call = await place_call()
    await call.send(np.concatenate([quiet(500), clip("vm-whichbox")[: 1200 * 16]]))
    await call.close()
    assert [(plain(turn.text), turn.reason) for turn in call.turns] == [("to leave a message", TurnEndReason.CLOSED)]


async def test_a_call_without_speech_has_no_turns(place_call: PlaceCall, quiet: Quiet) -> None:
    """A quiet room, and no audio at all, end with nothing said."""
    call, empty = await place_call(call_id="quiet"), await place_call(call_id="empty")
    await call.send(quiet(4000))
    await call.close()
    await empty.close()
    assert call.messages == empty.messages == []


async def test_a_takeover_in_mid_turn_loses_no_word(place_call: PlaceCall, two_turns: NDArray[np.int16]) -> None:
    """A second worker that gets the unacknowledged audio at once and the rest later ends the same turns.

    The first one dies in the second sentence; the owner knows how far it acknowledged.
    """
    first = await place_call(call_id="first")
    died_at = 6500 * 16 // FRAME_SAMPLES * FRAME_SAMPLES
    await first.send(two_turns[:died_at])
    await first.until(lambda: len(first.of(SpeechStarted)) == 2)
    await first.stream.heartbeat()
    assert first.stream.handler is not None
    await first.stream.handler.on_cancel()
    acknowledged_ms = first.acks[-1] * 20
    assert first.turns[0].speech_end_ms < acknowledged_ms < first.of(SpeechStarted)[1].at_ms - 300
    started_ms = first.of(SpeechStarted)[1].at_ms
    second = await place_call(call_id="second", attempt=2, turn_start_ms=started_ms)
    await second.send(two_turns[acknowledged_ms * 16 :], start_ms=acknowledged_ms)
    await second.close()
    assert [plain(turn.text) for turn in (*first.turns, *second.turns)] == [BUSY, MAILBOX]
    assert abs(second.turns[0].start_ms - started_ms) <= 64


async def test_a_takeover_right_after_final_words_repeats_none(
    place_call: PlaceCall, clip: Clip, quiet: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a worker dies having sent final words of a long turn and nothing after, every word is in the turn once."""
    monkeypatch.setattr("voxbus.stt_worker.smart_turn.SmartTurn.probability", lambda *_: 0.1)
    said = [clip(name) for name in ("all-circuits-busy-now", "vm-whichbox", "agent-newlocation", "vm-whichbox")]
    audio = np.concatenate([quiet(700), *(part for one in said for part in (one, quiet(300))), quiet(2000)])
    first = await place_call(call_id="first")
    await first.send(audio[: 12_000 * 16])
    await first.until(lambda: bool(first.finals))
    assert first.stream.handler is not None
    await first.stream.handler.on_cancel()
    acknowledged_ms = first.ack_with_final[0] * 20
    second = await place_call(
        call_id="second", attempt=2, turn_text=first.finals[0].text, turn_start_ms=first.of(SpeechStarted)[0].at_ms
    )
    await second.send(audio[acknowledged_ms * 16 :], start_ms=acknowledged_ms)
    await second.close()
    assert [plain(turn.text) for turn in second.turns] == [f"{BUSY} {MAILBOX} {EXTENSION} {MAILBOX}"]


async def test_words_from_before_a_takeover_begin_the_turn(place_call: PlaceCall, clip: Clip, quiet: Quiet) -> None:
    """With final words known already, the turn's text begins with them and its start is the old one."""
    call = await place_call(turn_text="Hello there.", turn_start_ms=2000)
    await call.send(np.concatenate([quiet(400), clip("all-circuits-busy-now"), quiet(2000)]), start_ms=5000)
    await call.close()
    (turn,) = call.turns
    assert plain(turn.text) == f"hello there {BUSY}"
    assert turn.start_ms == 2000
    assert [plain(final.text) for final in call.finals] == [BUSY]


async def test_a_turn_from_before_a_takeover_ends_though_nothing_is_heard(place_call: PlaceCall, quiet: Quiet) -> None:
    """When the owner was told that a turn started and the replay has no voice in it, an empty end of it comes."""
    call = await place_call(turn_start_ms=2000)
    await call.send(quiet(4000), start_ms=1500)
    await call.until(lambda: bool(call.turns))
    await call.close()
    assert [(turn.text, turn.start_ms, turn.reason) for turn in call.turns] == [("", 2000, TurnEndReason.SILENCE)]
    assert call.messages == call.turns


async def test_words_are_not_lost_when_no_audio_follows_a_takeover(place_call: PlaceCall) -> None:
    """A stream that is closed before any audio still ends the turn whose words it was told."""
    call = await place_call(turn_text="Hello there.", turn_start_ms=2000)
    await call.close()
    assert [(turn.text, turn.start_ms, turn.reason) for turn in call.turns] == [
        ("Hello there.", 2000, TurnEndReason.CLOSED)
    ]


async def test_a_fault_ends_the_stream(place_call: PlaceCall, quiet: Quiet, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of our own in hearing the call ends the stream as retryable: no call stays open and deaf."""

    def fail(*_: object) -> None:
        raise ArithmeticError("a fault")

    monkeypatch.setattr("voxbus.stt_worker.session.TurnMachine.hear", fail)
    call = await place_call()
    await call.send(quiet(200))
    async with asyncio.timeout(10):
        await call.ended.wait()
    assert (call.error.code, call.error.retryable) == (ErrorCode.INTERNAL, True)


async def test_all_but_the_margin_is_acknowledged_in_silence(place_call: PlaceCall, quiet: Quiet) -> None:
    """While no one speaks, what would have to be replayed stays half a second long."""
    call = await place_call()
    await call.send(quiet(10_000))
    await call.close()
    assert 9300 <= call.acks[-1] * 20 <= 9600


async def test_calls_do_not_mix(place_call: PlaceCall, clip: Clip, quiet: Quiet) -> None:
    """Calls at the same time, batched in one model, each have their own words."""
    said = {"all-circuits-busy-now": BUSY, "vm-whichbox": MAILBOX, "agent-newlocation": EXTENSION}
    calls = {name: await place_call(call_id=name) for name in said}

    async def speak(name: str) -> None:
        await calls[name].send(np.concatenate([quiet(400), clip(name), quiet(1500)]))
        await calls[name].close()

    await asyncio.gather(*(speak(name) for name in said))
    assert {name: [plain(turn.text) for turn in call.turns] for name, call in calls.items()} == {
        name: [text] for name, text in said.items()
    }


async def test_a_cancelled_stream_sends_nothing_more(place_call: PlaceCall, two_turns: NDArray[np.int16]) -> None:
    """After a cancel neither words nor errors follow, and audio that still comes is ignored."""
    call = await place_call()
    await call.send(two_turns[: 3000 * 16])
    assert call.stream.handler is not None
    await call.stream.handler.on_cancel()
    sent = len(call.messages)
    await call.send(two_turns[3000 * 16 :], start_ms=3000)
    other = await place_call(call_id="other")
    await other.send(two_turns[: 5000 * 16])
    await other.close()
    assert len(call.messages) == sent
    assert call.error is None
    assert [plain(turn.text) for turn in other.turns] == [BUSY]


async def test_a_huge_jump_ends_the_stream_with_a_clear_error(place_call: PlaceCall, quiet: Quiet) -> None:
    """Audio stamped hours ahead is the owner's mistake, said so."""
    call = await place_call()
    await call.send(quiet(100))
    with pytest.raises(StageFailure, match="jumps") as refused:
        await call.send(quiet(100), start_ms=10_000_000)
    assert refused.value.code is ErrorCode.BAD_REQUEST


async def test_a_failing_recogniser_fails_the_stream(
    place_call: PlaceCall, two_turns: NDArray[np.int16], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When decoding breaks, the stream ends with a retryable error, so that another worker takes over."""

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("voxbus.stt_worker.providers.local._transcribe", fail)
    call = await place_call()
    await call.send(two_turns)
    async with asyncio.timeout(10):
        await call.ended.wait()
    assert (call.error.code, call.error.retryable) == (ErrorCode.PROVIDER_FAILED, True)
    assert call.turns == []


async def test_a_worker_that_cannot_hear_gives_calls_up_and_takes_none(
    place_call: PlaceCall, service: SttService, quiet: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While voice activity detection fails, calls end as retryable and opens are refused; then calls are taken again."""

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("voxbus.stt_worker.vad.PROBE_EVERY_S", 0.01)
    with monkeypatch.context() as broken:
        broken.setattr("voxbus.stt_worker.vad.SileroVad.advance", fail)
        call = await place_call(call_id="lost")
        await call.send(quiet(4000))
        async with asyncio.timeout(10):
            await call.ended.wait()
        assert (call.error.code, call.error.retryable) == (ErrorCode.INTERNAL, True)
        with pytest.raises(StageFailure, match="voice activity") as refused:
            await place_call(call_id="refused")
        assert refused.value.retryable
    async with asyncio.timeout(10):
        while service._engines is not None and service._engines.vad.deaf:
            await asyncio.sleep(0.005)
    call = await place_call(call_id="heard")
    await call.send(quiet(1000))
    await call.close()
    assert call.error is None


async def test_a_failing_turn_model_costs_only_time(
    place_call: PlaceCall, clip: Clip, quiet: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the turn model's answers turns end at the silence ceiling."""

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("voxbus.stt_worker.smart_turn.SmartTurn.probability", fail)
    call = await place_call(turn_taking=TurnTaking(silence_ms=800))
    await call.send(np.concatenate([quiet(400), clip("all-circuits-busy-now"), quiet(1500)]))
    await call.close()
    assert [(plain(turn.text), turn.reason) for turn in call.turns] == [(BUSY, TurnEndReason.SILENCE)]


async def test_a_noise_is_a_turn_without_words(
    place_call: PlaceCall, quiet: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was taken for a voice but has no words ends as a turn with an empty text and no transcript."""
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 3000, 16 * 700).astype(np.int16)

    def hears_a_voice_in_noise(_: object, batch: list[tuple[Any, NDArray[np.int16]]]) -> list[list[float]]:
        return [[0.9 if window.std() > 1000 else 0.0 for window in windows] for _, windows in batch]

    monkeypatch.setattr("voxbus.stt_worker.vad.SileroVad.advance", hears_a_voice_in_noise)
    call = await place_call()
    await call.send(np.concatenate([quiet(400), noise, quiet(2000)]))
    await call.close()
    assert [turn.text for turn in call.turns] == [""]
    assert call.of(Transcript) == []


async def test_the_first_provider_that_opens_is_taken(place_call: PlaceCall) -> None:
    """Providers this worker does not know, or whose settings are wrong, are passed over."""
    call = await place_call(
        providers=(
            ProviderChoice(name="deepgram"),
            ProviderChoice(name="local", settings={"interim": "often"}),
            ProviderChoice(name="local", settings={"interim": False}),
        )
    )
    assert call.stream.provider == "local"
    await call.close()


async def test_an_unknown_provider_is_refused(place_call: PlaceCall) -> None:
    """With no provider that this worker knows, the open fails and says which there are."""
    with pytest.raises(StageFailure, match="only: local") as refused:
        await place_call(providers=(ProviderChoice(name="deepgram"),))
    assert refused.value.code is ErrorCode.UNKNOWN_PROVIDER


async def test_a_service_that_never_started_stops() -> None:
    """Stopping a worker whose start failed is no error."""
    service = SttService(Settings(stt_inference_threads=1))
    assert service.providers() == ("local",)
    await service.stop()
