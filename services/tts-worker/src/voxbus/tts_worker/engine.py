"""The offline speech engine: hibari, with the one voice that is in its package. Everything here runs on a thread of the pool."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, Final

import numpy as np
from hibari import Hibari
from hibari.voices import VOICES

from voxbus.runtime.audio import StreamResampler
from voxbus.tts_worker.english import spoken_english
from voxbus.tts_worker.silence import SilenceTrimmer
from voxbus.tts_worker.vocoder import BlockVocoder

VOICE: Final = "heart"
RATE: Final = 24_000
FIRST_BLOCK_FRAMES: Final = 48
"""0.6 s, of which the first 0.25 to 0.35 s are silence that is cut away."""
BLOCK_FRAMES: Final = 80
"""A second: about 2 ms of work."""
MAX_CHARS: Final = 300
"""Longer text is cut at a clause, so that no piece of work keeps other utterances waiting for much longer than 50 ms."""

_CLAUSE_END: Final = re.compile(r"[,;:.!?—–](?=\s)")
_WARM_UP: Final = "Doctor Voxbus, the 3rd of May at 10:30 costs $4.50."


class Speech:
    """The audio of one piece of text, block by block."""

    def __init__(self, vocoder: BlockVocoder, pause_ms: int) -> None:
        self._vocoder = vocoder
        self._resampler = StreamResampler(RATE, 16_000)
        self._trimmer = SilenceTrimmer(pause_ms)
        self._frames = FIRST_BLOCK_FRAMES

    @property
    def done(self) -> bool:
        """Whether all audio was given."""
        return self._vocoder.done

    def next_block(self) -> bytes:
        """The next PCM16 mono 16 kHz; may be empty."""
        wave = self._vocoder.block(self._frames)
        self._frames = BLOCK_FRAMES
        samples = np.rint(np.clip(wave, -1.0, 1.0) * 32_767.0).astype("<i2")
        pcm = self._trimmer.push(self._resampler.process(samples.tobytes()))
        return pcm + self._trimmer.finish() if self._vocoder.done else pcm


class Engine:
    """The model and the pronunciation rules; loading takes about half a second. Safe to use from several threads."""

    def __init__(self) -> None:
        # Any other voice would be downloaded, which a worker never does.
        if not VOICES[VOICE]["bundled"]:
            raise RuntimeError(f"hibari no longer contains the voice {VOICE!r}")
        self._hibari: Any = Hibari(voice=VOICE, threads=1)

    def warm_up(self) -> None:
        """Load the pronunciation rules and let the model run once; the first call would be slow otherwise."""
        for phonemes in self.phonemes(_WARM_UP):
            speech = self.speech(phonemes, speed=1.0, pause_ms=0)
            while not speech.done:
                speech.next_block()

    @cached_property
    def _letters(self) -> frozenset[str]:
        """Phonemes that make a sound, without marks and stress."""
        return frozenset(char for char in self._hibari.vocab if char.isalpha())

    def phonemes(self, text: str) -> list[str]:
        """What is to be said of plain `text`, in pieces to synthesise one by one; empty when this voice can say nothing of it."""
        pieces = [piece for part in split_long(spoken_english(text)) for piece in self._hibari.phonemize(part)]
        return [piece for piece in pieces if self._letters.intersection(piece)]

    def speech(self, phonemes: str, speed: float, pause_ms: int) -> Speech:
        """Run the network over one piece."""
        hibari = self._hibari
        inputs = {
            "ids": np.asarray([hibari.ids(phonemes)], np.int64),
            "speed": np.asarray([speed], np.float32),
        }
        spectra = [output[0] for output in hibari.sess.run(None, inputs)]
        return Speech(BlockVocoder(spectra, np.random.default_rng()), pause_ms)


def split_long(text: str, limit: int = MAX_CHARS) -> list[str]:
    """`text` in parts of at most `limit` characters: cut after a clause, else between words, else anywhere."""
    parts = []
    while len(text) > limit:
        ends = [match.end() for match in _CLAUSE_END.finditer(text, limit // 3, limit)]
        cut = ends[-1] if ends else text.rfind(" ", 1, limit)
        cut = cut if cut > 0 else limit
        parts.append(text[:cut].strip())
        text = text[cut:].strip()
    return [*parts, text] if text else parts
