"""The offline provider: it says something, in good time, without a download."""

from __future__ import annotations

import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from fake_speech import Listener, choice
from hibari import dsp
from numpy.typing import NDArray

from voxbus.contracts.audio import SAMPLE_RATE
from voxbus.contracts.stage import ErrorCode
from voxbus.runtime.streams import StageFailure
from voxbus.tts_worker.engine import MAX_CHARS, Engine
from voxbus.tts_worker.silence import SILENT
from voxbus.tts_worker.vocoder import BlockVocoder

pytestmark = pytest.mark.unit
Open = Callable[..., Awaitable[Listener]]

SENTENCE = "I would like to book an appointment for Tuesday at three o'clock please."
LONG = (
    "Let me check the calendar for you, because I believe that the doctor is away on Monday and Tuesday, "
    "but she might have a free slot on Wednesday afternoon, if that suits you."
)


def say(engine: Engine, text: str, speed: float = 1.0, pause_ms: int = 250) -> NDArray[np.float64]:
    """The samples of a text."""
    pcm = b"".join(engine.blocks(text, speed, pause_ms))
    return np.frombuffer(pcm, "<i2").astype(np.float64)


def sounding(samples: NDArray[np.float64]) -> NDArray[np.intp]:
    """Where there is sound."""
    return np.flatnonzero(np.abs(samples) > SILENT)


def test_a_sentence_lasts_as_long_as_speech_does(engine: Engine) -> None:
    """Twelve words take between two and six seconds: 120 to 360 words a minute."""
    assert 2 < len(say(engine, SENTENCE)) / SAMPLE_RATE < 6


