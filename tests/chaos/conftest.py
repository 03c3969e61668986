"""A stack with two workers of each stage, one of which may die."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stack import RunningStack, start_stack, stop_stack


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """`voxbus up --processes stt=2,llm=2,tts=2`, and one of each service."""
    started = start_stack(tmp_path_factory.mktemp("pairs"), "--processes", "stt=2,llm=2,tts=2")
    yield started
    assert stop_stack(started) == 0
