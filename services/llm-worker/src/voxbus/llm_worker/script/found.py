"""A value found in the caller's words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """`spoken` is how the agent says it, `value` what is recorded. `outside`: understood, but not allowed."""

    spoken: str
    value: str
    outside: bool = False
