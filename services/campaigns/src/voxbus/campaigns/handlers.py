"""Which request is answered by which use case."""

from __future__ import annotations

from voxbus.campaigns.contacts import ContactService
from voxbus.campaigns.moves import MoveService
from voxbus.campaigns.service import CampaignService
from voxbus.contracts import campaigns
from voxbus.runtime.rpc import RpcServer


def answer_all(rpc: RpcServer, service: CampaignService, moves: MoveService, contacts: ContactService) -> None:
    """Register every operation of the contract."""
    rpc.answer(campaigns.CREATE_CAMPAIGN, service.create)
    rpc.answer(campaigns.GET_CAMPAIGN, service.get)
    rpc.answer(campaigns.LIST_CAMPAIGNS, service.page)
    rpc.answer(campaigns.PATCH_CAMPAIGN, service.patch)
    rpc.answer(campaigns.DELETE_CAMPAIGN, service.delete)
    rpc.answer(campaigns.CAMPAIGNS_OF_AGENT, service.of_agent)
    rpc.answer(campaigns.MOVE_CAMPAIGN, moves.move)
    rpc.answer(campaigns.ADD_CONTACTS, contacts.add)
    rpc.answer(campaigns.GET_CONTACT, contacts.get)
    rpc.answer(campaigns.LIST_CONTACTS, contacts.page)
    rpc.answer(campaigns.DELETE_CONTACT, contacts.delete)
