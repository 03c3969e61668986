"""`/campaigns/{campaign_id}/contacts`: whom a campaign calls."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import Depends, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from voxbus.contracts import campaigns
from voxbus.contracts.access import Actor, Permission
from voxbus.voice_gateway.rest.answers import answer, answer_page, done
from voxbus.voice_gateway.rest.backend import AskServices
from voxbus.voice_gateway.rest.bodies import JsonBody
from voxbus.voice_gateway.rest.contacts_upload import CSV, MULTIPART, ImportReport, import_file, received
from voxbus.voice_gateway.rest.deps import DEFAULT_LIMIT, Cursor, Limit, RecordId, require
from voxbus.voice_gateway.rest.openapi import problems
from voxbus.voice_gateway.rest.routing import api_router

router = api_router("/campaigns/{campaign_id}/contacts", "Campaigns")

_READ: Final = require(Permission.CAMPAIGNS_READ)
_WRITE: Final = require(Permission.CAMPAIGNS_WRITE)
_BATCH_TIMEOUT_S: Final = 15.0
"""A thousand contacts take a small store a while."""
Sort = Literal["created_at", "-created_at", "phone_number", "-phone_number"]


class ContactBody(BaseModel):
    """Somebody to call."""

    phone_number: str = Field(
        max_length=64, description="With its country code, unless the campaign has a default region."
    )
    name: str = Field(default="", max_length=200)
    variables: dict[campaigns.VariableName, campaigns.VariableValue] = Field(
        default_factory=dict, max_length=30, description="At most 4,096 characters together."
    )


class ContactsBody(BaseModel):
    """Contacts to add."""

    contacts: tuple[ContactBody, ...] = Field(min_length=1, max_length=campaigns.MAX_BATCH)


_CONTACTS: Final = {
    "contacts": [
        {"phone_number": "+91 98765 43210", "name": "Asha Rao", "variables": {"doctor": "Dr. Iyer"}},
        {"phone_number": "+1 (415) 555-2671"},
    ]
}
_FILE: Final = "phone_number,name,doctor\n+91 98765 43210,Asha Rao,Dr. Iyer\n+1 (415) 555-2671,,\n"
_UPLOAD: Final = {
    "requestBody": {
        "required": True,
        "description": "At most 50 MiB and 200,000 rows.",
        "content": {
            CSV: {"schema": {"type": "string"}, "example": _FILE},
            MULTIPART: {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "string", "contentMediaType": CSV}},
                    "required": ["file"],
                },
                "encoding": {"file": {"contentType": CSV}},
            },
        },
    }
}


@router.get("", response_model=campaigns.ContactPage)
async def list_contacts(
    request: Request,
    campaign_id: RecordId,
    actor: Annotated[Actor, _READ],
    services: AskServices,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    sort: Annotated[Sort, Query(description="`created_at` is the order in which they were added.")] = "created_at",
    status: Annotated[campaigns.ContactStatus | None, Query()] = None,
    phone_number: Annotated[
        str | None, Query(max_length=64, description="How the number begins, in E.164; the + may be left out.")
    ] = None,
) -> Response:
    """The contacts of a campaign."""
    # A + that was not escaped in the address arrives as a space.
    begin = None if phone_number is None else f"+{phone_number.lstrip(' +')}"[:64]
    wanted = campaigns.ListContacts(
        actor=actor,
        campaign_id=campaign_id,
        limit=limit,
        cursor=cursor,
        sort=sort,
        status=status,
        phone_number=begin,
    )
    return answer_page(request, await services.request(campaigns.LIST_CONTACTS, wanted))


@router.post("", response_model=campaigns.ContactsAdded, responses=problems(409))
async def add_contacts(
    campaign_id: RecordId,
    actor: Annotated[Actor, _WRITE],
    body: Annotated[ContactsBody, Depends(JsonBody(ContactsBody, examples={"contacts": _CONTACTS}))],
    services: AskServices,
) -> Response:
    """Add up to 1,000 contacts. Good ones are taken, bad ones reported by their place in the list, from 1.

    Each number is in a campaign once, so it is safe to send them again.
    """
    rows = tuple(
        campaigns.ContactRow(row=row, phone_number=contact.phone_number, name=contact.name, variables=contact.variables)
        for row, contact in enumerate(body.contacts, start=1)
    )
    wanted = campaigns.AddContacts(actor=actor, campaign_id=campaign_id, rows=rows)
    return answer(await services.request(campaigns.ADD_CONTACTS, wanted, timeout_s=_BATCH_TIMEOUT_S))


@router.post("/import", response_model=ImportReport, responses=problems(408, 409, 413, 415, 422), openapi_extra=_UPLOAD)
async def import_contacts(
    request: Request, campaign_id: RecordId, actor: Annotated[Actor, _WRITE], services: AskServices
) -> Response:
    """Add contacts from a CSV file, and report every bad row as a spreadsheet numbers it.

    The first row names the columns: `phone_number` (or `phone`, `mobile`, `number`), `name`; every other column is a
    variable. Columns are separated by `,`, `;` or tabs, the text is UTF-8, UTF-16 or windows-1252. A file that cannot be
    read to its end adds nothing. Good rows are taken; it is safe to send a file again.
    """
    # Before the file: who may not add contacts here shall not have to send it first.
    campaign = await services.request(
        campaigns.GET_CAMPAIGN, campaigns.GetCampaign(actor=actor, campaign_id=campaign_id)
    )

    async def add(rows: tuple[campaigns.ContactRow, ...]) -> campaigns.ContactsAdded:
        wanted = campaigns.AddContacts(actor=actor, campaign_id=campaign_id, rows=rows)
        return await services.request(campaigns.ADD_CONTACTS, wanted, timeout_s=_BATCH_TIMEOUT_S)

    async with received(request) as file:
        return answer(await import_file(file, campaign.contact_count, add))


@router.get("/{contact_id}", response_model=campaigns.Contact)
async def get_contact(
    campaign_id: RecordId, contact_id: RecordId, actor: Annotated[Actor, _READ], services: AskServices
) -> Response:
    """One contact."""
    wanted = campaigns.GetContact(actor=actor, campaign_id=campaign_id, contact_id=contact_id)
    return answer(await services.request(campaigns.GET_CONTACT, wanted))


@router.delete("/{contact_id}", status_code=204, responses=problems(409))
async def delete_contact(
    campaign_id: RecordId, contact_id: RecordId, actor: Annotated[Actor, _WRITE], services: AskServices
) -> Response:
    """Remove a contact. 409 when the campaign has ended."""
    wanted = campaigns.DeleteContact(actor=actor, campaign_id=campaign_id, contact_id=contact_id)
    await services.request(campaigns.DELETE_CONTACT, wanted)
    return done()
