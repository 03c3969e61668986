"""Wires the service together."""

from __future__ import annotations

from voxbus.campaigns.caretaker import Caretaker
from voxbus.campaigns.contact_changes import ContactChanges
from voxbus.campaigns.contact_repository import ContactRepository
from voxbus.campaigns.contacts import ContactService
from voxbus.campaigns.directory import Directory
from voxbus.campaigns.handlers import answer_all
from voxbus.campaigns.lookup import Lookup
from voxbus.campaigns.migrations import CAMPAIGNS, CONTACTS, MIGRATIONS
from voxbus.campaigns.moves import MoveService
from voxbus.campaigns.repository import CampaignRepository
from voxbus.campaigns.service import CampaignService
from voxbus.campaigns.settings import CampaignsSettings
from voxbus.runtime.process import Context
from voxbus.runtime.service import ServiceApplication


class CampaignsApplication(ServiceApplication):
    """A process of the service `campaigns`."""

    def __init__(self, context: Context, settings: CampaignsSettings) -> None:
        super().__init__(context, settings, migrations=MIGRATIONS, outboxes=[CAMPAIGNS])
        campaigns = CampaignRepository(self.store, self.relay)
        contacts = ContactRepository(self.store)
        changes = ContactChanges(
            self.store.collection(CAMPAIGNS), self.store.collection(CONTACTS), settings.contacts_lease_s
        )
        lookup = Lookup(campaigns, f"/{context.service}/{context.instance_id}")
        directory = Directory(self.client)
        moves = MoveService(campaigns, lookup, directory)
        self._caretaker = Caretaker(campaigns, contacts, changes, moves, settings.campaign_check_s)
        answer_all(
            self.rpc,
            CampaignService(campaigns, lookup, directory),
            moves,
            ContactService(contacts, changes, lookup),
        )

    async def prepare(self) -> None:
        """Begin to look after what is there."""
        await self._caretaker.start()

    async def stop(self) -> None:
        """End everything."""
        await self._caretaker.stop()
        await super().stop()
