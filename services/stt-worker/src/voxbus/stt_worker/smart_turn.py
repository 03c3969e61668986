"""Does it sound finished? smart-turn v3 judges the words' melody, not their meaning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxbus.stt_worker.logmel import log_mel
from voxbus.stt_worker.onnx_session import open_session


class SmartTurn:
    """The end-of-turn model. Stateless: any number of threads may ask at a time."""

    def __init__(self, path: Path) -> None:
        self._session = open_session(path)

    def probability(self, samples: NDArray[np.float32]) -> float:
        """How likely (0 to 1) the turn in `samples` is complete; shape (n,), 16 kHz, its last 8 s are used.

        The audio should end with about 200 ms of the pause that raised the question.
        """
        features = log_mel(samples)[np.newaxis]
        return float(self._session.run(None, {"input_features": features})[0][0, 0])