def test_it_has_the_envelope_of_speech(engine: Engine) -> None:
    """Loud and quiet parts alternate: syllables stand at least 20 dB above the gaps, 2 to 8 of them a second."""
    samples = say(engine, SENTENCE)
    frames = samples[: len(samples) // 320 * 320].reshape(-1, 320)
    level_db = 20 * np.log10(np.sqrt((frames**2).mean(axis=1)) / 32_768 + 1e-9)
    assert np.percentile(level_db, 90) > -30
    assert np.percentile(level_db, 90) - np.percentile(level_db, 10) > 20
    smooth = np.convolve(level_db, np.ones(3) / 3, "same")
    peaks = (smooth[1:-1] > smooth[:-2]) & (smooth[1:-1] >= smooth[2:]) & (smooth[1:-1] > -40)
    assert 2 < peaks.sum() / (len(samples) / SAMPLE_RATE) < 8


def test_it_has_voice_in_the_speech_band(engine: Engine) -> None:
    """Nine tenths of the energy lie between 100 Hz and 4 kHz, next to none above 7.5 kHz."""
    samples = say(engine, SENTENCE)
    power = np.abs(np.fft.rfft(samples)) ** 2
    hz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    assert power[(hz > 100) & (hz < 4000)].sum() > 0.9 * power.sum()
    assert power[hz > 7500].sum() < 0.01 * power.sum()


@pytest.mark.parametrize("text", [SENTENCE, "Yes.", "Stop!", "Really?"])
def test_it_never_clips(engine: Engine, text: str) -> None:
    """The loudest sample stays clear of full scale, and is not faint either."""
    peak = np.abs(say(engine, text)).max()
    assert 3_000 < peak < 30_000


@pytest.mark.parametrize("text", [SENTENCE, "Yes.", "She sells sea shells.", "Hello there, how are you?"])
def test_silence_at_the_ends_is_trimmed(engine: Engine, text: str) -> None:
    """Sound begins within 20 ms, and 250 ms of pause follow the last sound."""
    samples = say(engine, text)
    sound = sounding(samples)
    assert sound[0] <= SAMPLE_RATE * 20 // 1000
    assert len(samples) - sound[-1] - 1 == pytest.approx(SAMPLE_RATE * 250 // 1000, abs=SAMPLE_RATE // 20)


def test_settings_change_the_speech(engine: Engine) -> None:
    """Speed 2 takes about half the time, and a pause of 0 leaves no silence at the end."""
    usual = len(say(engine, SENTENCE, pause_ms=0))
    assert len(say(engine, SENTENCE, speed=2.0, pause_ms=0)) == pytest.approx(usual / 2, rel=0.25)
    samples = say(engine, SENTENCE, pause_ms=0)
    assert sounding(samples)[-1] == len(samples) - 1


def test_blocks_are_the_engines_own_waveform(engine: Engine) -> None:
    """Made in blocks of any size, the waveform equals the one that hibari makes in one go (noise left out)."""

    class NoNoise:
        def standard_normal(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
            return np.zeros(shape, dtype)

    spectra = engine.spectra(engine.phonemes(SENTENCE)[0], 1.0)
    whole = dsp.synth(*spectra, NoNoise())
    for size in (1, 7, 48, 10_000):
        vocoder = BlockVocoder(spectra, NoNoise())  # type: ignore[arg-type]
        blocks = []
        while not vocoder.done:
            blocks.append(vocoder.block(size))
        assert np.abs(np.concatenate(blocks) - whole).max() < 1e-5


@pytest.mark.parametrize("text", ["नमस्ते", "?!", "—"])
def test_what_it_cannot_say_is_nothing(engine: Engine, text: str) -> None:
    """Text without anything this voice can pronounce has no phonemes rather than a click."""
    assert engine.phonemes(text) == []


def test_each_piece_of_work_is_of_one_part(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pronouncing a part is a piece of work of its own, done when its turn comes, and never for the whole text at once."""
    work: list[str] = []
    pronounce, run = engine.phonemes, engine.spectra

    def noted_phonemes(text: str) -> list[str]:
        assert len(text) <= MAX_CHARS
        work.append("pronounce")
        return pronounce(text)

    def noted_spectra(phonemes: str, speed: float) -> list[NDArray[Any]]:
        work.append("network")
        return run(phonemes, speed)

    monkeypatch.setattr(engine, "phonemes", noted_phonemes)
    monkeypatch.setattr(engine, "spectra", noted_spectra)
    done = []
    for _ in engine.blocks(f"{LONG} " * 4, speed=1.0, pause_ms=0):
        done.append(work.copy())
        work.clear()
    assert max(len(piece) for piece in done) == 1
    assert done.count(["pronounce"]) > 1
    assert done.index(["network"]) == 1, "the first part is spoken before the second is pronounced"


async def test_a_long_sentence_comes_in_blocks(open_local: Open) -> None:
    """The first audio of ten seconds leaves before the last is made: the first block is well under a second long."""
    listener = await open_local()
    await listener.say(LONG)
    await listener.until(lambda: listener.audio)
    assert sum(len(frame.body) for frame in listener.audio) < SAMPLE_RATE * 2
    await listener.speak()
    assert listener.done[0].duration_ms > 5_000


@pytest.mark.parametrize(
    "settings",
    [
        {"voice": "emma"}, {"speed": 0.4}, {"speed": 2.1}, {"speed": "fast"}, {"speed": True}, {"pause_ms": -1},
        {"pause_ms": 1.5}, {"tempo": 1}, {"speed": None},
    ],
)  # fmt: skip
async def test_wrong_settings_are_refused(open_local: Open, settings: dict[str, Any]) -> None:
    """The refusal names the wrong setting and what is allowed; no other voice is downloaded."""
    with pytest.raises(StageFailure, match=r"voice: heart; speed: 0\.5 to 2\.0; pause_ms: 0 to 1000") as caught:
        await open_local(choice("local", **settings))
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert not caught.value.retryable
    assert next(iter(settings)) in caught.value.message


async def test_right_settings_are_taken(open_local: Open) -> None:
    """The limits themselves are allowed, and a whole number is a speed as well."""
    for speed in (0.5, 2, 1.0):
        listener = await open_local(choice("local", speed=speed, voice="heart", pause_ms=0))
        await listener.speak("Yes.")
        assert listener.done[0].duration_ms > 100


@pytest.mark.parametrize("language", ["hi", "de-DE", "eng"])
async def test_only_english(open_local: Open, language: str) -> None:
    """Another language is refused at the open, where a fallback can still be chosen."""
    with pytest.raises(StageFailure, match="English"):
        await open_local(language=language)


async def test_english_of_any_country(open_local: Open) -> None:
    """A region does not matter."""
    listener = await open_local(language="en-GB")
    await listener.speak("Yes.")
    assert listener.done[0].duration_ms > 100


def test_loading_uses_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine loads and speaks with every download forbidden."""

    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("a download was tried")

    monkeypatch.setattr(urllib.request, "urlopen", forbidden)
    engine = Engine()
    engine.warm_up()
    assert len(say(engine, "Yes.")) > 0
