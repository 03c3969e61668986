"""What is taken as a body, and what is not."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_stand import PASSWORD, RestStand, a_session, a_user, an_agent, problem

from voxbus.contracts import agents, auth
from voxbus.contracts.agents import AgentSpec
from voxbus.voice_gateway.rest.bodies import MAX_DEPTH, MAX_VALUES, check_json, parse_json
from voxbus.voice_gateway.rest.errors import MAX_PROBLEMS, ProblemError, pointer

pytestmark = pytest.mark.unit

LOGIN = {"email": "grace@example.com", "password": PASSWORD}
JSON = {"content-type": "application/json"}


@pytest.fixture
def stand() -> RestStand:
    """The API on fakes."""
    stand = RestStand()
    stand.services.answer(auth.LOG_IN, a_session())
    stand.services.answer(auth.CREATE_USER, auth.CreatedUser(user=a_user()))
    stand.services.answer(agents.CREATE_AGENT, agents.CreatedAgent(agent=an_agent()))
    return stand


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[]", "object"),
        (b"null", "object"),
        (b'"x"', "object"),
        (b'{"email": NaN}', "JSON"),
        (b'{"email": "\\ud800"}', "JSON"),
        (b'{"email": "\xff"}', "JSON"),
        (b"[" * 100_000, "JSON"),
    ],
)
async def test_what_is_no_json_object(stand: RestStand, content: bytes, word: str) -> None:
    """A body that is no JSON object is a 422 that says so."""
    answer = await stand.client(None).post("/auth/login", content=content, headers=JSON)
    assert word in problem(answer, 422, "invalid")["detail"]


async def test_missing_and_unknown_fields(stand: RestStand) -> None:
    """Each wrong field is named by its pointer, and an unknown one gets the nearest known name."""
    answer = await stand.client(None).post("/auth/login", json={"emial": "a@b.cd", "password": "x"})
    errors = {error["pointer"]: error["detail"] for error in problem(answer, 422, "invalid")["errors"]}
    assert errors["/emial"] == "unknown field; did you mean `email`?"
    assert "required" in errors["/email"]


async def test_unknown_fields_deep_inside(stand: RestStand) -> None:
    """Unknown fields are refused inside of objects and lists too, with the names that are known there."""
    body = {"name": "x", "limits": {"silence": 3}, "tools": [{"name": "a", "descripton": "b"}]}
    answer = await stand.client().post("/agents", json=body)
    errors = {error["pointer"]: error["detail"] for error in problem(answer, 422, "invalid")["errors"]}
    assert errors == {
        "/limits/silence": "unknown field; did you mean `silence_s`?",
        "/tools/0/descripton": "unknown field; did you mean `description`?",
    }


@pytest.mark.parametrize("body", [{**LOGIN, "password": 5}, {**LOGIN, "email": None}, {**LOGIN, "email": ["a"]}])
async def test_types_are_those_of_json(stand: RestStand, body: dict[str, Any]) -> None:
    """A number is no text and a text no number."""
    problem(await stand.client(None).post("/auth/login", json=body), 422, "invalid")


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "application/json; charset=utf-16"],
)
async def test_other_content_types(stand: RestStand, content_type: str) -> None:
    """What is not said to be JSON in UTF-8 is a 415."""
    headers = {"content-type": content_type} if content_type else {}
    answer = await stand.client(None).post("/auth/login", content=b'{"email":"a@b.cd","password":"x"}', headers=headers)
    problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=UTF-8"])
async def test_json_however_it_is_written(stand: RestStand, content_type: str) -> None:
    """The case of the type does not matter, nor a charset that is UTF-8."""
    answer = await stand.client(None).post(
        "/auth/login", content=b'{"email":"a@b.cd","password":"x"}', headers={"content-type": content_type}
    )
    assert answer.status_code == 200


async def test_merge_patch_content_type(stand: RestStand) -> None:
    """PATCH takes a merge patch under both names."""
    stand.services.answer(auth.UPDATE_USER, a_user(revision=2))
    for kind in ("application/merge-patch+json", "application/json"):
        answer = await stand.client("admin").patch(
            "/users/u1", content=b'{"enabled":false}', headers={"content-type": kind, "If-Match": "*"}
        )
        assert answer.status_code == 200
    answer = await stand.client("admin").patch(
        "/users/u1", content=b"[]", headers={"content-type": "application/json-patch+json", "If-Match": "*"}
    )
    problem(answer, 415, "unsupported_media_type")
    assert "application/merge-patch+json" in answer.headers["accept-patch"]


async def test_nulls_of_a_patch_reach_the_service(stand: RestStand) -> None:
    """A null in a merge patch takes a field away, so it must survive the way."""
    stand.services.answer(agents.PATCH_AGENT, an_agent())
    body = {"greeting": None, "limits": {"silence_s": None}}
    assert (await stand.client().patch("/agents/a1", json=body, headers={"If-Match": "*"})).status_code == 200
    assert stand.services.asked[-1][1].patch == body


async def test_unknown_fields_of_a_patch(stand: RestStand) -> None:
    """A field that the record does not have cannot be patched."""
    answer = await stand.client().patch("/agents/a1", json={"greting": "x"}, headers={"If-Match": "*"})
    assert problem(answer, 422, "invalid")["errors"][0]["pointer"] == "/greting"


async def test_too_large_as_announced() -> None:
    """A body that says it is too large is refused without being read."""
    stand = RestStand(max_body_bytes=1024)
    answer = await stand.client(None).post("/auth/login", json={"email": "x" * 1024, "password": "x"})
    problem(answer, 413, "too_large")


async def test_too_large_in_chunks() -> None:
    """A body whose length nobody says is counted while it comes."""
    stand = RestStand(max_body_bytes=1024)
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(1000):
            read += 1
            yield b" " * 100

    answer = await stand.client(None).post("/auth/login", content=endless(), headers=JSON)
    problem(answer, 413, "too_large")
    assert read < 20


async def test_as_large_as_allowed() -> None:
    """The limit itself is not too large."""
    stand = RestStand(max_body_bytes=1024)
    stand.services.answer(auth.LOG_IN, a_session())
    content = b'{"email":"a@b.cd","password":"x"}'.ljust(1024)
    assert (await stand.client(None).post("/auth/login", content=content, headers=JSON)).status_code == 200


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": ["x\0"]}, "/a/0"),
        ({"a\0b": 1}, ""),
        ({"n": 2**63}, "/n"),
        ({"n": -(2**63) - 1}, "/n"),
        ({"n": 10**400}, "/n"),
        ({"f": float("inf")}, "/f"),
    ],
)
def test_what_cannot_be_kept(value: Any, where: str) -> None:
    """U+0000, numbers beyond 64 bits and infinities are refused where they are."""
    with pytest.raises(ProblemError) as caught:
        check_json(value)
    assert caught.value.problems[0][1] == where


def test_depth() -> None:
    """Objects may be nested as deep as allowed, and no deeper."""
    value: Any = 1
    for _ in range(MAX_DEPTH):
        value = [value]
    check_json(value)
    with pytest.raises(ProblemError):
        check_json([value])


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner)
    ),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_all_other_json_is_taken(value: Any) -> None:
    """No JSON that can be kept is refused."""
    import json

    assert parse_json(json.dumps(value).encode()) == value
    check_json(value)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.integers(0, 100), max_size=5))
def test_pointers(path: list[str | int]) -> None:
    """A JSON pointer can be taken apart into the path it was made of."""
    parts = pointer(path).split("/")[1:]
    assert [part.replace("~1", "/").replace("~0", "~") for part in parts] == [str(part) for part in path]


async def test_optional_body(stand: RestStand) -> None:
    """Where a body is optional, none at all is an empty object."""
    stand.services.answer(auth.LOG_OUT, auth.Done())
    assert (await stand.client().post("/auth/logout")).status_code == 204
    assert (await stand.client().post("/auth/logout", json={"everywhere": True})).status_code == 204
    assert [request.everywhere for _, request in stand.services.asked] == [False, True]
    problem(await stand.client().post("/auth/logout", json={"everwhere": True}), 422, "invalid")


def test_specs_have_no_room_for_unknown_fields() -> None:
    """What a model ignores from the bus, it refuses from a client."""
    raw = b'{"name": "x", "from_tomorrow": 1}'
    assert AgentSpec.model_validate_json(raw).name == "x"
    with pytest.raises(ValueError, match="Extra inputs"):
        AgentSpec.model_validate_json(raw, strict=True, extra="forbid")


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/auth/login", b"{" + b",".join(b'"k%d":1' % number for number in range(40_000)) + b"}"),
        ("/agents", b"{" + b",".join(b'"k%d":1' % number for number in range(40_000)) + b"}"),
        ("/agents", b'{"tools":[' + b",".join([b"{}"] * 45_000) + b"]}"),
    ],
)
async def test_a_body_of_mistakes_costs_little(stand: RestStand, path: str, content: bytes) -> None:
    """Of tens of thousands of mistakes the first are told and all are counted, within seconds: nobody else is served then."""
    answer = await stand.client().post(path, content=content, headers=JSON)
    told = problem(answer, 422, "invalid")
    assert len(told["errors"]) == MAX_PROBLEMS
    assert re.search(r"and \d{5,} more", told["detail"])


async def test_too_many_values(stand: RestStand) -> None:
    """A body of more values than anything needs is refused before they are looked at."""
    content = b'{"metadata":[' + b",".join([b"1"] * MAX_VALUES) + b"]}"
    told = problem(await stand.client().post("/agents", content=content, headers=JSON), 422, "invalid")
    assert "values" in told["detail"]
