"""One stack for all end-to-end tests; when they are done, its logs are judged."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stack import RunningStack, start_stack, stop_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """`voxbus up` with one worker of each stage."""
    started = start_stack(tmp_path_factory.mktemp("stack"))
    yield started
    assert stop_stack(started) == 0
