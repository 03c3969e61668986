"""The whole worker on the human sample speech of the local runner."""

from __future__ import annotations

import asyncio
import json
import wave
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
from numpy.typing import NDArray
from whisper_normalizer.english import EnglishTextNormalizer

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

SAMPLES = Path(__file__).parents[3] / "deploy/local/src/voxbus/local/samples"
AT_A_TIME = 4


def read(path: Path) -> NDArray[np.int16]:
    """The samples of a 16 kHz clip."""
    with wave.open(str(path)) as file:
        assert file.getframerate() == 16_000
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")


async def test_human_speech_is_understood_and_not_cut(
    place_call: Callable[..., Awaitable[Any]], quiet: Callable[[int], NDArray[np.int16]]
) -> None:
    """Over all sample clips the word error rate is at most 6 %, and every clip, pauses and all, is one turn."""
    clips = json.loads((SAMPLES / "manifest.json").read_text())
    room = asyncio.Semaphore(AT_A_TIME)

    async def recognise(number: int, file: str) -> list[str]:
        async with room:
            call = await place_call(call_id=f"clip_{number}")
            await call.send(np.concatenate([quiet(600), read(SAMPLES / file), quiet(2500)]))
            await call.close()
            return [turn.text for turn in call.turns]

    turns = await asyncio.gather(*(recognise(number, clip["file"]) for number, clip in enumerate(clips)))
    assert {clip["file"]: texts for clip, texts in zip(clips, turns, strict=True) if len(texts) != 1} == {}
    normalise = EnglishTextNormalizer()
    said = [normalise(clip["text"]) for clip in clips]
    heard = [normalise(texts[0]) for texts in turns]
    assert len(clips) >= 10
    assert jiwer.wer(said, heard) <= 0.06
