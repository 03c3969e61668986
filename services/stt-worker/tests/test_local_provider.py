"""The provider `local` gives all the words of a turn, once each, whatever the pauses and however long it is."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import JsonValue

from voxbus.contracts.audio import FRAME_BYTES, FRAME_MS
from voxbus.contracts.stage import ErrorCode
from voxbus.runtime.streams import StageFailure
from voxbus.stt_worker.moonshine import Moonshine, Recognition
from voxbus.stt_worker.pool import InferencePool, ShouldStop
from voxbus.stt_worker.providers.base import Words
from voxbus.stt_worker.providers.local import (
    CUT_AT_DIP_FROM_MS,
    CUT_AT_PAUSE_FROM_MS,
    INTERIM_EVERY_MS,
    PRE_ROLL_MS,
    TRAIL_MS,
    LocalProvider,
    LocalSession,
    LocalSettings,
    parse_settings,
)

pytestmark = pytest.mark.unit


class FakeMoonshine:
    """Answers with how many milliseconds it was given; may fail."""

    def __init__(self) -> None:
        self.fails = False
        self.calls = 0

    def transcribe(self, samples: NDArray[np.float32], should_stop: ShouldStop) -> Recognition:
        self.calls += 1
        if self.fails:
            raise RuntimeError("out of memory")
        return Recognition(f"{len(samples) // 16}ms", 0.9)


class Listener:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.interims: list[Words] = []
        self.finals: list[Words] = []
        self.failures: list[StageFailure] = []
        self.changed = asyncio.Event()

    def on_interim(self, words: Words) -> None:
        self.interims.append(words)
        self.changed.set()

    def on_final(self, words: Words) -> None:
        self.finals.append(words)
        self.changed.set()

    def on_failure(self, failure: StageFailure) -> None:
        self.failures.append(failure)
        self.changed.set()

    async def wait(self) -> None:
        """Wait until something is heard."""
        async with asyncio.timeout(5):
            await self.changed.wait()
        self.changed.clear()


@pytest.fixture
async def pool() -> AsyncIterator[InferencePool]:
    """A pool of one thread."""
    made = InferencePool(1)
    yield made
    await asyncio.to_thread(made.close)


@pytest.fixture
def fake() -> FakeMoonshine:
    """A recogniser that counts milliseconds."""
    return FakeMoonshine()


@pytest.fixture
def listener() -> Listener:
    """Hears what the session recognises."""
    return Listener()


def make_session(moonshine: object, pool: InferencePool, listener: Listener, **settings: bool) -> LocalSession:
    session = LocalSession(cast(Moonshine, moonshine), pool, LocalSettings(**settings))
    session.listen(listener)
    return session


def hear(session: LocalSession, until_ms: int, from_ms: int = 0) -> None:
    for at_ms in range(from_ms, until_ms, FRAME_MS):
        session.hear(bytes(FRAME_BYTES), at_ms)


async def test_a_turn_is_decoded_with_its_surroundings(
    fake: FakeMoonshine, pool: InferencePool, listener: Listener
) -> None:
    """The recogniser gets the pre-roll, the voice and a bit of the pause; the words carry those times."""
    session = make_session(fake, pool, listener)
    hear(session, 4000)
    session.speech_started(1000)
    session.speech_paused(3000)
    await session.finish_turn(3000)
    start_ms, end_ms = 1000 - PRE_ROLL_MS, 3000 + TRAIL_MS
    assert listener.finals == [Words(f"{end_ms - start_ms}ms", start_ms, end_ms, 0.9)]


async def test_the_final_words_are_decoded_in_the_pause(
    fake: FakeMoonshine, pool: InferencePool, listener: Listener
) -> None:
    """Decoding begins with the pause and is not repeated when the turn ends there."""
    session = make_session(fake, pool, listener)
    hear(session, 3000)
    session.speech_started(1000)
    session.speech_paused(2000)
    await asyncio.to_thread(_until, lambda: fake.calls == 1)
    assert listener.finals == []
    await session.finish_turn(2000)
    assert fake.calls == 1
    assert len(listener.finals) == 1


def _until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("the condition never came true")


async def test_a_resumed_turn_is_decoded_as_one(fake: FakeMoonshine, pool: InferencePool, listener: Listener) -> None:
    """Short speech before and after a pause is one piece: words at the seam keep their context."""
    session = make_session(fake, pool, listener, interim=False)
    hear(session, 6000)
    session.speech_started(1000)
    session.speech_paused(2000)
    session.speech_started(3000)
    session.speech_paused(5000)
    await session.finish_turn(5000)
    assert [(words.start_ms, words.end_ms) for words in listener.finals] == [(1000 - PRE_ROLL_MS, 5000 + TRAIL_MS)]


async def test_long_speech_is_cut_at_its_pauses(fake: FakeMoonshine, pool: InferencePool, listener: Listener) -> None:
    """When speech that was long enough resumes, what was before the pause is final, and the rest follows on."""
    session = make_session(fake, pool, listener, interim=False)
    hear(session, 16_000)
    session.speech_started(1000)
    paused_ms = 1000 + CUT_AT_PAUSE_FROM_MS
    session.speech_paused(paused_ms)
    session.speech_started(paused_ms + 500)
    await listener.wait()
    session.speech_paused(15_000)
    await session.finish_turn(15_000)
    seam_ms = paused_ms + TRAIL_MS
    assert [(words.start_ms, words.end_ms) for words in listener.finals] == [
        (1000 - PRE_ROLL_MS, seam_ms),
        (seam_ms, 15_000 + TRAIL_MS),
    ]


async def test_speech_without_a_pause_is_cut_at_a_dip(
    fake: FakeMoonshine, pool: InferencePool, listener: Listener
) -> None:
    """Speech that goes on and on gives final pieces, none too long, that follow each other without gap or overlap."""
    session = make_session(fake, pool, listener, interim=False)
    session.hear(np.random.default_rng(2).integers(-3000, 3000, 16 * 50_000).astype("<i2").tobytes(), 0)
    session.speech_started(500)
    for now_ms in range(532, 48_000, 32):
        session.speech_until(now_ms)
    session.speech_paused(48_000)
    await session.finish_turn(48_000)
    edges = [(words.start_ms, words.end_ms) for words in listener.finals]
    assert edges[0][0] == 500 - PRE_ROLL_MS
    assert edges[-1][1] == 48_000 + TRAIL_MS
    assert [end for _, end in edges[:-1]] == [start for start, _ in edges[1:]]
    assert max(end - start for start, end in edges) <= CUT_AT_DIP_FROM_MS + PRE_ROLL_MS


async def test_a_turn_does_not_hear_the_last_one_again(
    fake: FakeMoonshine, pool: InferencePool, listener: Listener
) -> None:
    """The pre-roll of a turn that follows closely begins where the turn before it ended."""
    session = make_session(fake, pool, listener)
    hear(session, 5000)
    session.speech_started(1000)
    session.speech_paused(2000)
    await session.finish_turn(2000)
    session.quiet_until(2200)
    session.speech_started(2250)
    session.speech_paused(4000)
    await session.finish_turn(4000)
    assert listener.finals[1].start_ms == listener.finals[0].end_ms == 2000 + TRAIL_MS


async def test_interims_come_while_the_caller_speaks(
    fake: FakeMoonshine, pool: InferencePool, listener: Listener
) -> None:
    """After each 0.7 s of speech the words so far are given, from the turn's beginning."""
    session = make_session(fake, pool, listener)
    hear(session, 3000)
    session.speech_started(500)
    session.speech_until(500 + INTERIM_EVERY_MS - 1)
    session.speech_until(500 + INTERIM_EVERY_MS)
    await listener.wait()
    session.speech_until(500 + 2 * INTERIM_EVERY_MS)
    await listener.wait()
    assert [(words.start_ms, words.end_ms) for words in listener.interims] == [
        (500 - PRE_ROLL_MS, 500 + INTERIM_EVERY_MS),
        (500 - PRE_ROLL_MS, 500 + 2 * INTERIM_EVERY_MS),
    ]


