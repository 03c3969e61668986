"""Settings of this worker."""

from __future__ import annotations

import os
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from voxbus.runtime.settings import WorkerSettings

DEFAULT_CAPACITY: Final = 30


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _at_most_one_per_core(threads: int) -> int:
    """More threads than cores would only make every piece of work slower."""
    return min(threads, _cores())


class Settings(WorkerSettings):
    """Environment variables `VOXBUS_*`."""

    tts_synthesis_threads: Annotated[int, AfterValidator(_at_most_one_per_core)] = Field(
        default_factory=_cores,
        ge=1,
        description="Threads of the local engine, at most one per core this process may use; unset: one per core.",
    )
    tts_provider_timeout_s: float = Field(
        default=5.0, gt=0, description="A provider that gives no audio for this long has failed."
    )
