"""Agents from files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import structlog

from voxbus.voice_gateway.agents import AgentDirectory

pytestmark = pytest.mark.unit


def write(path: Path, **fields: object) -> None:
    """An agent file, with a new time of change."""
    path.write_text(json.dumps(fields))
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1))


def test_agents_are_found_by_their_id(tmp_path: Path) -> None:
    """The file's name does not matter."""
    write(tmp_path / "any.json", id="a", name="A")
    agents = AgentDirectory(tmp_path)
    assert agents.ids() == ("a",)
    found = agents.get("a")
    assert found is not None
    assert found.name == "A"
    assert agents.get("b") is None


def test_a_change_counts_from_the_next_call_on(tmp_path: Path) -> None:
    """New, changed and removed files are seen without a restart."""
    path = tmp_path / "a.json"
    write(path, id="a", name="Old")
    agents = AgentDirectory(tmp_path)
    assert agents.get("a")
    path.unlink()
    write(path, id="a", name="New")
    changed = agents.get("a")
    assert changed is not None
    assert changed.name == "New"
    path.unlink()
    assert agents.get("a") is None


def test_a_broken_file_is_named_and_the_others_work(tmp_path: Path) -> None:
    """One bad file does not take the other agents away, and the log says what is wrong with it."""
    write(tmp_path / "a.json", id="a", name="A")
    write(tmp_path / "b.json", id="b", name="")
    (tmp_path / "c.json").write_text("{")
    agents = AgentDirectory(tmp_path)
    with structlog.testing.capture_logs() as logs:
        assert agents.ids() == ("a",)
        assert agents.ids() == ("a",)
    assert [entry["file"] for entry in logs] == ["b.json", "c.json"]
    assert "name" in logs[0]["problems"][0]


def test_a_file_that_goes_away_meanwhile_is_passed_over(tmp_path: Path) -> None:
    """A name whose file is gone when it is read costs no other agent."""
    write(tmp_path / "a.json", id="a", name="A")
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    assert AgentDirectory(tmp_path).ids() == ("a",)
