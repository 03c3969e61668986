"""One control plane for the tests of this directory that don't break it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from control_plane import ControlPlane


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Two processes of each service that keeps documents, one REST gateway."""
    counts = {"auth": 2, "agents": 2, "campaigns": 2}
    with ControlPlane(tmp_path_factory.mktemp("plane"), counts=counts) as plane:
        yield plane
