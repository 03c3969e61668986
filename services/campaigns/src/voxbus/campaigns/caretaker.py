"""What nobody asks for: starting due campaigns, and finishing what a process that died has begun."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import structlog
from pymongo.errors import PyMongoError

from voxbus.campaigns.contact_changes import ContactChanges, is_changing
from voxbus.campaigns.contact_repository import ContactRepository
from voxbus.campaigns.moves import MoveService
from voxbus.campaigns.repository import CampaignRepository
from voxbus.runtime.rpc import RequestFailedError
from voxbus.runtime.store.documents import now

log = structlog.get_logger(__name__)

_TICKS_PER_CLEANING: Final = 5
_MOVE_TAKES: Final = timedelta(seconds=10)
"""A move that has not looked after its agent by then never will."""


class Caretaker:
    """Looks at the campaigns every `interval_s`; every process has one, and they do not mind each other."""

    def __init__(
        self,
        campaigns: CampaignRepository,
        contacts: ContactRepository,
        changes: ContactChanges,
        moves: MoveService,
        interval_s: float,
    ) -> None:
        self._campaigns = campaigns
        self._contacts = contacts
        self._changes = changes
        self._moves = moves
        self._interval_s = interval_s
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="caretaker")

    async def stop(self) -> None:
        """End; what is interrupted is taken up by the next process."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        ticks = 0
        troubled = False
        while True:
            try:
                await self._moves.start_due()
                if ticks % _TICKS_PER_CLEANING == 0:
                    await self.clean()
            except (PyMongoError, RequestFailedError) as error:
                if not troubled:
                    log.warning("campaigns not looked after, trying again", error=type(error).__name__)
                troubled = True
            except Exception:
                log.exception("looking after campaigns failed")
            else:
                troubled = False
            ticks += 1
            await asyncio.sleep(self._interval_s)

    async def clean(self) -> None:
        """Finish what is unfinished."""
        for campaign_id in await self._campaigns.abandoned_changes(now()):
            await self._changes.recount(campaign_id)
        await self._remove()
        await self._moves.check_agents(now() - _MOVE_TAKES)

    async def _remove(self) -> None:
        for document in await self._campaigns.removing():
            if is_changing(document, now()):
                continue  # somebody may still add contacts
            await self._contacts.delete_all(document["_id"], document["contact_positions"])
            if await self._campaigns.forget(document["_id"]):
                log.info("campaign removed with its contacts", campaign_id=document["_id"])
