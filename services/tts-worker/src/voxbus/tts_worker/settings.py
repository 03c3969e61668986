"""Settings of this worker."""

from __future__ import annotations

import os
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from voxbus.runtime.settings import WorkerSettings

DEFAULT_CAPACITY: Final = 40
"""Measured on two cores of a shared machine: with 40 utterances that speak all the time, first audio over the bus came within
22 ms (median) and 60 ms (95 %) at 0.6 of a core; with 60 it was 36 and 97 ms."""


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
        default=5.0, gt=0, description="A provider that works for this long without giving audio has failed."
    )