async def test_interims_can_be_switched_off(fake: FakeMoonshine, pool: InferencePool, listener: Listener) -> None:
    """With `interim` false nothing is decoded before the pause."""
    session = make_session(fake, pool, listener, interim=False)
    hear(session, 3000)
    session.speech_started(500)
    session.speech_until(2000)
    session.speech_paused(2500)
    await session.finish_turn(2500)
    assert (fake.calls, listener.interims) == (1, [])


async def test_a_turn_closed_in_mid_speech_has_its_words(
    fake: FakeMoonshine, pool: InferencePool, listener: Listener
) -> None:
    """Without a pause before the end the speech heard so far is decoded."""
    session = make_session(fake, pool, listener)
    hear(session, 2000)
    session.speech_started(500)
    await session.finish_turn(1990)
    assert [words.end_ms for words in listener.finals] == [2000]


async def test_a_failed_decode_is_the_providers_failure(
    fake: FakeMoonshine, pool: InferencePool, listener: Listener
) -> None:
    """When the model fails, the stream is told so, in a way that lets another worker go on."""
    session = make_session(fake, pool, listener, interim=False)
    hear(session, 3000)
    fake.fails = True
    session.speech_started(500)
    session.speech_paused(2000)
    await session.finish_turn(2000)
    (failure,) = listener.failures
    assert (failure.code, failure.retryable) == (ErrorCode.PROVIDER_FAILED, True)
    assert listener.finals == []


