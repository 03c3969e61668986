"""A fake REST API, and an environment in which commands use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_rest import FakeRest, serving


@pytest.fixture
def rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRest]:
    """A server, and an environment that names it and a good API key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("VOXBUS_STATE_DIR", raising=False)
    with serving() as fake:
        monkeypatch.setenv("VOXBUS_URL", fake.url)
        monkeypatch.setenv("VOXBUS_API_KEY", "vxk_good")
        yield fake


@pytest.fixture
def nobody(rest: FakeRest, monkeypatch: pytest.MonkeyPatch) -> FakeRest:
    """The server, and an environment that knows neither it nor a key."""
    monkeypatch.delenv("VOXBUS_URL")
    monkeypatch.delenv("VOXBUS_API_KEY")
    return rest
