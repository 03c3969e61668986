"""A campaign as its caller may have it, and what every change of one shares."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from voxbus.campaigns.domain import NotAllowedError
from voxbus.campaigns.records import Document
from voxbus.campaigns.repository import CampaignRepository
from voxbus.contracts.access import Actor
from voxbus.contracts.event import DataT, Event
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError, not_found

Edit = Callable[[Document], Awaitable[Document | None]]
"""Changes a document that is still as it was read; None: it was not."""
_ATTEMPTS: Final = 10
_PAUSE_S: Final = 0.02


class Lookup:
    """Finds campaigns for an actor."""

    def __init__(self, repository: CampaignRepository, source: str) -> None:
        self._repository = repository
        self._source = source

    def event(self, campaign_id: str, data: DataT, traceparent: str | None = None) -> Event[DataT]:
        """A fact about a campaign, told by this process."""
        return Event(source=self._source, subject=campaign_id, data=data, traceparent=traceparent)

    async def visible(self, campaign_id: str, actor: Actor | None) -> Document:
        """Raises NOT_FOUND, whether it is another's or nobody's."""
        document = await self._repository.find(campaign_id)
        if document is None or (actor is not None and not actor.sees(document["user_id"])):
            raise not_found("campaign")
        return document

    async def edit(self, campaign_id: str, actor: Actor | None, expected_revision: int | None, edit: Edit) -> Document:
        """The campaign after an edit, which is tried anew on what others made of it meanwhile.

        Raises NOT_FOUND, STALE when it is not at the expected revision, CONFLICT for a NotAllowedError of the edit.
        """
        for attempt in range(_ATTEMPTS):
            await asyncio.sleep(random.uniform(0, attempt * _PAUSE_S))  # noqa: S311  # so that not all come again at once
            document = await self.visible(campaign_id, actor)
            _require_revision(document, expected_revision)
            try:
                changed = await edit(document)
            except NotAllowedError as error:
                raise conflict(str(error)) from None
            if changed is not None:
                return changed
        raise conflict("others are changing this campaign at the moment", retryable=True)


def conflict(message: str, *, retryable: bool = False) -> RequestFailedError:
    """CONFLICT."""
    return RequestFailedError(RequestErrorCode.CONFLICT, message, retryable=retryable)


def _require_revision(document: Document, expected: int | None) -> None:
    if expected is not None and expected != document["revision"]:
        message = f"the campaign was changed: it is at revision {document['revision']}, not {expected}"
        raise RequestFailedError(RequestErrorCode.STALE, message)
