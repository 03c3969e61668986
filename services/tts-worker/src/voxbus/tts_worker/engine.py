"""The offline speech engine: hibari, with the one voice that is in its package. Everything here runs on a thread of the pool."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

import numpy as np
from hibari import Hibari
from hibari.voices import VOICES
from numpy.typing import NDArray

from voxbus.contracts.audio import SAMPLE_RATE
from voxbus.runtime.audio import StreamResampler
from voxbus.tts_worker.english import spoken_english
from voxbus.tts_worker.parts import split_long
from voxbus.tts_worker.silence import SilenceTrimmer
from voxbus.tts_worker.vocoder import BlockVocoder

VOICE: Final = "heart"
RATE: Final = 24_000
FIRST_BLOCK_FRAMES: Final = 48
"""0.6 s, of which the first 0.25 to 0.35 s are silence that is cut away."""
BLOCK_FRAMES: Final = 80
"""A second: about 2 ms of work."""
MAX_CHARS: Final = 300
"""Longer text is cut, so that no piece of work keeps other utterances waiting for more than about 80 ms (the network's)."""

_WARM_UP: Final = "Doctor Voxbus, the 3rd of May at 10:30 costs $4.50."


class Engine:
    """The model and the pronunciation rules; loading takes about half a second. Safe to use from several threads."""

    def __init__(self) -> None:
        # Any other voice would be downloaded, which a worker never does.
        if not VOICES[VOICE]["bundled"]:
            raise RuntimeError(f"hibari no longer contains the voice {VOICE!r}")
        self._hibari: Any = Hibari(voice=VOICE, threads=1)

    def warm_up(self) -> None:
        """Load the pronunciation rules and let the model run once; the first call would be slow otherwise."""
        for _ in self.blocks(_WARM_UP, speed=1.0, pause_ms=0):
            pass

    @cached_property
    def _letters(self) -> frozenset[str]:
        """Phonemes that make a sound, without marks and stress."""
        return frozenset(char for char in self._hibari.vocab if char.isalpha())

    def phonemes(self, text: str) -> list[str]:
        """What is said of `text`, at most `MAX_CHARS` long, in pieces to synthesise one by one; empty when that is nothing."""
        return [piece for piece in self._hibari.phonemize(text) if self._letters.intersection(piece)]

    def spectra(self, phonemes: str, speed: float) -> list[NDArray[Any]]:
        """Run the network over one piece; its outputs in the order that the vocoder takes."""
        hibari = self._hibari
        inputs = {"ids": np.asarray([hibari.ids(phonemes)], np.int64), "speed": np.asarray([speed], np.float32)}
        return [output[0] for output in hibari.sess.run(None, inputs)]

    def blocks(self, text: str, speed: float, pause_ms: int) -> Iterator[bytes]:
        """The audio of plain `text`, PCM16 mono 16 kHz, each block computed when it is asked for; a block may be empty.

        Silence at the ends is trimmed, `pause_ms` of it stay at the end.
        """
        for part in split_long(spoken_english(text), MAX_CHARS):
            pieces = self.phonemes(part)
            # Unknown words take long, and then the network does: more urgent work may come in between.
            yield b""
            for phonemes in pieces:
                yield from self._say(phonemes, speed, pause_ms)

    def _say(self, phonemes: str, speed: float, pause_ms: int) -> Iterator[bytes]:
        vocoder = BlockVocoder(self.spectra(phonemes, speed), np.random.default_rng())
        resampler = StreamResampler(RATE, SAMPLE_RATE)
        trimmer = SilenceTrimmer(pause_ms)
        frames = FIRST_BLOCK_FRAMES
        while not vocoder.done:
            pcm = trimmer.push(resampler.process(_to_pcm(vocoder.block(frames))))
            frames = BLOCK_FRAMES
            yield pcm + trimmer.finish() if vocoder.done else pcm


def _to_pcm(wave: NDArray[Any]) -> bytes:
    samples: NDArray[np.int16] = np.rint(np.clip(wave, -1.0, 1.0) * 32_767.0).astype("<i2")
    return samples.tobytes()
