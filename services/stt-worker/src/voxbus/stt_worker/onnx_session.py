"""How this worker opens ONNX models: one thread per inference, many inferences side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime as ort


def open_session(path: Path) -> Any:
    """An onnxruntime.InferenceSession on the CPU, safe to run from several threads at a time.

    One thread inside a run: the pool runs as many inferences as there are cores, and threads of one run would only
    fight with those of another.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
