"""The sample speech: what the manifest says is there."""

from __future__ import annotations

import json
import wave
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.unit

SAMPLES = Path(str(files("voxbus.local") / "samples"))
MANIFEST: list[dict[str, Any]] = json.loads((SAMPLES / "manifest.json").read_text())


def read(name: str) -> tuple[wave._wave_params, np.ndarray[Any, np.dtype[np.int16]]]:
    with wave.open(str(SAMPLES / name)) as file:
        return file.getparams(), np.frombuffer(file.readframes(file.getnframes()), np.int16)


def test_the_manifest_lists_every_file_once() -> None:
    """No sample without its text and licence, no entry without its sample."""
    listed = [entry["file"] for entry in MANIFEST]
    there = sorted(str(path.relative_to(SAMPLES)) for path in SAMPLES.rglob("*.wav"))
    assert sorted(listed) == there
    assert all(
        set(entry) == {"file", "text", "speaker", "source", "licence", "duration_s", "set"} for entry in MANIFEST
    )


@pytest.mark.parametrize("entry", MANIFEST, ids=lambda entry: entry["file"])
def test_a_sample_is_what_the_platform_carries(entry: dict[str, Any]) -> None:
    """PCM16 mono 16 kHz of the listed length, whole frames of 20 ms, loud enough to be speech and not clipped flat."""
    parameters, pcm = read(entry["file"])
    assert (parameters.nchannels, parameters.sampwidth, parameters.framerate) == (1, 2, 16_000)
    assert parameters.nframes % 320 == 0
    assert parameters.nframes / 16_000 == pytest.approx(entry["duration_s"], abs=0.001)
    level = float(np.sqrt(np.mean(pcm.astype(np.float64) ** 2)))
    assert 500 < level < 12_000


def test_there_is_enough_speech_of_several_people_in_little_space() -> None:
    """A call of four to six turns, at least 14 sentences of 6 to 20 words without figures, three voices, at most 6 MB."""
    booking = [entry for entry in MANIFEST if entry["set"] == "booking"]
    sentences = [entry for entry in MANIFEST if entry["set"] == "sentences"]
    assert 4 <= len(booking) <= 6
    assert len(sentences) >= 14
    assert all(6 <= len(entry["text"].split()) <= 25 for entry in sentences)
    assert not any(char.isdigit() or char in "[]#*" for entry in sentences for char in entry["text"])
    assert len({entry["speaker"] for entry in sentences}) >= 3
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*")) <= 6_000_000


def test_every_licence_is_in_the_notice() -> None:
    """The notice names each licence and each kind of source."""
    notice = (SAMPLES / "NOTICE.md").read_text()
    for entry in MANIFEST:
        assert entry["licence"] in notice
        assert entry["source"].split(":")[0].split()[1] in notice