async def test_a_closed_session_is_silent(fake: FakeMoonshine, pool: InferencePool, listener: Listener) -> None:
    """After close nothing is delivered, and whoever waits for the turn's end is freed."""
    session = make_session(fake, pool, listener)
    hear(session, 3000)
    session.speech_started(500)
    session.speech_paused(2000)
    session.close()
    async with asyncio.timeout(5):
        await session.finish_turn(2000)
    assert listener.finals == listener.interims == []


async def test_long_human_speech_keeps_its_words(
    moonshine: Moonshine, pool: InferencePool, listener: Listener, clip: Callable[[str], NDArray[np.int16]]
) -> None:
    """20 s of sentences spoken without a real pause are cut where no word is harmed."""
    names = ["vm-whichbox", "agent-newlocation", "all-circuits-busy-now"] * 3
    speech = np.concatenate([clip(name) for name in names])
    session = make_session(moonshine, pool, listener, interim=False)
    session.hear(speech.astype("<i2").tobytes(), 0)
    end_ms = len(speech) // 16
    session.speech_started(0)
    for now_ms in range(32, end_ms, 32):
        session.speech_until(now_ms)
    await session.finish_turn(end_ms)
    words = re.sub(r"[^a-z ]", "", " ".join(piece.text for piece in listener.finals).lower())
    said = (
        "to leave a message please enter a mailbox number "
        "please enter a new extension followed by pound all circuits are busy now "
    )
    assert len(listener.finals) == 2
    assert words.split() == (said * 3).split()


@pytest.mark.parametrize("settings", [{"interim": "maybe"}, {"interim": 1}, {"model": "large"}])
def test_wrong_settings_are_named(settings: dict[str, JsonValue]) -> None:
    """An unknown or ill-typed setting is refused with its name and what is allowed."""
    with pytest.raises(StageFailure) as refused:
        parse_settings(settings)
    assert refused.value.code is ErrorCode.BAD_REQUEST
    assert next(iter(settings)) in refused.value.message
    assert "interim" in refused.value.message


def test_settings_have_defaults() -> None:
    """Without settings there are interim transcripts."""
    assert parse_settings({}).interim
    assert not parse_settings({"interim": False}).interim


async def test_other_languages_are_refused(pool: InferencePool, weights: Path) -> None:
    """English of any country opens; another language is refused by name."""
    provider = LocalProvider(pool, weights.parent)
    await provider.start()
    assert await provider.open("en-GB", {}) is not None
    with pytest.raises(StageFailure, match="'de'"):
        await provider.open("de", {})
