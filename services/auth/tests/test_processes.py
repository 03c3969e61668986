"""Two real processes of the service on real servers."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import nats
import pytest
import pytest_asyncio
from auth_stand import PASSWORD, actor_of, refusal
from control_plane import ServiceProcess
from rpc_stand import connected
from servers import NatsServer, free_port, provision

from voxbus.contracts import auth
from voxbus.contracts.access import Actor, Role
from voxbus.contracts.base import new_id
from voxbus.contracts.rpc import Operation, RequestErrorCode, RequestT, ResultT
from voxbus.runtime.bus import EventBus
from voxbus.runtime.rpc import RequestFailedError, RpcClient

pytestmark = pytest.mark.integration

ADMIN_EMAIL = "root@example.org"


@dataclass
class Service:
    """The processes and what they share."""

    nats: NatsServer
    processes: list[ServiceProcess]
    environment: Mapping[str, str]

    def logs(self) -> str:
        """What all have logged."""
        return "".join(process.log_file.read_text() for process in self.processes)


@dataclass
class Asker:
    """Who asks the service."""

    bus: EventBus
    client: RpcClient

    async def ask(self, operation: Operation[RequestT, ResultT], request: RequestT) -> ResultT:
        """Any process answers."""
        return await self.client.request(operation, request, timeout_s=20)

    async def log_in(self, email: str = ADMIN_EMAIL) -> auth.Session:
        """With the password of all users here."""
        return await self.ask(auth.LOG_IN, auth.LogIn(email=email, password=PASSWORD))


@pytest.fixture(scope="module")
def service(mongo_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two processes that started at the same moment on an empty database."""
    directory = tmp_path_factory.mktemp("auth")
    bus = NatsServer(directory / "nats")
    bus.start()
    provision(bus.url)
    password_file = directory / "admin-password"
    password_file.write_text(f"{PASSWORD}\n")
    environment = {
        "VOXBUS_NATS_URL": bus.url,
        "VOXBUS_MONGO_URL": mongo_url,
        "VOXBUS_MONGO_DATABASE": new_id("auth"),
        "VOXBUS_ADMIN_EMAIL": ADMIN_EMAIL,
        "VOXBUS_ADMIN_PASSWORD_FILE": str(password_file),
        "VOXBUS_ARGON2_MEMORY_KIB": "1024",
        "VOXBUS_ARGON2_TIME_COST": "1",
        "VOXBUS_SIGNING_KEY_LEAD_S": "1",
        "VOXBUS_SIGNING_KEY_CHECK_S": "600",  # the event alone tells the other process
        "VOXBUS_LOG_LEVEL": "DEBUG",
    }
    processes = []
    for number in range(2):
        port = free_port()
        own = {**environment, "VOXBUS_HTTP_PORT": str(port)}
        processes.append(ServiceProcess("auth", port, own, directory / f"auth-{number}.log"))
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.wait_ready()
        yield Service(bus, processes, environment)
    finally:
        for process in processes:
            process.kill()
        bus.stop()


@pytest_asyncio.fixture
async def asker(service: Service) -> AsyncIterator[Asker]:
    """A connection of the test's own."""
    async with connected(service.nats.url) as bus:
        yield Asker(bus, RpcClient(bus))


async def events(service: Service, subject: str, about: str) -> list[dict[str, Any]]:
    """The events of a subject in the stream whose CloudEvents subject is `about`, once there is one."""
    found: list[dict[str, Any]] = []
    client = await nats.connect(service.nats.url)
    try:
        subscription = await client.jetstream().subscribe(subject, ordered_consumer=True)
        async with asyncio.timeout(15):
            async for message in subscription.messages:
                assert message.headers is not None
                if message.headers["ce-subject"] == about:
                    found.append(json.loads(message.data))
                if found and message.metadata.num_pending == 0:
                    break
    finally:
        await client.close()
    return found


async def test_every_operation_is_answered(asker: Asker) -> None:
    """None of the contract is forgotten: an empty request gets a result or a typed error of the service."""
    for operation in auth.OPERATIONS:
        payload = await asker.bus.request(operation.subject, b"{}", 10)
        reply = json.loads(payload)
        assert ("result" in reply) != ("error" in reply)
        if "error" in reply:
            assert reply["error"]["code"] in {"invalid", "unauthenticated"}, (operation.name, reply)


