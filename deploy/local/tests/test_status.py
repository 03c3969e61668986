"""What `voxbus status` makes of the answers of processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxbus.contracts.stage import ProcessStatus, StoreStatus
from voxbus.local.state import ProcessInfo
from voxbus.local.status import ProcessReport

pytestmark = pytest.mark.unit


def report(*, state: str = "ready", ready: bool = True, stores: tuple[StoreStatus, ...] = ()) -> ProcessReport:
    process = ProcessInfo(
        name="agents", service="agents", pid=1, state=state, ports={}, health_url="", log_file=Path("agents.log")
    )
    status = ProcessStatus(service="agents", instance_id="p_1", version="1", uptime_s=1.0, ready=ready, stores=stores)
    return ProcessReport(process=process, healthy=True, memory_bytes=None, status=status)


def test_a_process_that_is_being_restarted_is_not_ready() -> None:
    """Whatever answers at its address: the table and the exit code say the same."""
    assert report().ready
    assert not report(state="restarting").ready


def test_a_process_that_is_not_ready_says_which_store_is_away() -> None:
    """A store that answers is not mentioned."""
    stores = (StoreStatus(name="mongodb", problem="does not answer"), StoreStatus(name="jetstream"))
    assert report(ready=False, stores=stores).problems == ["mongodb does not answer"]
