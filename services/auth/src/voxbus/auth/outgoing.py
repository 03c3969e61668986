"""Events of this service on their way into documents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from voxbus.contracts.base import Message
from voxbus.contracts.event import Event
from voxbus.runtime.store import outbox


@dataclass(frozen=True)
class Outgoing:
    """What a repository needs to tell others of its writes."""

    source: str
    """CloudEvents `source` of the events."""
    nudge: Callable[[str, str], None]
    """Tells the relay that the document (collection, id) has something to publish."""

    def event(self, subject: str, data: Message) -> Event[Any]:
        """A fact about `subject`."""
        return Event(source=self.source, subject=subject, data=data)

    def entry(self, subject: str, data: Message) -> dict[str, Any]:
        """What to push to the outbox of the document of `subject`."""
        return outbox.entry(self.event(subject, data))
