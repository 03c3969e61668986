"""The recogniser writes down what humans say, and nothing for noise."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from voxbus.stt_worker.audio import to_float
from voxbus.stt_worker.moonshine import Moonshine, _pick
from voxbus.stt_worker.tokenizer import END_TOKEN

pytestmark = pytest.mark.unit

SAID = {
    "all-circuits-busy-now": "all circuits are busy now",
    "agent-newlocation": "please enter a new extension followed by pound",
    "vm-whichbox": "to leave a message please enter a mailbox number",
}


@pytest.mark.parametrize("name", SAID)
def test_human_speech_is_written_down(
    moonshine: Moonshine, clip: Callable[[str], NDArray[np.int16]], name: str
) -> None:
    """Each clip gives its words, with a confidence that is a probability."""
    recognition = moonshine.transcribe(to_float(clip(name)))
    assert recognition is not None
    assert re.sub(r"[^a-z ]", "", recognition.text.lower()) == SAID[name]
    assert recognition.confidence is not None
    assert 0.5 < recognition.confidence <= 1


@pytest.mark.parametrize("level", [0.0, 0.001, 0.05])
def test_noise_has_no_words(moonshine: Moonshine, level: float) -> None:
    """Silence and noise of any level give an empty text without a confidence."""
    noise = np.random.default_rng(0).normal(0, level, 32_000).astype(np.float32)
    recognition = moonshine.transcribe(noise)
    assert recognition is not None
    assert (recognition.text, recognition.confidence) == ("", None)


@pytest.mark.parametrize("samples", [0, 1, 160, 1600])
def test_hardly_any_audio_is_no_error(moonshine: Moonshine, samples: int) -> None:
    """Audio that is shorter than the model's own window is taken."""
    assert moonshine.transcribe(np.zeros(samples, dtype=np.float32)) is not None


def test_it_stops_when_told(moonshine: Moonshine, clip: Callable[[str], NDArray[np.int16]]) -> None:
    """Decoding ends at the next token once it is told to, and gives nothing."""
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) == 3

    assert moonshine.transcribe(to_float(clip("vm-whichbox")), should_stop) is None
    assert len(asked) == 3


def logits(end: float, best_other: float) -> NDArray[np.float32]:
    """Logits whose end token and likeliest other token have these probabilities."""
    rest = (1 - end - best_other) / 98
    probabilities = np.full(100, rest, dtype=np.float32)
    probabilities[END_TOKEN], probabilities[50] = end, best_other
    return np.log(probabilities)


def test_an_empty_result_needs_certainty() -> None:
    """As first token the end is taken only when the model is sure; later it is taken when it is the likeliest."""
    assert _pick(logits(0.95, 0.03), may_end=False)[0] == END_TOKEN
    token, score = _pick(logits(0.60, 0.30), may_end=False)
    assert token == 50
    assert np.exp(score) == pytest.approx(0.30, rel=1e-3)
    assert _pick(logits(0.60, 0.30), may_end=True)[0] == END_TOKEN
