"""What becomes of an utterance when a provider refuses, fails or stays silent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from fake_speech import FakeProvider, Listener, choice, refused
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from voxbus.contracts.frame import Kind
from voxbus.contracts.stage import ErrorCode
from voxbus.runtime.streams import StageFailure

pytestmark = pytest.mark.unit
Open = Callable[..., Awaitable[Listener]]
BOTH = (choice("fake"), choice("spare"))


async def test_an_unheard_sentence_moves_to_the_fallback(
    open_fake: Open, fake: FakeProvider, spare: FakeProvider
) -> None:
    """When nothing of a sentence was sent, the next provider speaks it and all that follow; the first is closed."""
    listener = await open_fake(*BOTH)
    fake.fail_after = 0
    await listener.speak("one", "two")
    assert spare.said == ["one", "two"]
    assert [done.index for done in listener.done] == [0, 1]
    assert [event.type for event in listener.events].count("sentence_started") == 2
    assert fake.utterances[0].closed


async def test_a_half_heard_sentence_fails_the_stream(open_fake: Open, fake: FakeProvider, spare: FakeProvider) -> None:
    """Audio that left cannot be taken back: the stream fails, retryable, and the fallback is not asked."""
    listener = await open_fake(*BOTH)
    fake.fail_after = 2
    await listener.say("a sentence")
    await listener.ended()
    assert listener.error is not None
    assert (listener.error.code, listener.error.retryable) == (ErrorCode.PROVIDER_FAILED, True)
    assert spare.said == []
    assert listener.frames[-1].ack == 0, "the sentence must be replayed elsewhere"


async def test_metrics_count_the_provider_that_spoke(open_fake: Open, fake: FakeProvider, spare: FakeProvider) -> None:
    """After a fallback, sentences, audio and first audio are the fallback's; the one that failed has a failure and no audio."""
    before = spoken("fake"), spoken("spare")
    listener = await open_fake(*BOTH)
    fake.fail_after = 0
    await listener.speak("one", "three")
    after = spoken("fake"), spoken("spare")
    assert after[0] == before[0]
    assert after[1] == pytest.approx([value + more for value, more in zip(before[1], (2, 8 * 0.02, 1), strict=True)])


async def test_audio_before_a_failure_is_counted(open_fake: Open, fake: FakeProvider) -> None:
    """The audio of a half-heard sentence was sent, and counts for the provider that made it."""
    before = spoken("fake")[1]
    listener = await open_fake()
    fake.fail_after = 2
    await listener.say("a sentence")
    await listener.ended()
    assert spoken("fake")[1] - before == pytest.approx(len(listener.pcm) / 32_000)
    assert listener.pcm


def spoken(provider: str) -> list[float]:
    """What the metrics say of a provider: sentences spoken, seconds of audio, utterances begun."""
    samples = (
        ("voxbus_tts_sentences_total", {"outcome": "ok"}),
        ("voxbus_tts_audio_seconds_total", {}),
        ("voxbus_tts_first_audio_seconds_count", {}),
    )
    return [REGISTRY.get_sample_value(name, {"provider": provider, **labels}) or 0.0 for name, labels in samples]


async def test_the_last_provider_fails(open_fake: Open, fake: FakeProvider) -> None:
    """Without a fallback the stream fails with a typed error, and the provider's utterance is closed."""
    listener = await open_fake()
    fake.fail_after = 0
    await listener.say("one")
    await listener.ended()
    assert listener.error is not None
    assert listener.error.code is ErrorCode.PROVIDER_FAILED
    await listener.handler._task
    assert fake.utterances[0].closed


async def test_a_fallback_that_cannot_open_is_skipped(open_fake: Open, fake: FakeProvider, spare: FakeProvider) -> None:
    """If the fallback refuses as well, the error is the one of the provider that was speaking."""
    listener = await open_fake(*BOTH)
    fake.fail_after, spare.refusal = 0, ConnectionError("down")
    await listener.say("one")
    await listener.ended()
    assert listener.error is not None
    assert "provider fake" in listener.error.message


async def test_a_silent_provider_times_out(open_fake: Open, fake: FakeProvider, spare: FakeProvider) -> None:
    """A provider that gives no audio within the time limit has failed: the fallback speaks."""
    listener = await open_fake(*BOTH)
    fake.gate.clear()
    await listener.speak("one")
    assert spare.said == ["one"]
    assert fake.utterances[0].abandoned == 1


