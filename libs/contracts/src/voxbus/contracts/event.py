"""The envelope of events: CloudEvents 1.0 attributes in NATS headers, the data as JSON in the body.

Header names follow the CloudEvents NATS protocol binding (binary content mode): `ce-` and the attribute's name.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Generic, TypeVar

from pydantic import Field

from voxbus.contracts import agents, auth_events, campaign_events, subjects
from voxbus.contracts.base import Message, new_id
from voxbus.contracts.call import CallEnded, CallStarted, StreamTakenOver, TurnCompleted

EVENT_TYPES: Final[dict[type[Message], tuple[str, str]]] = {
    CallStarted: ("call", "started"),
    TurnCompleted: ("turn", "completed"),
    StreamTakenOver: ("stream", "taken_over"),
    CallEnded: ("call", "ended"),
    auth_events.UserCreated: ("user", "created"),
    auth_events.UserUpdated: ("user", "updated"),
    auth_events.UserDeleted: ("user", "deleted"),
    auth_events.ApiKeyRevoked: ("api_key", "revoked"),
    auth_events.SigningKeysChanged: ("signing_keys", "changed"),
    agents.AgentCreated: ("agent", "created"),
    agents.AgentUpdated: ("agent", "updated"),
    agents.AgentPublished: ("agent", "published"),
    agents.AgentDeleted: ("agent", "deleted"),
    campaign_events.CampaignCreated: ("campaign", "created"),
    campaign_events.CampaignUpdated: ("campaign", "updated"),
    campaign_events.CampaignMoved: ("campaign", "moved"),
    campaign_events.CampaignDeleted: ("campaign", "deleted"),
}
"""Data model of each event, to the noun and verb of its subject and type."""

DataT = TypeVar("DataT", bound=Message)


class Event(Message, Generic[DataT]):
    """A fact. `id` is unique for ever: publishers use it as `Nats-Msg-Id`, consumers are idempotent on it."""

    id: str = Field(default_factory=lambda: new_id("evt"))
    source: str
    subject: str
    """What the fact is about, such as the call's id."""
    time: datetime = Field(default_factory=lambda: datetime.now(UTC))
    data: DataT
    traceparent: str | None = None

    @property
    def type(self) -> str:
        """The CloudEvents type, such as `voxbus.call.started.v1`."""
        noun, verb = EVENT_TYPES[type(self.data)]
        return f"voxbus.{noun}.{verb}.v1"

    @property
    def bus_subject(self) -> str:
        """Where it is published, such as `voxbus.event.call.started.v1`."""
        noun, verb = EVENT_TYPES[type(self.data)]
        return subjects.EVENT(noun=noun, verb=verb)

    def headers(self) -> dict[str, str]:
        """The NATS headers of this event."""
        headers = {
            "Nats-Msg-Id": self.id,
            "ce-specversion": "1.0",
            "ce-id": self.id,
            "ce-source": self.source,
            "ce-type": self.type,
            "ce-subject": self.subject,
            "ce-time": self.time.isoformat(),
            "content-type": "application/json",
        }
        if self.traceparent:
            headers["traceparent"] = self.traceparent
        return headers
