"""A call on the real bus with stages under the test's control."""

from __future__ import annotations

import asyncio

import pytest
from call_stand import FRAME, Stand
from fake_line import FakeLine, until
from fake_stages import FakeEar, FakeMouth

from voxbus.contracts.audio import FRAME_BYTES
from voxbus.contracts.call import CallEnded, CallStarted, EndReason, Party, StreamTakenOver, TurnCompleted, TurnKind
from voxbus.contracts.llm import Role, ToolKind
from voxbus.contracts.native import NativeErrorCode
from voxbus.contracts.stage import ErrorCode
from voxbus.runtime.streams import StageFailure
from voxbus.voice_gateway.edge.line import CallRefused, CallRequest

pytestmark = pytest.mark.integration


async def test_a_greeting_is_spoken_and_reported(stand: Stand) -> None:
    """An agent with a greeting speaks first, and the turn has no caller."""
    _, line = await stand.call(greeting="Hello, how can I help?")
    await until(lambda: line.turns)
    turn = line.turns[0]
    assert (turn.kind, turn.agent_text, turn.caller_text) == (TurnKind.GREETING, "Hello, how can I help?", "")
    assert turn.timings.first_played is not None
    assert turn.timings.turn_decided is None
    assert line.audio_ms == stand.mouth.frames_of("Hello, how can I help?") * 20
    assert line.transcripts("agent") == ["Hello, how can I help?"]
    assert stand.events.of(CallStarted)[0].agent_id == "tester"


async def test_a_turn_is_answered_with_all_its_timings(stand: Stand) -> None:
    """The caller's words reach the model, its sentences the caller, and every step is timed, in order."""
    _, line = await stand.call(system_prompt="Be brief.")
    stand.mind.replies.append(["It is three.", "Anything else?"])
    await stand.heard.says("what time is it")
    await until(lambda: line.turns)
    request = stand.mind.requests[0]
    assert request.system_prompt == "Be brief."
    assert [(message.role, message.text) for message in request.messages] == [(Role.USER, "what time is it")]
    turn = line.turns[0]
    assert (turn.caller_text, turn.agent_text) == ("what time is it", "It is three. Anything else?")
    steps = turn.timings
    order = [steps.turn_decided, steps.first_token, steps.first_sentence, steps.first_audio, steps.first_played]
    assert None not in order
    assert order == sorted(order)  # type: ignore[type-var]
    completed = stand.events.of(TurnCompleted)[0]
    assert completed.providers == {"stt": "fake", "llm": "scripted", "tts": "local"}
    assert completed.usage.output_tokens == 2


async def test_the_conversation_is_told_to_the_model(stand: Stand) -> None:
    """The second request holds the first exchange."""
    _, line = await stand.call()
    await stand.heard.says("one")
    await until(lambda: len(line.turns) == 1)
    await stand.heard.says("two")
    await until(lambda: len(line.turns) == 2)
    said = [(message.role, message.text) for message in stand.mind.requests[1].messages]
    assert said == [(Role.USER, "one"), (Role.ASSISTANT, "Yes."), (Role.USER, "two")]


