"""The client of the REST API: logins that last, locks, refusals as sentences, pages."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_rest import EMAIL, PASSWORD, FakeRest, Reply, problem, serving, stack

from voxbus.local.access import ApiKeyAccess, LoginAccess, log_in
from voxbus.local.api import ApiClient, normal_url
from voxbus.local.credentials import CredentialsFile, Login
from voxbus.local.errors import CommandError, ExitCode, GatewayUnreachableError, UsageError
from voxbus.local.problem import AccessRefusedError, ApiError, NotLoggedInError
from voxbus.local.state import StateDir

pytestmark = pytest.mark.unit


@pytest.fixture
def rest() -> Iterator[FakeRest]:
    with serving() as fake:
        yield fake


@pytest.fixture
def file(tmp_path: Path) -> CredentialsFile:
    return CredentialsFile(tmp_path / "voxbus" / "credentials.json")


async def store_login(rest: FakeRest, file: CredentialsFile) -> None:
    async with ApiClient(rest.url) as api:
        session = await log_in(api.ask, EMAIL, PASSWORD)
    async with file.locked():
        file.keep(rest.url, Login.of(session), make_current=True)


def client(rest: FakeRest, file: CredentialsFile) -> ApiClient:
    return ApiClient(rest.url, LoginAccess(rest.url, file))


async def test_a_login_is_stored_where_only_the_user_can_read_it(rest: FakeRest, file: CredentialsFile) -> None:
    """The file and its lock are 0600, their directory is 0700."""
    await store_login(rest, file)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.path.parent.iterdir()}
    assert modes == {"credentials.json": 0o600, "credentials.lock": 0o600}
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700


async def test_a_token_that_is_refused_is_renewed_and_the_request_sent_again(
    rest: FakeRest, file: CredentialsFile
) -> None:
    """A 401 costs one refresh, the new tokens are in the file, and the caller sees the answer."""
    await store_login(rest, file)
    rest.on("GET", "/agents", {"items": []})
    rest.end_access()
    async with client(rest, file) as api:
        assert await api.get("/agents") == {"items": []}
    assert len(rest.of("POST", "/auth/refresh")) == 1
    assert file.read().logins[rest.url].refresh_token == "vxr_2"


async def test_a_token_is_renewed_before_it_expires(rest: FakeRest, file: CredentialsFile) -> None:
    """One with seconds to live is not sent at all."""
    rest.access_life_s = 5
    await store_login(rest, file)
    rest.access_life_s = 900
    rest.on("GET", "/agents", {"items": []})
    async with client(rest, file) as api:
        await api.get("/agents")
    assert [seen.headers["authorization"] for seen in rest.of("GET", "/agents")] == ["Bearer access-2"]


async def test_commands_at_once_renew_a_login_once(rest: FakeRest, file: CredentialsFile) -> None:
    """Six commands find an expired token: one refreshes, all get their answer, and no old token is sent twice."""
    rest.access_life_s = 1
    await store_login(rest, file)
    rest.access_life_s = 900
    rest.refresh_takes_s = 0.3  # all six have seen the old token by then
    rest.on("GET", "/agents", {"items": []})

    async def list_agents() -> Any:
        # A file of its own: nothing is shared but what is on the disk, as between processes.
        async with ApiClient(rest.url, LoginAccess(rest.url, CredentialsFile(file.path))) as api:
            return await api.get("/agents")

    answers = await asyncio.gather(*(asyncio.to_thread(asyncio.run, list_agents()) for _ in range(6)))
    assert answers == [{"items": []}] * 6
    assert (len(rest.of("POST", "/auth/refresh")), rest.revoked) == (1, 0)


async def test_a_login_that_has_ended_says_so_and_is_forgotten(rest: FakeRest, file: CredentialsFile) -> None:
    """The error names the command to log in with, exit code 4; the dead tokens are removed."""
    await store_login(rest, file)
    rest.end_sessions()
    async with client(rest, file) as api:
        with pytest.raises(NotLoggedInError, match="has ended") as caught:
            await api.get("/agents")
    assert f"voxbus login --url {rest.url}" in caught.value.hint
    assert caught.value.exit_code is ExitCode.REFUSED
    assert file.read().logins == {}
    assert file.read().current == rest.url, "the next command would go to another server"


async def test_the_admin_of_a_stack_logs_in_once(rest: FakeRest, tmp_path: Path) -> None:
    """The session is kept in the state directory; when it has ended, the password makes a new one."""
    state = StateDir(tmp_path)
    state.admin_password_file.write_text(f"{PASSWORD}\n")
    rest.on("GET", "/agents", {"items": []})
    for _ in range(3):
        async with ApiClient.for_stack(stack(rest.url, tmp_path), state) as api:
            await api.get("/agents")
    assert len(rest.of("POST", "/auth/login")) == 1
    rest.end_sessions()
    async with ApiClient.for_stack(stack(rest.url, tmp_path), state) as api:
        await api.get("/agents")
    assert len(rest.of("POST", "/auth/login")) == 2


async def test_an_api_key_is_sent_as_it_is(rest: FakeRest) -> None:
    """As a bearer token; when it is refused, nothing else is tried."""
    rest.on("GET", "/agents", {"items": []})
    async with ApiClient(rest.url, ApiKeyAccess("vxk_good")) as api:
        await api.get("/agents")
    async with ApiClient(rest.url, ApiKeyAccess("vxk_revoked")) as api:
        with pytest.raises(AccessRefusedError, match="not good"):
            await api.get("/agents")
    assert [seen.headers["authorization"] for seen in rest.seen] == ["Bearer vxk_good", "Bearer vxk_revoked"]


async def test_a_validation_problem_tells_every_field(rest: FakeRest) -> None:
    """One line for each field, with its JSON pointer; a single one is not said twice."""
    two = [{"pointer": "/name", "detail": "is blank"}, {"pointer": "/language", "detail": "is no language"}]
    rest.on(
        "POST",
        "/agents",
        problem(422, "invalid", "/name: is blank (and 1 more)", errors=two),
        problem(422, "invalid", "/name: is blank", errors=two[:1]),
    )
    async with ApiClient(rest.url, ApiKeyAccess("vxk_good")) as api:
        with pytest.raises(ApiError) as caught:
            await api.create("/agents", {})
        assert str(caught.value).splitlines()[1:] == ["  /name: is blank", "  /language: is no language"]
        with pytest.raises(ApiError) as caught:
            await api.create("/agents", {})
    assert str(caught.value) == "/name: is blank"


async def test_too_many_requests_say_when_to_try_again(rest: FakeRest) -> None:
    """The seconds of Retry-After are in the hint."""
    rest.on("GET", "/agents", problem(429, "rate_limited", "too many requests", retry_after="42"))
    async with ApiClient(rest.url, ApiKeyAccess("vxk_good")) as api:
        with pytest.raises(ApiError) as caught:
            await api.get("/agents")
    assert (caught.value.hint, caught.value.status) == ("try again in 42 s", 429)


async def test_nobody_at_the_url_is_exit_code_3() -> None:
    """A refused connection is a sentence with the URL."""
    async with ApiClient("http://127.0.0.1:9", ApiKeyAccess("vxk_good")) as api:
        with pytest.raises(GatewayUnreachableError, match=r"127\.0\.0\.1:9") as caught:
            await api.get("/agents")
    assert caught.value.exit_code is ExitCode.NOT_RUNNING


async def test_another_server_at_the_url_is_told_apart(rest: FakeRest) -> None:
    """An error page that is no problem document says that the URL is wrong."""
    rest.on("GET", "/agents", Reply(502, "bad gateway", {"content-type": "text/html"}))
    async with ApiClient(rest.url, ApiKeyAccess("vxk_good")) as api:
        with pytest.raises(GatewayUnreachableError) as caught:
            await api.get("/agents")
    assert caught.value.hint == "check --url"


async def test_a_create_whose_answer_was_lost_is_sent_again_with_the_same_key(rest: FakeRest) -> None:
    """The key is the same, so that the server makes one record; a change without a key is not repeated."""
    rest.on("POST", "/agents", Reply(drop=True), Reply(201, {"id": "a"}, {"idempotency-replayed": "true"}))
    rest.on("DELETE", "/agents/a", Reply(drop=True), Reply(204))
    async with ApiClient(rest.url, ApiKeyAccess("vxk_good")) as api:
        answer = await api.create("/agents", {"name": "A"})
        with pytest.raises(GatewayUnreachableError):
            await api.delete("/agents/a")
    keys = {seen.headers["idempotency-key"] for seen in rest.of("POST", "/agents")}
    assert (len(rest.of("POST", "/agents")), len(keys), answer.replayed) == (2, 1, True)
    assert len(rest.of("DELETE", "/agents/a")) == 1


async def test_items_follow_the_cursor_to_the_end(rest: FakeRest) -> None:
    """Every page is asked for with the cursor of the one before, and the filters stay."""
    pages = [{"items": [1, 2], "next_cursor": "c1"}, {"items": [3], "next_cursor": None}]
    rest.on("GET", "/agents", *(Reply(200, page) for page in pages))
    async with ApiClient(rest.url, ApiKeyAccess("vxk_good")) as api:
        assert [item async for item in api.items("/agents", published=True)] == [1, 2, 3]
    assert [seen.query.get("cursor") for seen in rest.seen] == [None, "c1"]
    assert {seen.query["published"] for seen in rest.seen} == {"true"}


async def test_a_long_list_waits_out_the_rate_limit(rest: FakeRest) -> None:
    """A page that follows another is asked for again when the server says so; the first one fails at once."""
    refused = problem(429, "rate_limited", "too many requests", retry_after="0")
    rest.on("GET", "/agents", {"items": [1], "next_cursor": "c1"}, refused, {"items": [2]}, refused)
    async with ApiClient(rest.url, ApiKeyAccess("vxk_good")) as api:
        assert [item async for item in api.items("/agents")] == [1, 2]
        with pytest.raises(ApiError, match="too many"):
            await api.page("/agents", limit=10)


async def test_revisions_are_sent_as_entity_tags(rest: FakeRest) -> None:
    """A number becomes a strong tag; `*` stays."""
    rest.on("PATCH", "/agents/a", {})
    async with ApiClient(rest.url, ApiKeyAccess("vxk_good")) as api:
        await api.patch("/agents/a", {}, revision=7)
        await api.patch("/agents/a", {})
    assert [seen.headers["if-match"] for seen in rest.seen] == ['"7"', "*"]
    assert rest.seen[0].headers["content-type"] == "application/merge-patch+json"


@pytest.mark.parametrize("url", ["voice.example.com", "ftp://x", "http://", "http://u:p@x", "http://x?y=1", ""])
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    """So are passwords in it, which would end up in a file and in messages."""
    with pytest.raises(UsageError):
        normal_url(url)


def test_the_same_server_has_one_name() -> None:
    """A slash at the end or capitals in the host make no second login."""
    assert normal_url("https://Voice.example.com/") == normal_url("https://voice.example.com")


async def test_a_broken_file_of_logins_is_an_error_that_keeps_its_content_to_itself(file: CredentialsFile) -> None:
    """Tokens in it are never printed."""
    file.path.parent.mkdir()
    file.path.write_text(json.dumps({"current": None, "logins": {"x": {"access_token": "secret-token"}}}))
    with pytest.raises(CommandError) as caught:
        file.read()
    assert "secret-token" not in str(caught.value) + caught.value.hint
