"""Settings of this worker."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from voxbus.runtime.settings import WorkerSettings

STREAMS_PER_CORE: Final = 12
"""Callers who talk nearly all the time and at the same time; measured in docs/decisions/0004-turn-taking.md."""


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Settings(WorkerSettings):
    """Environment variables `VOXBUS_*`."""

    model_cache: Annotated[Path, AfterValidator(Path.expanduser)] = Field(
        default=Path("~/.cache/voxbus"), validate_default=True, description="Where converted weights are kept."
    )
    stt_inference_threads: int = Field(
        default_factory=usable_cores,
        ge=1,
        le=64,
        description="Inferences at a time; unset: one per core this process may use.",
    )
