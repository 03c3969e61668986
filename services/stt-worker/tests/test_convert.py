"""The published weights become models that recognise speech."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from voxbus.stt_worker import models
from voxbus.stt_worker.audio import to_float
from voxbus.stt_worker.convert import STEPS, convert
from voxbus.stt_worker.moonshine import Moonshine

pytestmark = pytest.mark.integration


def test_the_weights_in_the_wheel_are_converted(tmp_path: Path, clip: Callable[[str], NDArray[np.int16]]) -> None:
    """A fresh conversion writes the three files, leaves nothing else behind, and what they recognise is right."""
    shown: list[str] = []
    convert(models.moonshine_source(), tmp_path, lambda step, steps, text: shown.append(f"{step}/{steps} {text}"))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(models.CONVERTED_FILES)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 230_000_000
    assert shown == [f"{step}/{len(STEPS)} {text}" for step, text in enumerate(STEPS, start=1)]
    moonshine = Moonshine.load(tmp_path, models.moonshine_source())
    recognition = moonshine.transcribe(to_float(clip("vm-whichbox")))
    assert recognition is not None
    assert recognition.text == "To leave a message, please enter a mailbox number."