async def test_a_timeout_without_fallback_says_so(open_fake: Open, fake: FakeProvider) -> None:
    """The error of a silent provider is a timeout and retryable."""
    listener = await open_fake()
    fake.gate.clear()
    await listener.say("one")
    await listener.ended()
    assert listener.error is not None
    assert (listener.error.code, listener.error.retryable) == (ErrorCode.TIMEOUT, True)


async def test_cancel_closes_the_provider_and_abandons_its_work(open_fake: Open, fake: FakeProvider) -> None:
    """A barge-in ends the running synthesis, closes the utterance, and speaks none of the waiting sentences."""
    listener = await open_fake()
    fake.gate.clear()
    await listener.say("one", "two")
    while not fake.said:
        await listener.handler.on_message(0, b'{"index": 0, "text": "again"}')
        await _turn()
    listener.stream.end("cancelled")
    await listener.handler.on_cancel()
    assert fake.said == ["one"]
    assert fake.utterances[0].abandoned == 1
    assert fake.utterances[0].closed
    assert listener.frames == []


async def _turn() -> None:
    """Let other tasks run once."""
    import asyncio

    await asyncio.sleep(0)


async def test_an_utterance_that_gets_no_words_is_cancelled(open_fake: Open, fake: FakeProvider) -> None:
    """Cancelling an utterance that waits for words frees the provider as well, even before its task ran."""
    listener = await open_fake()
    await listener.handler.on_cancel()
    assert fake.utterances[0].closed


@pytest.mark.parametrize("body", [b"", b"{}", b'{"index": -1, "text": "x"}', b'{"index": 0}', b"\xff"])
async def test_what_is_no_sentence_is_refused(open_fake: Open, body: bytes) -> None:
    """Malformed input raises a failure that says what a sentence is."""
    listener = await open_fake()
    with pytest.raises(StageFailure, match="an index") as caught:
        await listener.handler.on_message(0, body)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    await listener.handler.on_cancel()


async def test_open_takes_the_first_provider_that_can(open_fake: Open, fake: FakeProvider) -> None:
    """Unknown and refusing providers are passed over, and the reply names the one that speaks."""
    fake.refusal = refused()
    listener = await open_fake(choice("nobody"), choice("fake"), choice("spare"))
    assert listener.stream.provider == "spare"
    await listener.handler.on_cancel()


async def test_open_fails_with_the_first_providers_reason(open_fake: Open, fake: FakeProvider) -> None:
    """When no provider can, the agent's own choice says why."""
    fake.refusal = refused()
    with pytest.raises(StageFailure, match="no such voice"):
        await open_fake(choice("fake"), choice("nobody"))


async def test_open_fails_with_a_reason_that_may_pass(open_fake: Open, fake: FakeProvider, spare: FakeProvider) -> None:
    """A fallback that is down for now makes the open worth repeating, though the agent's own choice never will do."""
    fake.refusal, spare.refusal = refused(), ConnectionError("down")
    with pytest.raises(StageFailure, match="provider spare") as caught:
        await open_fake(*BOTH)
    assert caught.value.retryable


async def test_an_unknown_provider_names_the_known_ones(open_fake: Open) -> None:
    """The refusal lists what this worker has."""
    with pytest.raises(StageFailure, match="only: fake, spare") as caught:
        await open_fake(choice("nobody"))
    assert caught.value.code is ErrorCode.UNKNOWN_PROVIDER


async def test_failures_are_logged_without_the_words(open_fake: Open, fake: FakeProvider) -> None:
    """The log of a failure holds neither the sentence nor the provider's message, which may quote it."""
    fake.fail_after, fake.error = 0, RuntimeError("cannot say SECRET WORDS")
    with capture_logs() as logs:
        listener = await open_fake()
        await listener.say("SECRET WORDS")
        await listener.ended()
    told = [entry for entry in logs if entry["log_level"] != "debug"]
    assert any(entry.get("error") == "RuntimeError" for entry in told)
    assert "SECRET" not in str(told)
    assert "SECRET" not in str([frame.body for frame in listener.frames if frame.kind is Kind.ERROR])
