"""Batched voice activity detection hears each call as if it were alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from voxbus.stt_worker import models
from voxbus.stt_worker.vad import FAILURES_TO_GIVE_UP, WINDOW_SAMPLES, SileroVad, VadStream, VadTicker

pytestmark = pytest.mark.unit

CLIPS = ("all-circuits-busy-now", "agent-newlocation", "vm-whichbox")


@pytest.fixture(scope="module")
def model() -> SileroVad:
    """The model."""
    return SileroVad(models.silero_vad())


@pytest.fixture
async def ticker(model: SileroVad) -> AsyncIterator[VadTicker]:
    """A running ticker."""
    running = VadTicker(model)
    running.start()
    yield running
    await running.stop()


def deaf() -> None:
    raise AssertionError("the model works")


def windows_of(samples: NDArray[np.int16]) -> NDArray[np.int16]:
    return samples[: len(samples) // WINDOW_SAMPLES * WINDOW_SAMPLES].reshape(-1, WINDOW_SAMPLES)


def alone(model: SileroVad, samples: NDArray[np.int16]) -> list[float]:
    """Each window's probability when no other call is heard."""
    stream = VadStream(lambda _: None, deaf)
    return [model.advance([(stream, window[np.newaxis])])[0][0] for window in windows_of(samples)]


def test_a_voice_is_told_from_a_room(
    model: SileroVad, clip: Callable[[str], NDArray[np.int16]], quiet: Callable[[int], NDArray[np.int16]]
) -> None:
    """Most windows of a human sentence are a voice, none of a quiet room's is."""
    assert np.mean(np.array(alone(model, clip("vm-whichbox"))) > 0.5) > 0.7
    assert max(alone(model, quiet(3000))) < 0.3


def test_a_batch_gives_what_single_streams_give(model: SileroVad, clip: Callable[[str], NDArray[np.int16]]) -> None:
    """Calls of different lengths in one batch have the probabilities they have alone."""
    batch = [(VadStream(lambda _: None, deaf), windows_of(clip(name))) for name in CLIPS]
    for values, name in zip(model.advance(batch), CLIPS, strict=True):
        np.testing.assert_allclose(values, alone(model, clip(name)), atol=1e-4)


def test_a_muted_call_costs_nothing_and_is_heard_again(
    model: SileroVad, clip: Callable[[str], NDArray[np.int16]]
) -> None:
    """Long digital silence is no voice, and speech after it is heard as at the beginning of a call."""
    speech = clip("agent-newlocation")
    muted = np.zeros(WINDOW_SAMPLES * 60, dtype=np.int16)
    values = alone(model, np.concatenate([muted, speech]))
    assert max(values[:60]) < 0.1
    assert values[30:60] == [0.0] * 30
    np.testing.assert_allclose(values[60:], alone(model, speech), atol=1e-6)


async def test_the_ticker_delivers_every_window_in_order(
    ticker: VadTicker, model: SileroVad, clip: Callable[[str], NDArray[np.int16]]
) -> None:
    """Many calls fed in frames, at once and in turns, each get all their windows' probabilities."""
    heard: dict[str, list[float]] = {name: [] for name in CLIPS}
    done = asyncio.Event()

    def collect(name: str, values: list[float]) -> None:
        heard[name] += values
        if all(len(heard[name]) == len(windows_of(clip(name))) for name in CLIPS):
            done.set()

    streams = {name: ticker.open(partial(collect, name), deaf) for name in CLIPS}
    for offset in range(0, max(len(clip(name)) for name in CLIPS), 320):
        for name, stream in streams.items():
            ticker.feed(stream, clip(name)[offset : offset + 320].tobytes())
        if offset % 3200 == 0:
            await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await done.wait()
    for name in CLIPS:
        np.testing.assert_allclose(heard[name], alone(model, clip(name)), atol=1e-4)