async def test_audio_reaches_the_ear_in_order_with_its_time(stand: Stand) -> None:
    """Frame n arrives with timestamp n * 20 ms and its own bytes."""
    call, _ = await stand.call()
    for number in range(100):
        call.on_audio(number.to_bytes(2, "little") * (FRAME_BYTES // 2))
    await until(lambda: len(stand.heard.frames) >= 100)
    for number, (timestamp_us, pcm) in enumerate(stand.heard.frames[:100]):
        assert timestamp_us == number * 20_000
        assert pcm[:2] == number.to_bytes(2, "little")


async def test_a_client_that_sends_nothing_is_heard_as_silence(stand: Stand) -> None:
    """The caller's timeline goes on when frames stop coming, so that turns can end."""
    call, _ = await stand.call()
    call.on_audio(FRAME)
    await until(lambda: stand.heard.heard_ms >= 500)
    stamps = [timestamp_us for timestamp_us, _ in stand.heard.frames]
    assert stamps == [number * 20_000 for number in range(len(stamps))]


async def test_play_out_keeps_the_pace_of_real_time(stand: Stand) -> None:
    """A long answer arrives over its real duration, ahead by the lead at most, not in one burst."""
    _, line = await stand.call()
    stand.mouth.ms_per_word = 1000
    stand.mind.replies.append(["one"])
    await stand.heard.says("go")
    await until(lambda: line.turns)
    start = line.audio[0][0]
    sent = 0.0
    for moment, pcm in line.audio:
        sent += len(pcm) / 32_000
        assert sent <= moment - start + 0.1 + 0.021 + 0.02  # lead, a frame, a tick
    assert line.audio[-1][0] - start > 0.8


async def test_barge_in_silences_the_agent_at_once_and_keeps_what_was_heard(stand: Stand) -> None:
    """When the caller speaks, audio stops, the client is told to clear, and the conversation keeps only the words heard."""
    _, line = await stand.call()
    stand.mouth.ms_per_word = 200
    stand.mind.replies.append(["one two three four five six seven eight nine ten", "never heard"])
    await stand.heard.says("count")
    await until(lambda: line.audio_ms > 900)
    await stand.heard.starts()
    await until(lambda: line.clears)
    await until(lambda: line.turns)
    turn = line.turns[0]
    assert turn.interrupted
    assert all(moment <= line.clears[0] for moment, _ in line.audio)
    assert turn.agent_text.startswith("one two three")
    assert "eight" not in turn.agent_text
    await stand.heard.ends("stop")
    await until(lambda: len(line.turns) == 2)
    heard = stand.mind.requests[1].messages[1]
    assert (heard.text, heard.interrupted) == (turn.agent_text, True)
    assert stand.events.of(TurnCompleted)[0].agent_generated.endswith("never heard")


async def test_an_agent_that_may_not_be_interrupted_finishes_and_answers_then(stand: Stand) -> None:
    """With `interruptible` off the caller's words wait for the end of the agent's turn."""
    _, line = await stand.call(turn_taking={"interruptible": False})
    stand.mouth.ms_per_word = 100
    stand.mind.replies.append(["one two three four five"])
    await stand.heard.says("first")
    await until(lambda: line.audio_ms > 150)
    await stand.heard.says("second")
    await until(lambda: len(line.turns) == 2)
    assert not line.clears
    assert not line.turns[0].interrupted
    assert line.turns[1].caller_text == "second"


async def test_a_few_words_do_not_interrupt_when_more_are_asked_for(stand: Stand) -> None:
    """With `min_words_to_interrupt` a sound of agreement passes, and enough words stop the agent."""
    _, line = await stand.call(turn_taking={"min_words_to_interrupt": 3})
    stand.mouth.ms_per_word = 200
    stand.mind.replies.append(["one two three four five six seven eight nine ten"])
    await stand.heard.says("go")
    await until(lambda: line.audio_ms > 200)
    await stand.heard.says("uh huh")
    await until(lambda: line.audio_ms > 500)
    assert not line.clears
    await stand.heard.starts()
    await stand.heard.hears("no wait please")
    await until(lambda: line.clears)


async def test_words_that_follow_before_the_answer_continue_the_turn(stand: Stand) -> None:
    """A caller who goes on while the agent still thinks is answered once, to all of it."""
    _, line = await stand.call()
    stand.mind.gate.clear()
    await stand.heard.says("I would like")
    await until(lambda: stand.mind.requests)
    await stand.heard.starts()
    await until(lambda: stand.mind.handlers[0].cancelled)
    stand.mind.gate.set()
    await stand.heard.ends("an appointment")
    await until(lambda: line.turns)
    assert [message.text for message in stand.mind.requests[-1].messages] == ["I would like an appointment"]
    assert line.turns[0].caller_text == "I would like an appointment"
    assert not line.clears


async def test_a_noise_does_not_cost_the_answer(stand: Stand) -> None:
    """When what interrupted the agent was no speech, the agent takes up the rest."""
    _, line = await stand.call()
    stand.mouth.ms_per_word = 100
    stand.mind.replies.append(["one two three four five six seven eight nine ten"])
    await stand.heard.says("count")
    await until(lambda: line.audio_ms > 500)
    await stand.heard.says("")
    await until(lambda: len(line.turns) == 2)
    assert line.turns[0].interrupted
    said = f"{line.turns[0].agent_text} {line.turns[1].agent_text}"
    assert said == "one two three four five six seven eight nine ten"
    assert len(stand.mind.requests) == 1


async def test_a_noise_while_thinking_does_not_cost_the_answer(stand: Stand) -> None:
    """The turn that the noise withdrew is asked again."""
    _, line = await stand.call()
    stand.mind.gate.clear()
    await stand.heard.says("hello")
    await until(lambda: stand.mind.requests)
    await stand.heard.starts()
    stand.mind.gate.set()
    await stand.heard.ends("")
    await until(lambda: line.turns)
    assert line.turns[0].agent_text == "Yes."


async def test_a_silent_caller_is_asked_once_and_then_let_go(stand: Stand) -> None:
    """After the silence limit the agent asks; after another it says goodbye and ends the call."""
    call, line = await stand.call(limits={"silence_s": 1}, phrases={"still_there": "Hello?", "goodbye_silence": "Bye."})
    while line.ended is None:
        call.on_audio(FRAME)
        await asyncio.sleep(0.02)
    assert [turn.agent_text for turn in line.turns] == ["Hello?", "Bye."]
    assert line.ended.reason is EndReason.CALLER_SILENT
    await until(lambda: stand.events.of(CallEnded))
    assert stand.events.of(CallEnded)[0].party is Party.CALLER


async def test_a_call_ends_at_its_time_limit_with_a_goodbye(stand: Stand) -> None:
    """The limit of the agent is kept, politely."""
    call, line = await stand.call(phrases={"goodbye_duration": "Time is up."})
    call._started -= 1800
    await until(lambda: line.ended)
    assert line.ended is not None
    assert line.ended.reason is EndReason.MAX_DURATION
    assert line.turns[-1].agent_text == "Time is up."


async def test_the_agent_can_end_the_call_after_its_last_words(stand: Stand) -> None:
    """The end_call tool takes effect when the goodbye has been heard."""
    _, line = await stand.call()
    stand.mind.replies.append(["Goodbye then.", ToolKind.END_CALL])
    await stand.heard.says("bye")
    await until(lambda: line.ended)
    assert line.ended is not None
    assert line.ended.reason is EndReason.AGENT_ENDED
    assert line.turns[0].agent_text == "Goodbye then."


async def test_a_mind_that_dies_after_a_tool_call_does_not_call_it_again(stand: Stand) -> None:
    """The next language worker is told what was said and done in this turn, so nothing is booked twice."""
    _, line = await stand.call()
    trouble = StageFailure(ErrorCode.INTERNAL, "gone", retryable=True)
    stand.mind.replies.append([ToolKind.RECORD, "Noted.", trouble])
    stand.mind.replies.append(["Noted.", "Goodbye."])
    await stand.heard.says("Tuesday")
    await until(lambda: line.turns)
    again = stand.mind.requests[1]
    assert again.spoken == ("Noted.",)
    assert [message.role for message in again.turn] == [Role.ASSISTANT, Role.TOOL]
    assert again.turn[0].tool_calls[0].arguments == {"day": "Tuesday"}
    assert line.turns[0].agent_text == "Noted. Goodbye."
    assert len(stand.events.of(TurnCompleted)[0].tool_calls) == 1


async def test_what_tools_record_is_in_the_report(stand: Stand) -> None:
    """Arguments of record tools become variables of the call."""
    call, line = await stand.call()
    stand.mind.replies.append([ToolKind.RECORD, "Noted."])
    await stand.heard.says("Tuesday")
    await until(lambda: line.turns)
    call.on_hangup()
    await until(lambda: stand.events.of(CallEnded))
    ended = stand.events.of(CallEnded)[0]
    assert ended.variables == {"day": "Tuesday"}
    assert ended.reason is EndReason.CALLER_HANGUP
    assert ended.turns == 1


async def test_a_key_is_answered_like_a_word(stand: Stand) -> None:
    """DTMF reaches the model."""
    call, line = await stand.call()
    call.on_dtmf("5")
    await until(lambda: line.turns)
    assert stand.mind.requests[0].messages[0].text == "5"


async def test_a_hangup_frees_every_stream(stand: Stand) -> None:
    """After the end no worker holds anything of the call."""
    call, line = await stand.call()
    stand.mouth.ms_per_word = 1000
    stand.mind.replies.append(["one two three"])
    await stand.heard.says("go")
    await until(lambda: line.audio)
    call.on_disconnected()
    await until(lambda: all(worker.active == 0 for worker in stand.workers.values()))
    await until(lambda: line.ended)
    assert line.ended is not None
    assert line.ended.reason is EndReason.CALLER_DISCONNECTED
    assert stand.calls.live == 0


async def test_a_model_that_fails_is_apologised_for(stand: Stand) -> None:
    """When the language stage fails for good, the agent says so, and the end says whose fault it was."""
    _, line = await stand.call(phrases={"unavailable": "Sorry, please call again."})
    stand.mind.replies.append([StageFailure(ErrorCode.PROVIDER_REJECTED, "wrong key", retryable=False)])
    await stand.heard.says("hello")
    await until(lambda: line.ended)
    assert line.ended is not None
    assert line.ended.reason is EndReason.PROVIDER_FAILED
    assert line.turns[-1].agent_text == "Sorry, please call again."
    await until(lambda: stand.events.of(CallEnded))
    assert stand.events.of(CallEnded)[0].party is Party.PROVIDER


async def test_a_voice_that_fails_ends_the_call(stand: Stand) -> None:
    """Without a voice there is no apology, but a clean end with the reason."""
    _, line = await stand.call()
    stand.mind.replies.append(["unspeakable"])
    await stand.heard.says("hello")
    await until(lambda: line.ended)
    assert line.ended is not None
    assert line.ended.reason is EndReason.PROVIDER_FAILED
    assert line.ended.detail == "tts: provider_rejected"


async def test_a_missing_stage_ends_the_call_as_the_platforms_fault(stand: Stand) -> None:
    """No language worker within the deadline: apology, and `stage_unavailable`."""
    _, line = await stand.call()
    await stand.workers["llm"].drain(0.1)
    await stand.heard.says("hello")
    await until(lambda: line.ended)
    assert line.ended is not None
    assert line.ended.reason is EndReason.STAGE_UNAVAILABLE


async def test_an_unknown_agent_is_refused(stand: Stand) -> None:
    """The refusal names the agent."""
    with pytest.raises(CallRefused) as refused:
        await stand.calls.create(CallRequest("nobody", "fake", 16_000, "user", "127.0.0.1"), FakeLine())
    assert refused.value.code is NativeErrorCode.UNKNOWN_AGENT
    assert "nobody" in refused.value.message


async def test_an_agent_that_cannot_be_looked_up(stand: Stand) -> None:
    """Nobody knows whether there is such an agent: the client is told to try again, and the call takes no room."""
    stand.agents.away = True
    with pytest.raises(CallRefused) as refused:
        await stand.call()
    assert refused.value.code is NativeErrorCode.OVERLOADED
    assert "try again" in refused.value.message
    assert stand.calls.live == 0


async def test_calls_beyond_the_limit_are_refused_at_once(stand: Stand) -> None:
    """The fourth of three calls is refused as overloaded; one that ends makes room."""
    calls = [(await stand.call())[0] for _ in range(3)]
    with pytest.raises(CallRefused) as refused:
        await stand.call()
    assert refused.value.code is NativeErrorCode.OVERLOADED
    calls[0].on_hangup()
    await stand.call()


async def test_without_an_ear_there_is_no_call(stand: Stand) -> None:
    """No speech-to-text worker: refused within the set-up time, and nothing is left behind."""
    await stand.workers["stt"].drain(0.1)
    with pytest.raises(CallRefused) as refused:
        await stand.call()
    assert refused.value.code is NativeErrorCode.OVERLOADED
    assert stand.calls.live == 0


async def test_two_calls_do_not_mix(stand: Stand) -> None:
    """Each caller's words and answers stay in their call."""
    one, line_one = await stand.call()
    ear_one = stand.heard
    two, line_two = await stand.call()
    ear_two = stand.heard
    one.on_audio(b"\x01\x00" * (FRAME_BYTES // 2))
    two.on_audio(b"\x02\x00" * (FRAME_BYTES // 2))
    await until(lambda: ear_one.frames and ear_two.frames)
    assert ear_one.frames[0][1][:1] == b"\x01"
    assert ear_two.frames[0][1][:1] == b"\x02"
    await asyncio.gather(ear_one.says("from one"), ear_two.says("from two"))
    await until(lambda: line_one.turns and line_two.turns)
    assert line_one.turns[0].caller_text == "from one"
    assert line_two.turns[0].caller_text == "from two"


async def test_a_voice_worker_that_dies_is_replaced_and_nothing_is_said_twice(stand: Stand) -> None:
    """The rest of an answer comes from another worker, without a repeat or a hole."""
    _, line = await stand.call()
    stand.mouth.ms_per_word = 400
    first = stand.workers["tts"]
    reached = asyncio.Event()
    real = first._live.publish
    count = 0

    async def dies(subject: str, payload: bytes) -> None:
        nonlocal count
        count += 1
        if count > 15:
            reached.set()
            return
        await real(subject, payload)

    first._live.publish = dies  # type: ignore[method-assign]
    stand.mind.replies.append(["one two three"])
    await stand.heard.says("count")
    await reached.wait()
    first._live.publish = real  # type: ignore[method-assign]
    await first._live._client.close()
    await stand.add_worker(FakeMouth(400))
    await until(lambda: line.turns)
    assert line.turns[0].agent_text == "one two three"
    assert line.audio_ms == 1200
    await until(lambda: stand.events.of(StreamTakenOver))


async def test_an_ear_worker_that_dies_is_replaced_and_hears_everything(stand: Stand) -> None:
    """What was not acknowledged is replayed to the next worker, with its times."""
    call, line = await stand.call()
    for _ in range(50):
        call.on_audio(FRAME)
    await until(lambda: len(stand.heard.frames) >= 50)
    stand.heard.stream.ack(20)
    await stand.heard.starts()
    await until(lambda: call._ear.speaking)
    ear = FakeEar()
    await stand.workers["stt"]._live._client.close()
    await stand.add_worker(ear)
    await until(lambda: ear.handlers and len(ear.handlers[0].frames) >= 30)
    assert ear.handlers[0].frames[0][0] == 20 * 20_000
    await ear.handlers[0].ends("hello")
    await until(lambda: line.turns)
    assert line.turns[0].caller_text == "hello"
