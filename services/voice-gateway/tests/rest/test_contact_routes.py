"""Contacts over HTTP, on a fake of the campaigns service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from rest_stand import NOW, RestStand, problem

from voxbus.contracts import campaigns
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError
from voxbus.voice_gateway.rest import contacts_upload

pytestmark = pytest.mark.unit

CONTACTS = "/campaigns/camp_1/contacts"
IMPORT = f"{CONTACTS}/import"
CSV = {"content-type": "text/csv"}


class FakeCampaigns:
    """Takes contacts: rejects those without a +, and knows those that it has."""

    def __init__(self, stand: RestStand) -> None:
        self.stand = stand
        self.has: set[str] = set()
        self.batches: list[int] = []
        self.failures: list[Exception] = []
        """Raised by the next batches, one each."""
        stand.services.answer(campaigns.GET_CAMPAIGN, self.campaign())
        stand.services.answer(campaigns.ADD_CONTACTS, self.add)

    def campaign(self) -> campaigns.Campaign:
        """The only one."""
        return campaigns.Campaign(
            id="camp_1",
            user_id="user_1",
            name="Check-ups",
            agent_id="front-desk",
            status=campaigns.CampaignStatus.DRAFT,
            allowed_moves=(),
            contact_count=3,
            created_at=NOW,
            updated_at=NOW,
            revision=1,
        )

    def add(self, request: campaigns.AddContacts) -> campaigns.ContactsAdded:
        """As the service does."""
        if self.failures:
            raise self.failures.pop(0)
        self.batches.append(len(request.rows))
        bad = [row for row in request.rows if not row.phone_number.startswith("+")]
        good = {row.phone_number for row in request.rows if row not in bad}
        added = len(good - self.has)
        self.has |= good
        return campaigns.ContactsAdded(
            added=added,
            duplicates=len(request.rows) - len(bad) - added,
            rejected=tuple(
                campaigns.RowProblem(row=row.row, column="phone_number", value=row.phone_number, message="no number")
                for row in bad
            ),
            contact_count=3 + len(self.has),
        )

    async def upload(self, content: bytes, **kwargs: Any) -> Any:
        """Import a file as CSV."""
        async with self.stand.client() as client:
            return await client.post(IMPORT, content=content, headers={**CSV, **kwargs.pop("headers", {})}, **kwargs)


@pytest.fixture
def service() -> FakeCampaigns:
    """The service and the API in front of it."""
    return FakeCampaigns(RestStand())


async def test_contacts_of_a_list_are_numbered_from_1(service: FakeCampaigns) -> None:
    """So that a report can be read beside the list."""
    body = {"contacts": [{"phone_number": "+1", "variables": {"a": "b"}}, {"phone_number": "x"}]}
    async with service.stand.client() as client:
        answer = await client.post(CONTACTS, json=body)
    assert answer.status_code == 200
    assert (answer.json()["added"], answer.json()["rejected"][0]["row"]) == (1, 2)


async def test_a_list_that_is_too_long_or_empty_is_refused(service: FakeCampaigns) -> None:
    """1 to 1,000 contacts; more come as a file or in parts."""
    async with service.stand.client() as client:
        for count in (0, 1001):
            answer = await client.post(CONTACTS, json={"contacts": [{"phone_number": "+1"}] * count})
            assert problem(answer, 422, "invalid")["errors"][0]["pointer"] == "/contacts"


@pytest.mark.parametrize(("given", "asked"), [("+1415", "+1415"), ("%2B1415", "+1415"), ("1415", "+1415")])
async def test_a_plus_need_not_be_escaped(service: FakeCampaigns, given: str, asked: str) -> None:
    """In an address it means a space, and nobody looks for numbers that begin with a space."""
    service.stand.services.answer(campaigns.LIST_CONTACTS, campaigns.ContactPage(items=()))
    async with service.stand.client() as client:
        assert (await client.get(f"{CONTACTS}?phone_number={given}")).status_code == 200
    assert service.stand.services.asked[-1][1].phone_number == asked


async def test_a_file_is_added_and_reported(service: FakeCampaigns) -> None:
    """Rows that the file spoils and rows that the service refuses, in the order and with the titles of the file."""
    answer = await service.upload(
        b"Phone;Name;City\n+1;Ada;Rome\nnobody;Bob\n+2;x;" + b"y" * 513 + b"\n\n+1;Ada\n+3;Eve\n"
    )
    assert answer.status_code == 200
    assert answer.json() == {
        "rows": 5,
        "added": 2,
        "duplicates": 1,
        "rejected_count": 2,
        "rejected": [
            {"row": 3, "column": "Phone", "value": "nobody", "message": "no number"},
            {"row": 4, "column": "City", "value": "y" * 100, "message": "513 characters, at most 512 are allowed"},
        ],
        "contact_count": 5,
        "encoding": "utf-8",
        "delimiter": ";",
    }


async def test_a_form_is_as_good_as_a_body(service: FakeCampaigns) -> None:
    """As browsers send files, whatever the field is called."""
    async with service.stand.client() as client:
        answer = await client.post(
            IMPORT, files={"list": ("a.csv", "phone,name\n+1,é".encode("utf-16"))}, data={"note": "x"}
        )
    assert (answer.json()["added"], answer.json()["encoding"]) == (1, "utf-16")


async def test_a_file_without_rows_changes_nothing(service: FakeCampaigns) -> None:
    """And is no mistake."""
    answer = await service.upload(b"phone\n")
    assert (answer.json()["rows"], answer.json()["contact_count"], service.batches) == (0, 3, [])


async def test_a_large_file_goes_in_batches(service: FakeCampaigns) -> None:
    """Of a thousand rows, or fewer where those would not fit in one message of the bus."""
    answer = await service.upload(b"phone\n" + b"".join(b"+%d\n" % n for n in range(2500)))
    assert (answer.json()["added"], service.batches) == (2500, [1000, 1000, 500])
    service.batches.clear()
    wide = b"".join(b"+9000%d,%s\n" % (n, b",".join([b"x" * 500] * 8)) for n in range(250))
    answer = await service.upload(b"phone," + b",".join(b"v%d" % n for n in range(8)) + b"\n" + wide)
    assert answer.json()["added"] == 250
    assert len(service.batches) == 3


async def test_a_report_has_the_first_thousand_problems(service: FakeCampaigns) -> None:
    """And the number of all."""
    answer = await service.upload(b"phone\n" + b"nobody\n" * 2500)
    assert (answer.json()["rejected_count"], len(answer.json()["rejected"])) == (2500, 1000)
    assert answer.json()["rejected"][-1]["row"] == 1001


@pytest.mark.parametrize("content", [b"name\nAda\n", b'phone\n+1\n"+2\n', b""])
async def test_a_file_that_cannot_be_used_adds_nothing(service: FakeCampaigns, content: bytes) -> None:
    """Also when only its end is broken: 422 with what is wrong."""
    assert problem(await service.upload(content), 422, "invalid")["errors"][0]["detail"]
    assert service.batches == []


async def test_only_tables_are_taken(service: FakeCampaigns) -> None:
    """Other types are 415, unknown character sets too; a form must have a file and be one."""
    assert "accept" in (await service.upload(b"{}", headers={"content-type": "application/json"})).headers
    for kind in ("application/json", "text/csv; charset=ebcdic-cp-be"):
        problem(await service.upload(b"{}", headers={"content-type": kind}), 415, "unsupported_media_type")
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        problem(await service.upload(b"phone", headers={"content-type": kind}), 422, "invalid")
    async with service.stand.client() as client:
        answer = await client.post(IMPORT, files={"note": (None, "x")})
    assert "the form has no file" in problem(answer, 422, "invalid")["detail"]


async def test_the_charset_of_the_request_is_believed(service: FakeCampaigns) -> None:
    """What is not what it says is refused, not guessed."""
    latin = {"content-type": "text/csv; charset=ISO-8859-1"}
    answer = await service.upload("phone,name\n+1,é".encode("latin-1"), headers=latin)
    assert answer.json()["encoding"] == "iso8859-1"
    unicode = {"content-type": "text/csv; charset=utf-8"}
    problem(await service.upload(b"phone,name\n+1,\xe9", headers=unicode), 422, "invalid")
    assert (await service.upload(b"\xef\xbb\xbfphone\n+2", headers=unicode)).json()["added"] == 1


async def _endless() -> AsyncIterator[bytes]:
    yield b"phone\n"
    while True:
        yield b"+1\n" * 100_000


async def test_a_file_that_is_too_large_is_refused(service: FakeCampaigns) -> None:
    """At once when the length is announced, and as soon as it is seen when it is not."""
    announced = await service.upload(b"", headers={"content-length": str(contacts_upload.MAX_FILE_BYTES + 1)})
    problem(announced, 413, "too_large")
    async with service.stand.client() as client:
        problem(await client.post(IMPORT, content=_endless(), headers=CSV), 413, "too_large")
    assert service.batches == []


async def _stalling() -> AsyncIterator[bytes]:
    yield b"phone\n"
    await asyncio.Event().wait()


async def test_a_file_that_stops_coming_is_given_up(service: FakeCampaigns, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection and its place on the disk are wanted back."""
    monkeypatch.setattr(contacts_upload, "STALLED_S", 0.05)
    async with service.stand.client() as client:
        problem(await client.post(IMPORT, content=_stalling(), headers=CSV), 408, "timeout")


