"""Our features are those smart-turn was trained on."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from voxbus.stt_worker import models
from voxbus.stt_worker.audio import to_float
from voxbus.stt_worker.logmel import WINDOW_SAMPLES, log_mel
from voxbus.stt_worker.smart_turn import SmartTurn

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def reference() -> Any:
    """Pipecat's feature module, loaded alone: importing pipecat would replace asyncio.wait_for in this process."""
    path = models.smart_turn().parent.parent / "_whisper_features.py"
    spec = spec_from_file_location("whisper_features", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seconds", [0.5, 8, 11])
def test_features_equal_the_reference(reference: Any, seconds: float) -> None:
    """For audio shorter than, as long as and longer than 8 s the features are those of pipecat's module."""
    samples = np.random.default_rng(3).normal(0, 0.1, int(seconds * 16_000)).astype(np.float32)
    last = samples[-WINDOW_SAMPLES:]
    padded = np.pad(last, (WINDOW_SAMPLES - len(last), 0))
    ours = log_mel(samples)
    assert ours.shape == (80, 800)
    np.testing.assert_allclose(ours, reference.compute_whisper_log_mel_features(padded), atol=1e-6)


def test_silence_has_finite_features() -> None:
    """Digital silence divides nothing by zero."""
    assert np.isfinite(log_mel(np.zeros(16_000, dtype=np.float32))).all()


def test_smart_turn_tells_a_finished_sentence_from_a_cut_one(clip: Callable[[str], NDArray[np.int16]]) -> None:
    """A whole sentence sounds finished; cut after "to leave a message, please" it does not."""
    model = SmartTurn(models.smart_turn())
    speech = to_float(clip("vm-whichbox"))
    pause = np.zeros(3200, dtype=np.float32)
    assert model.probability(np.concatenate([speech, pause])) > 0.9
    assert model.probability(np.concatenate([speech[: 1400 * 16], pause])) < 0.5