async def test_the_first_admin_is_one(service: Service, asker: Asker) -> None:
    """Both processes made sure of it, and it was told once."""
    session = await asker.log_in()
    assert session.user.role is Role.ADMIN
    users = await asker.ask(auth.LIST_USERS, auth.ListUsers(email=ADMIN_EMAIL))
    assert len(users.items) == 1
    assert len(await events(service, "voxbus.event.user.created.v1", session.user.id)) == 1


async def test_what_happens_to_a_user_is_told(service: Service, asker: Asker) -> None:
    """Created, updated and deleted arrive in the stream, and the tombstone goes."""
    made = await asker.ask(auth.CREATE_USER, auth.CreateUser(email="told@example.org", password=PASSWORD))
    user_id = made.user.id
    change = auth.UserChange(enabled=False)
    await asker.ask(auth.UPDATE_USER, auth.UpdateUser(user_id=user_id, change=change))
    await asker.ask(auth.DELETE_USER, auth.DeleteUser(user_id=user_id))
    assert await events(service, "voxbus.event.user.created.v1", user_id) == [{"user_id": user_id, "role": "user"}]
    assert await events(service, "voxbus.event.user.updated.v1", user_id) == [
        {"user_id": user_id, "role": "user", "enabled": False, "access_changed": True, "revision": 2}
    ]
    assert await events(service, "voxbus.event.user.deleted.v1", user_id) == [{"user_id": user_id}]


async def test_a_rotation_logs_nobody_out(service: Service, asker: Asker) -> None:
    """Both processes sign with the new key within seconds, tokens of the old one stay good, and others are told."""
    before = await asker.log_in()
    rotated = await asker.ask(auth.ROTATE_KEYS, auth.RotateKeys(actor=actor_of(before.user)))
    new = str(rotated.keys[-1]["kid"])
    signers: list[str] = []
    async with asyncio.timeout(30):
        while len(signers) < 20 or set(signers[-20:]) != {new}:
            token = await asker.ask(
                auth.ISSUE_CALL_TOKEN, auth.IssueCallToken(actor=actor_of(before.user), agent_id="agent_1")
            )
            signers.append(jwt.get_unverified_header(token.token)["kid"])
            await asyncio.sleep(0.02)
    published = await asker.ask(auth.GET_JWKS, auth.GetJwks())
    keys = {str(key["kid"]): jwt.PyJWK(dict(key)) for key in published.keys}
    kid = jwt.get_unverified_header(before.access_token)["kid"]
    assert kid != new
    jwt.decode(before.access_token, keys[kid], algorithms=["EdDSA"], audience=auth.API_AUDIENCE)
    (told,) = await events(service, "voxbus.event.signing_keys.changed.v1", new)
    assert told["key_ids"] == [str(key["kid"]) for key in published.keys]
    after = await asker.ask(auth.REFRESH, auth.Refresh(refresh_token=before.refresh_token))
    assert jwt.get_unverified_header(after.access_token)["kid"] == new


async def test_a_token_used_at_both_processes_ends_the_session(asker: Asker) -> None:
    """At most one is answered, and then that one is not good any more."""
    session = await asker.log_in()
    request = auth.Refresh(refresh_token=session.refresh_token)
    results = await asyncio.gather(*(asker.ask(auth.REFRESH, request) for _ in range(8)), return_exceptions=True)
    won = [result for result in results if isinstance(result, auth.Session)]
    assert len(won) <= 1
    for result in won:
        error = await refusal(asker.ask(auth.REFRESH, auth.Refresh(refresh_token=result.refresh_token)))
        assert error.code is RequestErrorCode.UNAUTHENTICATED


async def test_a_revoked_key_stops_at_every_process(service: Service, asker: Asker) -> None:
    """And it is told."""
    session = await asker.log_in()
    actor = actor_of(session.user)
    made = await asker.ask(auth.CREATE_API_KEY, auth.CreateApiKey(actor=actor, name="CI", permissions=("agents:read",)))
    verify = auth.VerifyApiKey(secret=made.secret)
    verified = await asker.ask(auth.VERIFY_API_KEY, verify)
    assert isinstance(verified.actor, Actor)
    await asker.ask(auth.REVOKE_API_KEY, auth.RevokeApiKey(actor=actor, api_key_id=made.key.id))
    for _ in range(6):
        assert (await refusal(asker.ask(auth.VERIFY_API_KEY, verify))).code is RequestErrorCode.UNAUTHENTICATED
    told = await events(service, "voxbus.event.api_key.revoked.v1", made.key.id)
    assert told == [{"api_key_id": made.key.id, "user_id": actor.user_id}]