async def test_who_may_not_add_contacts_need_not_send_them(service: FakeCampaigns) -> None:
    """A campaign that is not there is told before the file is looked at."""
    service.stand.services.fail(campaigns.GET_CAMPAIGN, RequestErrorCode.NOT_FOUND)
    problem(await service.upload(b"no table"), 404, "not_found")
    async with service.stand.client("powerless") as client:
        problem(await client.post(IMPORT, content=b"no table", headers=CSV), 403, "forbidden")


async def test_a_short_absence_of_the_service_is_waited_for(
    service: FakeCampaigns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch may be sent again, and the file is added whole."""
    monkeypatch.setattr(contacts_upload, "FIRST_PAUSE_S", 0.001)
    away = RequestFailedError(RequestErrorCode.UNAVAILABLE, "away", retryable=True)
    service.failures = [away, away]
    answer = await service.upload(b"phone\n" + b"".join(b"+%d\n" % n for n in range(1500)))
    assert answer.json()["added"] == 1500


@pytest.mark.parametrize(("code", "status"), [(RequestErrorCode.UNAVAILABLE, 503), (RequestErrorCode.CONFLICT, 409)])
async def test_a_file_that_was_interrupted_says_how_far_it_came(
    service: FakeCampaigns, monkeypatch: pytest.MonkeyPatch, code: RequestErrorCode, status: int
) -> None:
    """What was added stays; sent again, it is duplicates."""
    monkeypatch.setattr(contacts_upload, "FIRST_PAUSE_S", 0.001)
    content = b"phone\n" + b"".join(b"+%d\n" % n for n in range(1500))
    failure = RequestFailedError(code, "no", retryable=code is RequestErrorCode.UNAVAILABLE)
    add = service.add

    def first_only(request: campaigns.AddContacts) -> campaigns.ContactsAdded:
        if service.batches:
            raise failure
        return add(request)

    service.stand.services.answer(campaigns.ADD_CONTACTS, first_only)
    answer = await service.upload(content)
    assert answer.status_code == status
    assert "1000 contacts were added before" in answer.json()["detail"]
    service.stand.services.answer(campaigns.ADD_CONTACTS, add)
    again = (await service.upload(content)).json()
    assert (again["added"], again["duplicates"]) == (500, 1000)
