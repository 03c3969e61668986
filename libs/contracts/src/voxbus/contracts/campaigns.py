"""Campaigns and their contacts: the requests that `campaigns` answers."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AwareDatetime, Field, JsonValue, StringConstraints

from voxbus.contracts.base import Identifier, Message
from voxbus.contracts.rpc import CreateRequest, Done, Operation, PageRequest, Request

MAX_BATCH: Final = 1000
"""Contacts in one request."""
VariableName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
VariableValue = Annotated[str, StringConstraints(max_length=512)]


class CampaignStatus(StrEnum):
    """Where a campaign is in its life."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class CampaignMove(StrEnum):
    """What moves a campaign on."""

    SCHEDULE = "schedule"
    """draft → scheduled; needs `start_at` in the future."""
    UNSCHEDULE = "unschedule"
    """scheduled → draft"""
    START = "start"
    """draft, scheduled → running"""
    PAUSE = "pause"
    """running → paused"""
    RESUME = "resume"
    """paused → running"""
    COMPLETE = "complete"
    """running, paused → completed"""
    CANCEL = "cancel"
    """draft, scheduled, running, paused → cancelled"""


class CampaignSpec(Message):
    """What is edited of a campaign."""

    name: str = Field(min_length=1, max_length=100, pattern=r"\S")
    description: str = Field(default="", max_length=1000)
    agent_id: Identifier
    """Changed only while it is a draft."""
    default_region: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")
    """ISO 3166 country of numbers without a country code; None: they are refused."""
    start_at: AwareDatetime | None = None
    """When a scheduled campaign starts by itself. With a time zone offset."""
    timezone: str = Field(default="UTC", max_length=64)
    """IANA name of the zone in which people read its times."""
    metadata: dict[VariableName, VariableValue] = Field(default_factory=dict, max_length=50)


class Campaign(CampaignSpec):
    """A campaign."""

    id: Identifier
    user_id: Identifier
    status: CampaignStatus
    allowed_moves: tuple[CampaignMove, ...]
    """What can be done with it now."""
    contact_count: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    created_at: datetime
    updated_at: datetime
    revision: int
    """Grows with each change; not with its contacts."""


class CampaignSummary(Message):
    """A campaign in a list."""

    id: Identifier
    user_id: Identifier
    name: str
    agent_id: Identifier
    status: CampaignStatus
    allowed_moves: tuple[CampaignMove, ...]
    contact_count: int = 0
    start_at: datetime | None = None
    timezone: str = "UTC"
    started_at: datetime | None = None
    ended_at: datetime | None = None
    created_at: datetime
    updated_at: datetime
    revision: int


class CampaignPage(Message):
    """A page of campaigns."""

    items: tuple[CampaignSummary, ...]
    next_cursor: str | None = None


class CreatedCampaign(Message):
    """`replayed`: an earlier request with the same idempotency key made it."""

    campaign: Campaign
    replayed: bool = False


class ContactStatus(StrEnum):
    """What became of a contact."""

    PENDING = "pending"


class Contact(Message):
    """Whom a campaign calls; each number once."""

    id: Identifier
    campaign_id: Identifier
    phone_number: str
    """E.164, such as `+14155550123`."""
    name: str = ""
    variables: dict[str, str] = Field(default_factory=dict)
    status: ContactStatus = ContactStatus.PENDING
    created_at: datetime


class ContactPage(Message):
    """A page of contacts. It may hold fewer than asked for, when they are long, and still have a next one."""

    items: tuple[Contact, ...]
    next_cursor: str | None = None


class ContactRow(Message):
    """A contact as it came: `row` is its place in the file or list, from 1."""

    row: int = Field(ge=1)
    phone_number: str = Field(max_length=64)
    name: str = Field(default="", max_length=200)
    variables: dict[VariableName, VariableValue] = Field(default_factory=dict, max_length=30)
    """All keys and values together at most 4,096 characters."""


class RowProblem(Message):
    """Why a row was not taken."""

    row: int
    """As a spreadsheet counts it: 1 is the first line of the file, its header."""
    column: str = ""
    value: str = Field(default="", max_length=100)
    message: str


