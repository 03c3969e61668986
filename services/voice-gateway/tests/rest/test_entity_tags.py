"""No update is lost, and nothing is sent twice for nothing."""

from __future__ import annotations

import pytest
from rest_stand import RestStand, a_user, problem

from voxbus.contracts import auth

pytestmark = pytest.mark.unit


@pytest.fixture
def stand() -> RestStand:
    """The API on fakes, with user u1 in revision 7."""
    stand = RestStand()
    for operation in (auth.GET_USER, auth.UPDATE_USER):
        stand.services.answer(operation, a_user("u1", revision=7))
    stand.services.answer(auth.DELETE_USER, auth.Done())
    return stand


async def test_reads_tell_the_tag(stand: RestStand) -> None:
    """A record comes with a strong ETag of its revision."""
    assert (await stand.client("admin").get("/users/u1")).headers["etag"] == '"7"'


@pytest.mark.parametrize("known", ['"7"', 'W/"7"', '"6", "7"', "*", '"a", W/"7"'])
async def test_not_modified(stand: RestStand, known: str) -> None:
    """A client that has the state gets 304 without a body."""
    answer = await stand.client("admin").get("/users/u1", headers={"If-None-Match": known})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", '"7"')


@pytest.mark.parametrize("known", ['"6"', "7", "", '"77"', "W/7"])
async def test_modified(stand: RestStand, known: str) -> None:
    """A client that has another state gets the record."""
    assert (await stand.client("admin").get("/users/u1", headers={"If-None-Match": known})).status_code == 200


@pytest.mark.parametrize(
    ("sent", "revision"), [('"7"', 7), ("*", None), (' "7" ', 7), ('W/"7"', 0), ('"abc"', 0), ('"0"', 0), ('""', 0)]
)
async def test_what_if_match_asks_for(stand: RestStand, sent: str, revision: int | None) -> None:
    """`*` is any state; a weak tag and one that is none of ours are of no state, which the service finds stale."""
    answer = await stand.client("admin").patch("/users/u1", json={"enabled": False}, headers={"If-Match": sent})
    assert answer.status_code == 200
    assert stand.services.asked[-1][1].expected_revision == revision


async def test_without_if_match(stand: RestStand) -> None:
    """A change without If-Match is 428, and is not done."""
    problem(await stand.client("admin").patch("/users/u1", json={"enabled": False}), 428, "precondition_required")
    problem(await stand.client("admin").delete("/users/u1"), 428, "precondition_required")
    assert stand.services.asked == []


@pytest.mark.parametrize("sent", ["7", '"6", "7"', '"7', ""])
async def test_bad_if_match(stand: RestStand, sent: str) -> None:
    """What is no single entity tag is a 422."""
    answer = await stand.client("admin").delete("/users/u1", headers={"If-Match": sent})
    assert problem(answer, 422, "invalid")["errors"][0]["pointer"] == "/If-Match"
