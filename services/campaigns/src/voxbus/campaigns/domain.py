"""The life of a campaign and the rules of what is edited in it; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Final

import phonenumbers

from voxbus.contracts.campaigns import CampaignMove, CampaignSpec, CampaignStatus

_Move = CampaignMove
_Status = CampaignStatus

_MOVES: Final[Mapping[CampaignStatus, Mapping[CampaignMove, CampaignStatus]]] = {
    _Status.DRAFT: {
        _Move.SCHEDULE: _Status.SCHEDULED,
        _Move.START: _Status.RUNNING,
        _Move.CANCEL: _Status.CANCELLED,
    },
    _Status.SCHEDULED: {
        _Move.UNSCHEDULE: _Status.DRAFT,
        _Move.START: _Status.RUNNING,
        _Move.CANCEL: _Status.CANCELLED,
    },
    _Status.RUNNING: {
        _Move.PAUSE: _Status.PAUSED,
        _Move.COMPLETE: _Status.COMPLETED,
        _Move.CANCEL: _Status.CANCELLED,
    },
    _Status.PAUSED: {
        _Move.RESUME: _Status.RUNNING,
        _Move.COMPLETE: _Status.COMPLETED,
        _Move.CANCEL: _Status.CANCELLED,
    },
    _Status.COMPLETED: {},
    _Status.CANCELLED: {},
}
ENDED: Final = frozenset({_Status.COMPLETED, _Status.CANCELLED})
USES_AGENT: Final = (_Status.SCHEDULED, _Status.RUNNING, _Status.PAUSED)
"""In these an agent must stay."""
NEEDS_AGENT: Final = frozenset({_Move.SCHEDULE, _Move.START, _Move.RESUME})
"""Moves towards calls: the agent must be published, and there must be somebody to call."""
_KEEPS_FROM_DELETION: Final = frozenset({_Status.RUNNING, _Status.PAUSED})


class NotAllowedError(Exception):
    """The status, or something else about the campaign, does not allow it. The message is for the client."""


class WrongValueError(Exception):
    """A value of the spec is wrong. `field` is its name; the message is for the client."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def allowed_moves(status: CampaignStatus) -> tuple[CampaignMove, ...]:
    """What the status allows."""
    return tuple(_MOVES[status])


def after_move(status: CampaignStatus, move: CampaignMove) -> CampaignStatus:
    """The status after a move. Raises NotAllowedError that says what is allowed instead."""
    target = _MOVES[status].get(move)
    if target is not None:
        return target
    allowed = ", ".join(allowed_moves(status))
    instead = f"it allows {allowed}" if allowed else "it has ended"
    raise NotAllowedError(f"a {status} campaign does not allow {move}: {instead}")


def check_start(start_at: datetime | None, now: datetime) -> None:
    """Raises NotAllowedError when a campaign cannot wait for this time."""
    if start_at is None:
        raise NotAllowedError("it has no start_at to wait for")
    if start_at <= now:
        raise NotAllowedError(f"its start_at, {start_at.isoformat()}, is not in the future")


def check_deletion(status: CampaignStatus) -> None:
    """Raises NotAllowedError while calls are or may be made."""
    if status in _KEEPS_FROM_DELETION:
        raise NotAllowedError(f"a {status} campaign cannot be deleted: cancel it first")


def check_contacts_change(status: CampaignStatus) -> None:
    """Raises NotAllowedError when contacts can neither come nor go any more."""
    if status in ENDED:
        raise NotAllowedError(f"the contacts of a {status} campaign cannot be changed")


def check_edit(status: CampaignStatus, before: CampaignSpec, after: CampaignSpec, now: datetime) -> None:
    """Raises NotAllowedError when the status does not allow this edit."""
    if after.agent_id != before.agent_id and status is not _Status.DRAFT:
        raise NotAllowedError(f"agent_id can be changed only in a draft; this campaign is {status}")
    if after.default_region != before.default_region and status in ENDED:
        raise NotAllowedError(f"default_region cannot be changed any more; this campaign is {status}")
    if after.start_at == before.start_at:
        return
    if status not in (_Status.DRAFT, _Status.SCHEDULED):
        raise NotAllowedError(f"start_at cannot be changed any more; this campaign is {status}")
    if status is _Status.SCHEDULED:
        check_start(after.start_at, now)


def normalised(spec: CampaignSpec) -> CampaignSpec:
    """The spec with its time in UTC to the millisecond. Raises WrongValueError for a zone or country nobody knows."""
    if spec.timezone not in _timezones():
        raise WrongValueError("timezone", f"{spec.timezone!r} is no IANA time zone such as Europe/London")
    if spec.default_region is not None and spec.default_region not in phonenumbers.SUPPORTED_REGIONS:
        raise WrongValueError("default_region", f"{spec.default_region!r} is no ISO 3166 country code such as GB")
    return spec.model_copy(update={"start_at": _utc(spec.start_at)})


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:
        raise WrongValueError("start_at", "this time does not exist in UTC") from None
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)  # the store keeps milliseconds


@cache
def _timezones() -> frozenset[str]:
    """From the package, not the machine: what is accepted must not depend on where a process runs."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text("utf-8").split())