class ContactsAdded(Message):
    """What came of the rows; every row is counted once."""

    added: int
    duplicates: int
    """Numbers that the campaign has already, or that came twice."""
    rejected: tuple[RowProblem, ...]
    contact_count: int
    """Contacts of the campaign afterwards."""


class CreateCampaign(CreateRequest):
    """INVALID at `/agent_id` when the actor sees no such agent. Only an admin names another owner."""

    user_id: Identifier | None = None
    spec: CampaignSpec


class GetCampaign(Request):
    """One campaign."""

    campaign_id: Identifier


class ListCampaigns(PageRequest):
    """Sorts by `created_at` (default, descending), `updated_at`, `start_at` and `name`."""

    name: str | None = Field(default=None, max_length=100)
    user_id: Identifier | None = None
    agent_id: Identifier | None = None
    status: CampaignStatus | None = None


class PatchCampaign(Request):
    """A JSON merge patch (RFC 7396) of the spec. `user_id` is for admins. CONFLICT when the status does not allow it."""

    campaign_id: Identifier
    expected_revision: int | None = None
    patch: dict[str, JsonValue]


class DeleteCampaign(Request):
    """With its contacts. CONFLICT while it is running or paused: cancel it first."""

    campaign_id: Identifier
    expected_revision: int | None = None


class MoveCampaign(Request):
    """CONFLICT when the status does not allow the move; the message says what is allowed."""

    campaign_id: Identifier
    move: CampaignMove
    expected_revision: int | None = None


class AddContacts(Request):
    """Good rows are taken, bad ones reported. CONFLICT when the campaign has ended."""

    campaign_id: Identifier
    rows: tuple[ContactRow, ...] = Field(min_length=1, max_length=MAX_BATCH)


class GetContact(Request):
    """One contact."""

    campaign_id: Identifier
    contact_id: Identifier


class ListContacts(PageRequest):
    """In the order they were added; sorts by `created_at` and `phone_number`."""

    campaign_id: Identifier
    status: ContactStatus | None = None
    phone_number: str | None = Field(default=None, max_length=64)
    """How the number begins, in E.164."""


class DeleteContact(Request):
    """CONFLICT when the campaign has ended."""

    campaign_id: Identifier
    contact_id: Identifier


class CampaignsOfAgent(Request):
    """For the platform: the campaigns that are scheduled, running or paused and use an agent."""

    agent_id: Identifier


class AgentUse(Message):
    """At most 20 of them, and how many there are."""

    campaigns: tuple[CampaignSummary, ...]
    total: int


CREATE_CAMPAIGN: Final = Operation("campaigns", "create", CreateCampaign, CreatedCampaign)
GET_CAMPAIGN: Final = Operation("campaigns", "get", GetCampaign, Campaign, safe=True)
LIST_CAMPAIGNS: Final = Operation("campaigns", "list", ListCampaigns, CampaignPage, safe=True)
PATCH_CAMPAIGN: Final = Operation("campaigns", "patch", PatchCampaign, Campaign)
DELETE_CAMPAIGN: Final = Operation("campaigns", "delete", DeleteCampaign, Done)
MOVE_CAMPAIGN: Final = Operation("campaigns", "move", MoveCampaign, Campaign)
ADD_CONTACTS: Final = Operation("campaigns", "add_contacts", AddContacts, ContactsAdded)
GET_CONTACT: Final = Operation("campaigns", "get_contact", GetContact, Contact, safe=True)
LIST_CONTACTS: Final = Operation("campaigns", "list_contacts", ListContacts, ContactPage, safe=True)
DELETE_CONTACT: Final = Operation("campaigns", "delete_contact", DeleteContact, Done)
CAMPAIGNS_OF_AGENT: Final = Operation("campaigns", "of_agent", CampaignsOfAgent, AgentUse, safe=True)

OPERATIONS: Final = (
    CREATE_CAMPAIGN, GET_CAMPAIGN, LIST_CAMPAIGNS, PATCH_CAMPAIGN, DELETE_CAMPAIGN, MOVE_CAMPAIGN, ADD_CONTACTS,
    GET_CONTACT, LIST_CONTACTS, DELETE_CONTACT, CAMPAIGNS_OF_AGENT,
)  # fmt: skip
