"""The rules of a campaign."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from voxbus.campaigns.domain import (
    ENDED,
    USES_AGENT,
    NotAllowedError,
    WrongValueError,
    after_move,
    allowed_moves,
    check_contacts_change,
    check_deletion,
    check_edit,
    check_start,
    normalised,
)
from voxbus.contracts.campaigns import CampaignMove, CampaignSpec, CampaignStatus

pytestmark = pytest.mark.unit

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
_LEGAL = {
    "schedule": ({"draft"}, "scheduled"),
    "unschedule": ({"scheduled"}, "draft"),
    "start": ({"draft", "scheduled"}, "running"),
    "pause": ({"running"}, "paused"),
    "resume": ({"paused"}, "running"),
    "complete": ({"running", "paused"}, "completed"),
    "cancel": ({"draft", "scheduled", "running", "paused"}, "cancelled"),
}
"""The contract's table, written once more: from which statuses a move is legal, and where it leads."""


class CampaignLife(RuleBasedStateMachine):
    """Any sequence of moves, legal or not."""

    def __init__(self) -> None:
        super().__init__()
        self.status = CampaignStatus.DRAFT
        self.has_run = False

    @rule(move=st.sampled_from(CampaignMove))
    def move(self, move: CampaignMove) -> None:
        """Try a move: it succeeds exactly when it is among the allowed ones, and leads where the contract says."""
        before = self.status
        sources, target = _LEGAL[move]
        assert (move in allowed_moves(before)) == (before in sources)
        if before not in sources:
            with pytest.raises(NotAllowedError) as refused:
                after_move(before, move)
            assert all(allowed in str(refused.value) for allowed in allowed_moves(before))
            return
        self.status = after_move(before, move)
        assert self.status == target
        self.has_run = self.has_run or self.status is CampaignStatus.RUNNING

    @invariant()
    def ended_is_final(self) -> None:
        """Ended campaigns allow nothing; all others can be cancelled."""
        moves = allowed_moves(self.status)
        assert (self.status in ENDED) == (not moves)
        assert (self.status in ENDED) or CampaignMove.CANCEL in moves

    @invariant()
    def what_has_run_never_waits_again(self) -> None:
        """After the first call there is no way back to a draft, whose agent could be changed."""
        if self.has_run:
            assert self.status not in (CampaignStatus.DRAFT, CampaignStatus.SCHEDULED)

    @invariant()
    def agents_are_held_while_there_may_be_calls(self) -> None:
        """Exactly between the first move and the end the agent must stay."""
        assert (self.status in USES_AGENT) == (self.status not in ENDED | {CampaignStatus.DRAFT})


TestCampaignLife = CampaignLife.TestCase
TestCampaignLife.pytestmark = [pytest.mark.unit]  # type: ignore[attr-defined]


def _spec(**fields: Any) -> CampaignSpec:
    return CampaignSpec(**{"name": "Reminders", "agent_id": "agent_1", **fields})


def test_only_what_makes_no_calls_is_deleted() -> None:
    """Running and paused campaigns are cancelled first."""
    kept = []
    for status in CampaignStatus:
        try:
            check_deletion(status)
        except NotAllowedError:
            kept.append(status)
    assert kept == [CampaignStatus.RUNNING, CampaignStatus.PAUSED]


def test_contacts_of_ended_campaigns_stay_as_they_are() -> None:
    """Their record is what was called, not what might have been."""
    for status in ENDED:
        with pytest.raises(NotAllowedError):
            check_contacts_change(status)
    check_contacts_change(CampaignStatus.RUNNING)


@pytest.mark.parametrize("start_at", [None, NOW, NOW - timedelta(seconds=1)])
def test_a_start_lies_in_the_future(start_at: datetime | None) -> None:
    """Neither a missing start, nor now, nor the past can be waited for."""
    with pytest.raises(NotAllowedError):
        check_start(start_at, NOW)
    check_start(NOW + timedelta(milliseconds=1), NOW)


@pytest.mark.parametrize("status", [status for status in CampaignStatus if status is not CampaignStatus.DRAFT])
def test_the_agent_changes_only_in_a_draft(status: CampaignStatus) -> None:
    """What is scheduled, runs or has ended keeps its agent; its name may change."""
    check_edit(CampaignStatus.DRAFT, _spec(), _spec(agent_id="agent_2"), NOW)
    check_edit(status, _spec(), _spec(name="Renamed", metadata={"a": "b"}), NOW)
    with pytest.raises(NotAllowedError, match="agent_id"):
        check_edit(status, _spec(), _spec(agent_id="agent_2"), NOW)


def test_the_start_of_a_scheduled_campaign_moves_only_into_the_future() -> None:
    """A draft takes any start, a scheduled campaign one to come, a running one none."""
    later, earlier = _spec(start_at=NOW + timedelta(hours=1)), _spec(start_at=NOW - timedelta(hours=1))
    before = _spec(start_at=NOW + timedelta(minutes=1))
    check_edit(CampaignStatus.DRAFT, before, earlier, NOW)
    check_edit(CampaignStatus.SCHEDULED, before, later, NOW)
    for status, after in ((CampaignStatus.SCHEDULED, earlier), (CampaignStatus.SCHEDULED, _spec())):
        with pytest.raises(NotAllowedError):
            check_edit(status, before, after, NOW)
    with pytest.raises(NotAllowedError):
        check_edit(CampaignStatus.RUNNING, before, later, NOW)


@pytest.mark.parametrize("zone", ["Europe/London", "UTC", "America/Argentina/Buenos_Aires"])
def test_known_zones_are_taken(zone: str) -> None:
    """Any name of the IANA database."""
    assert normalised(_spec(timezone=zone)).timezone == zone


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "europe/london", "../etc/passwd", "+02:00", "localtime", ""])
def test_unknown_zones_are_refused(zone: str) -> None:
    """Nor anything that only looks like a zone, or is a file."""
    with pytest.raises(WrongValueError) as caught:
        normalised(_spec(timezone=zone))
    assert caught.value.field == "timezone"


def test_unknown_countries_are_refused() -> None:
    """Two capital letters are not enough."""
    assert normalised(_spec(default_region="IN")).default_region == "IN"
    with pytest.raises(WrongValueError) as caught:
        normalised(_spec(default_region="XX"))
    assert caught.value.field == "default_region"


@given(st.datetimes(), st.integers(-23, 23))
@example(datetime(9999, 12, 31, 23), -12)  # noqa: DTZ001  # the zone is added in the test
@example(datetime(1, 1, 1), 12)  # noqa: DTZ001
def test_starts_are_kept_in_utc_to_the_millisecond(moment: datetime, offset_h: int) -> None:
    """The same instant, less than a millisecond earlier; or refused, at the ends of the calendar."""
    start_at = moment.replace(tzinfo=timezone(timedelta(hours=offset_h)))
    try:
        start_at.astimezone(UTC)
    except OverflowError:
        with pytest.raises(WrongValueError) as refused:
            normalised(_spec(start_at=start_at))
        assert refused.value.field == "start_at"
        return
    kept = normalised(_spec(start_at=start_at)).start_at
    assert kept is not None
    assert kept.tzinfo is UTC
    assert timedelta(0) <= start_at - kept < timedelta(milliseconds=1)