async def test_a_burst_of_log_ins_holds_up_nothing_else(asker: Asker) -> None:
    """Public keys are answered while passwords are being checked."""
    request = auth.LogIn(email="nobody@example.org", password=PASSWORD)
    burst = [asyncio.create_task(refusal(asker.ask(auth.LOG_IN, request))) for _ in range(100)]
    await asyncio.wait_for(asker.ask(auth.GET_JWKS, auth.GetJwks()), 10)
    codes = {(await task).code for task in burst}
    assert codes <= {RequestErrorCode.UNAUTHENTICATED, RequestErrorCode.UNAVAILABLE}


async def test_logs_hold_no_secret(service: Service, asker: Asker) -> None:
    """Not at any level: neither passwords, nor tokens, nor emails."""
    session = await asker.log_in()
    with pytest.raises(RequestFailedError):
        await asker.ask(auth.LOG_IN, auth.LogIn(email=ADMIN_EMAIL, password="a wrong password, longer"))
    logs = service.logs()
    assert "log-in refused" in logs
    for secret in (PASSWORD, "a wrong password", session.access_token, session.refresh_token[-43:], ADMIN_EMAIL):
        assert secret not in logs


def create_admin(service: Service, email: str, password: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "voxbus.auth.create_admin", "--email", email, *options],
        input=f"{password}\n",
        env={**os.environ, **service.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_the_operator_makes_an_admin(service: Service, asker: Asker) -> None:
    """Once; a second time only with --reset-password. The service tells others of it."""
    made = await asyncio.to_thread(create_admin, service, "Op@example.org", PASSWORD)
    assert (made.returncode, made.stderr) == (0, "")
    session = await asker.log_in("op@example.org")
    assert session.user.role is Role.ADMIN
    assert len(await events(service, "voxbus.event.user.created.v1", session.user.id)) == 1
    again = await asyncio.to_thread(create_admin, service, "op@example.org", PASSWORD)
    assert again.returncode == 1
    assert "--reset-password" in again.stderr
    reset = await asyncio.to_thread(
        create_admin, service, "op@example.org", "a new walk in the hills", "--reset-password"
    )
    assert reset.returncode == 0
    assert (await refusal(asker.log_in("op@example.org"))).code is RequestErrorCode.UNAUTHENTICATED
    weak = await asyncio.to_thread(create_admin, service, "weak@example.org", "passwordpassword")
    assert (weak.returncode, "password" in weak.stderr) == (2, True)


async def test_the_operator_is_told_that_the_store_is_away(service: Service) -> None:
    """Exit code 3, without a traceback."""
    away = Service(service.nats, [], {**service.environment, "VOXBUS_MONGO_URL": f"mongodb://127.0.0.1:{free_port()}"})
    result = await asyncio.to_thread(create_admin, away, "op@example.org", PASSWORD)
    assert (result.returncode, "Traceback" in result.stderr) == (3, False)


def test_a_process_that_cannot_read_the_keys_does_not_start(service: Service, tmp_path: Path) -> None:
    """Keys are plain here; encrypted ones of another passphrase stop it with a reason and code 3."""
    database = new_id("auth")
    for passphrase, code in (("one", None), ("two", 3)):
        port = free_port()
        own = {
            **service.environment,
            "VOXBUS_MONGO_DATABASE": database,
            "VOXBUS_HTTP_PORT": str(port),
            "VOXBUS_SIGNING_KEY_PASSPHRASE": passphrase,
        }
        process = ServiceProcess("auth", port, own, tmp_path / f"{passphrase}.log")
        process.start()
        assert process.process is not None
        if code is None:
            process.wait_ready()
            assert process.terminate() == 0
        else:
            assert process.process.wait(timeout=60) == code
            assert "VOXBUS_SIGNING_KEY_PASSPHRASE" in process.log_file.read_text()