async def test_a_closed_stream_hears_nothing_more(ticker: VadTicker, quiet: Callable[[int], NDArray[np.int16]]) -> None:
    """A stream closed while its audio waits gets nothing, and the others go on."""
    closed_heard: list[float] = []
    done = asyncio.Event()
    closed = ticker.open(closed_heard.extend, deaf)
    other = ticker.open(lambda _: done.set(), deaf)
    ticker.feed(closed, quiet(100).tobytes())
    ticker.close(closed)
    ticker.feed(other, quiet(100).tobytes())
    async with asyncio.timeout(10):
        await done.wait()
    assert closed_heard == []


async def test_one_faulty_stream_does_not_silence_the_others(
    ticker: VadTicker, quiet: Callable[[int], NDArray[np.int16]], caplog: pytest.LogCaptureFixture
) -> None:
    """A stream whose listener raises is logged; the ticker goes on."""
    done = asyncio.Event()

    def fail(_: list[float]) -> None:
        raise ArithmeticError("faulty")

    faulty = ticker.open(fail, deaf)
    other = ticker.open(lambda _: done.set(), deaf)
    ticker.feed(faulty, quiet(100).tobytes())
    ticker.feed(other, quiet(100).tobytes())
    async with asyncio.timeout(10):
        await done.wait()


class FailingVad(SileroVad):
    """A model that works only when it is told to."""

    def __init__(self) -> None:
        self.works = False
        self.calls = 0

    def advance(self, batch: Sequence[tuple[VadStream, NDArray[np.int16]]]) -> list[list[float]]:
        self.calls += 1
        if not self.works:
            raise MemoryError("no memory")
        return [[0.5] * len(windows) for _, windows in batch]


@pytest.fixture
async def failing(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[VadTicker, FailingVad]]:
    """A running ticker with a model that fails, tried again at once."""
    monkeypatch.setattr("voxbus.stt_worker.vad.PROBE_EVERY_S", 0.001)
    model = FailingVad()
    running = VadTicker(model)
    running.start()
    yield running, model
    await running.stop()


async def test_a_few_failures_only_cost_their_windows(
    failing: tuple[VadTicker, FailingVad], quiet: Callable[[int], NDArray[np.int16]]
) -> None:
    """Windows that the model failed on count as silence, so the call's clock stays right; failures apart don't add up."""
    ticker, model = failing
    heard: list[float] = []
    delivered = asyncio.Event()

    def collect(values: list[float]) -> None:
        heard.extend(values)
        delivered.set()

    stream = ticker.open(collect, deaf)
    for works in [*[False] * (FAILURES_TO_GIVE_UP - 1), True] * 2:
        model.works = works
        delivered.clear()
        ticker.feed(stream, quiet(32).tobytes())
        async with asyncio.timeout(10):
            await delivered.wait()
    assert heard == [*[0.0] * (FAILURES_TO_GIVE_UP - 1), 0.5] * 2
    assert not ticker.deaf


async def test_lasting_failure_gives_every_stream_up_until_the_model_works_again(
    failing: tuple[VadTicker, FailingVad], quiet: Callable[[int], NDArray[np.int16]]
) -> None:
    """A model that keeps failing is reported to all streams, also those without audio, and is tried until it works."""
    ticker, model = failing
    gone: set[str] = set()
    both = asyncio.Event()

    def give_up(name: str) -> None:
        gone.add(name)
        if len(gone) == 2:
            both.set()

    talking = ticker.open(lambda _: None, lambda: give_up("talking"))
    muted = ticker.open(lambda _: None, lambda: give_up("muted"))
    ticker.feed(talking, quiet(32 * 8 * FAILURES_TO_GIVE_UP).tobytes())
    async with asyncio.timeout(10):
        await both.wait()
    was_deaf = ticker.deaf
    assert model.calls >= FAILURES_TO_GIVE_UP
    ticker.close(talking)
    ticker.close(muted)
    model.works = True
    heard = asyncio.Event()
    ticker.feed(ticker.open(lambda _: heard.set(), lambda: None), quiet(32).tobytes())
    async with asyncio.timeout(10):
        await heard.wait()
    assert (was_deaf, ticker.deaf) == (True, False)
