"""Speech to text with Moonshine base.en: encode once, then decode greedily with a key-value cache."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from voxbus.contracts.audio import SAMPLE_RATE
from voxbus.stt_worker.models import DECODER_FIRST, DECODER_PAST, ENCODER
from voxbus.stt_worker.onnx_session import open_session
from voxbus.stt_worker.tokenizer import END_TOKEN, START_TOKEN, Tokenizer

MODEL_NAME: Final = "moonshine-base-en-int8"
MAX_TOKENS_PER_S: Final = 6.5
"""No one speaks faster; without a cap a model that misheard may repeat itself (the authors' value)."""
EMPTY_CERTAINTY: Final = 0.9
"""Noise ends at once with a certainty of 0.92 to 1.0; real speech in noise was once given up with 0.35."""
_SHORTEST_S: Final = 0.5


@dataclass(frozen=True)
class Recognition:
    """What was recognised; `confidence` is the geometric mean of the tokens' probabilities, None without words."""

    text: str
    confidence: float | None = None


class Moonshine:
    """The recogniser. Stateless: any number of threads may transcribe at a time."""

    def __init__(self, directory: Path, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._encoder = open_session(directory / ENCODER)
        self._first = open_session(directory / DECODER_FIRST)
        self._past = open_session(directory / DECODER_PAST)
        self._cache_names = [output.name for output in self._first.get_outputs()][1:]
        self._growing = [name for name in self._cache_names if ".decoder." in name]

    @classmethod
    def load(cls, directory: Path, source: Path) -> Moonshine:
        """The recogniser made of the converted files in `directory` and the vocabulary in `source`."""
        return cls(directory, Tokenizer.load(source / "tokenizer.bin"))

    def transcribe(
        self, samples: NDArray[np.float32], should_stop: Callable[[], bool] = lambda: False
    ) -> Recognition | None:
        """The words in `samples`, shape (n,), 16 kHz, -1 to 1; best up to 15 s.

        `should_stop` is asked before each token; None when it said yes.
        """
        duration_s = len(samples) / SAMPLE_RATE
        padding = max(0, int(_SHORTEST_S * SAMPLE_RATE) - len(samples))
        audio = np.pad(samples, (0, padding))[np.newaxis]
        encoded = self._encoder.run(None, {"input_values": audio})[0]
        tokens: list[int] = []
        log_probability = 0.0
        logits, cache = self._start(encoded)
        for _ in range(math.ceil(max(duration_s, _SHORTEST_S) * MAX_TOKENS_PER_S)):
            if should_stop():
                return None
            token, score = _pick(logits, may_end=bool(tokens))
            if token == END_TOKEN:
                break
            tokens.append(token)
            log_probability += score
            logits = self._step(token, cache)
        text = self._tokenizer.decode(tokens)
        return Recognition(text, math.exp(log_probability / len(tokens))) if text else Recognition("")

    def _start(self, encoded: NDArray[np.float32]) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """The first token's logits, and the cache under the names that the next step reads."""
        token = np.array([[START_TOKEN]], dtype=np.int64)
        logits, *values = self._first.run(None, {"input_ids": token, "encoder_hidden_states": encoded})
        names = (_read_name(name) for name in self._cache_names)
        return logits[0, -1], dict(zip(names, values, strict=True))

    def _step(self, token: int, cache: dict[str, Any]) -> NDArray[np.float32]:
        """The logits after `token`; grows `cache`, whose half for the encoder stays as it is."""
        ids = np.array([[token]], dtype=np.int64)
        logits, *values = self._past.run(["logits", *self._growing], {"input_ids": ids, **cache})
        for name, value in zip(self._growing, values, strict=True):
            cache[_read_name(name)] = value
        last: NDArray[np.float32] = logits[0, -1]
        return last


def _read_name(name: str) -> str:
    return name.replace("present", "past_key_values", 1)


def _pick(logits: NDArray[np.float32], *, may_end: bool) -> tuple[int, float]:
    """The likeliest token and its log probability; the end as first token only when the model is sure."""
    best = int(logits.argmax())
    total = float(np.log(np.exp(logits - logits[best]).sum())) + float(logits[best])
    score = float(logits[best]) - total
    if best == END_TOKEN and not may_end and math.exp(score) <= EMPTY_CERTAINTY:
        others = logits.copy()
        others[END_TOKEN] = -np.inf
        best = int(others.argmax())
        score = float(logits[best]) - total
    return best, score
