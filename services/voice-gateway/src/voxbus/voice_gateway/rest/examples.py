"""Examples of what is answered, shown in the documentation. Made of the models, so that they cannot be wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel

from voxbus.contracts import agents, auth, campaigns
from voxbus.contracts.access import Permission, Role
from voxbus.voice_gateway.rest.contacts_upload import ImportReport

_MADE: Final = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
_CHANGED: Final = _MADE + timedelta(hours=2)
_USER_ID: Final = "user_5f0c2a9be41d7763c1a0"
_CAMPAIGN_ID: Final = "camp_0d9e6b1f7c2a45b8e3f1"

_USER: Final = auth.User(
    id=_USER_ID, email="grace@example.com", role=Role.USER, created_at=_MADE, updated_at=_CHANGED, revision=2
)
_API_KEY: Final = auth.ApiKey(
    id="key_8c41f2d09a7be6531d20",
    user_id=_USER_ID,
    name="Night shift reports",
    permissions=(Permission.AGENTS_READ, Permission.CAMPAIGNS_READ),
    hint="Q7xZ",
    created_at=_MADE,
)
_SUMMARY: Final = agents.AgentSummary(
    id="front-desk",
    user_id=_USER_ID,
    name="Front desk",
    language="en",
    stt_provider="local",
    llm_provider="scripted",
    tts_provider="local",
    revision=4,
    published_version=2,
    published_at=_CHANGED,
    unpublished_changes=False,
    created_at=_MADE,
    updated_at=_CHANGED,
)
_VERSION: Final = agents.AgentVersion(
    agent_id="front-desk",
    version=2,
    note="Friendlier greeting",
    published_at=_CHANGED,
    published_by=_USER_ID,
    current=True,
)
_CAMPAIGN: Final = campaigns.Campaign(
    id=_CAMPAIGN_ID,
    user_id=_USER_ID,
    name="June check-ups",
    agent_id="front-desk",
    default_region="DE",
    start_at=datetime(2026, 6, 1, 9, 0, tzinfo=UTC),
    timezone="Europe/Berlin",
    status=campaigns.CampaignStatus.DRAFT,
    allowed_moves=(campaigns.CampaignMove.SCHEDULE, campaigns.CampaignMove.START, campaigns.CampaignMove.CANCEL),
    contact_count=120,
    created_at=_MADE,
    updated_at=_CHANGED,
    revision=3,
)
_CONTACT: Final = campaigns.Contact(
    id="contact_77d2c0b6a14e98f35b02",
    campaign_id=_CAMPAIGN_ID,
    phone_number="+493012345678",
    name="Ada",
    variables={"clinic": "North"},
    created_at=_MADE,
)
_REJECTED: Final = (campaigns.RowProblem(row=7, column="phone_number", value="030 1", message="too short for +49"),)
_ANSWERS: Final[tuple[BaseModel, ...]] = (
    _USER,
    auth.UserPage(items=(_USER,)),
    auth.Session(
        access_token="eyJhbGciOiJFZERTQSIsImtpZCI6…",  # noqa: S106  # an example
        refresh_token="vxr_sess_1b7f…",  # noqa: S106  # an example
        expires_in_s=900,
        refresh_expires_in_s=2_592_000,
        user=_USER,
    ),
    _API_KEY,
    auth.ApiKeyPage(items=(_API_KEY,)),
    auth.NewApiKey(key=_API_KEY, secret="vxk_key_8c41f2d09a7be6531d20_…"),  # noqa: S106  # an example
    auth.CallToken(
        token="eyJhbGciOiJFZERTQSIsImtpZCI6…",  # noqa: S106  # an example
        agent_id="front-desk",
        expires_at=_CHANGED,
        voice_url="wss://voice.example.com/v1/voice",
    ),
    _SUMMARY,
    agents.AgentPage(items=(_SUMMARY,), next_cursor="eyJpIjoi…"),
    agents.Agent(**_SUMMARY.model_dump(), draft=agents.AgentSpec(name="Front desk", greeting="Hello!")),
    _VERSION,
    agents.AgentVersionPage(items=(_VERSION,)),
    agents.AgentVersionDetail(**_VERSION.model_dump(), spec=agents.AgentSpec(name="Front desk", greeting="Hello!")),
    agents.AgentComparison(
        agent_id="front-desk",
        before="1",
        after="2",
        differences=(agents.Difference(path="/greeting", change="changed", before="Hello.", after="Hello!"),),
    ),
    _CAMPAIGN,
    campaigns.CampaignPage(
        items=(campaigns.CampaignSummary.model_validate(_CAMPAIGN.model_dump()),), next_cursor="eyJpIjoi…"
    ),
    _CONTACT,
    campaigns.ContactPage(items=(_CONTACT,)),
    campaigns.ContactsAdded(added=118, duplicates=1, rejected=_REJECTED, contact_count=238),
    ImportReport(
        rows=120,
        added=118,
        duplicates=1,
        rejected_count=1,
        rejected=_REJECTED,
        contact_count=238,
        encoding="utf-8",
        delimiter=",",
    ),
)


def answer_examples() -> dict[str, Any]:
    """Name of a schema to its example."""
    return {type(example).__name__: example.model_dump(mode="json") for example in _ANSWERS}
