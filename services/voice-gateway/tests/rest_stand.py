"""The REST API in this process, on fakes of everything behind it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import httpx
from fastapi import FastAPI

from voxbus.contracts import agents, auth
from voxbus.contracts.access import ROLE_PERMISSIONS, Actor, Permission, Role
from voxbus.contracts.base import Message
from voxbus.contracts.rpc import Operation, RequestErrorCode, RequestT, ResultT
from voxbus.runtime.rpc import RequestFailedError
from voxbus.voice_gateway.rest.api import make_api
from voxbus.voice_gateway.rest.backend import Backend
from voxbus.voice_gateway.rest.errors import ProblemError, unauthenticated
from voxbus.voice_gateway.rest.settings import RestSettings

NOW: Final = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
PASSWORD: Final = "a long walk along the harbour"
PROBLEM: Final = "application/problem+json"
Answer = Callable[[Any], Message]


def a_user(user_id: str = "user_1", *, revision: int = 1, role: Role = Role.USER) -> auth.User:
    """A user as `auth` answers them."""
    return auth.User(
        id=user_id, email="grace@example.com", role=role, created_at=NOW, updated_at=NOW, revision=revision
    )


def an_actor(role: Role = Role.USER, user_id: str = "user_1", **changes: Any) -> Actor:
    """A logged-in user with the permissions of their role."""
    return Actor(user_id=user_id, role=role, **{"permissions": ROLE_PERMISSIONS[role], **changes})


def a_session() -> auth.Session:
    """What a login gives."""
    return auth.Session(
        access_token="access", refresh_token="vxr_1", expires_in_s=900, refresh_expires_in_s=2_592_000, user=a_user()
    )


def an_agent(agent_id: str = "front-desk", *, published_version: int | None = 1) -> agents.Agent:
    """An agent as `agents` answers it."""
    return agents.Agent(
        id=agent_id,
        user_id="user_1",
        name="Front desk",
        language="en",
        stt_provider="local",
        llm_provider="scripted",
        tts_provider="local",
        revision=3,
        published_version=published_version,
        created_at=NOW,
        updated_at=NOW,
        draft=agents.AgentSpec(name="Front desk"),
    )


class FakeServices:
    """Answers requests as it is told, and keeps them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        """Operation, such as `auth.get_user`, and request, in order."""
        self._answers: dict[str, Answer] = {}

    def answer(self, operation: Operation[Any, Any], answer: Answer | Message | Exception) -> None:
        """What `operation` is answered with from now on."""

        def fixed(_request: Any) -> Message:
            if isinstance(answer, Exception):
                raise answer
            assert isinstance(answer, Message)
            return answer

        self._answers[operation.subject] = answer if callable(answer) else fixed

    def fail(self, operation: Operation[Any, Any], code: RequestErrorCode, message: str = "no") -> None:
        """Let `operation` fail from now on."""
        self.answer(operation, RequestFailedError(code, message))

    async def request(
        self, operation: Operation[RequestT, ResultT], request: RequestT, *, timeout_s: float = 3.0
    ) -> ResultT:
        """As `RpcClient`: the service is asked with what survives the bus."""
        sent = operation.request.model_validate_json(request.encode())
        self.asked.append((f"{operation.service}.{operation.name}", sent))
        answer = self._answers.get(operation.subject)
        if answer is None:
            raise RequestFailedError(RequestErrorCode.UNAVAILABLE, f"the service {operation.service} is not there")
        return operation.result.model_validate_json(answer(sent).encode())


class FakeCallers:
    """Knows some credentials."""

    def __init__(self) -> None:
        self.known: dict[str, Actor] = {
            "user": an_actor(),
            "admin": an_actor(Role.ADMIN, "user_admin"),
            "vxk_reports": an_actor(permissions=(Permission.AGENTS_READ,), api_key_id="key_1"),
            "powerless": an_actor(permissions=()),
        }

    async def identify(self, credential: str) -> Actor:
        """The actor of a known credential."""
        if credential not in self.known:
            raise unauthenticated("the token has expired")
        return self.known[credential]


class FakeLimits:
    """Counts, and refuses the limits it is told to."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str]] = []
        self.exhausted: set[str] = set()

    async def take(self, name: str, key: str) -> None:
        """Count one."""
        self.taken.append((name, key))
        if name in self.exhausted:
            raise ProblemError(429, "too many", headers={"Retry-After": "7"})


class FakeHealth:
    """Well, unless told otherwise."""

    def __init__(self) -> None:
        self.status = 200

    async def report(self) -> tuple[int, bytes]:
        """A report."""
        return self.status, json.dumps({"status": "ok", "services": [], "providers": [], "stores": []}).encode()

    def ready(self) -> tuple[int, bytes]:
        """A report."""
        return self.status, b'{"status": "ok", "checks": {}}'


class RestStand:
    """The API and its fakes."""

    def __init__(self, **settings: Any) -> None:
        self.services = FakeServices()
        self.callers = FakeCallers()
        self.limits = FakeLimits()
        self.health = FakeHealth()
        self.settings = RestSettings(_env_file=None, **settings)  # type: ignore[call-arg]
        self.api: FastAPI = make_api(Backend(self.settings, self.services, self.callers, self.limits, self.health))

    def client(self, credential: str | None = "user", *, peer: str = "192.0.2.1") -> httpx.AsyncClient:
        """A client of the API that sends `credential` and comes from `peer`."""
        headers = {"authorization": f"Bearer {credential}"} if credential else {}
        transport = httpx.ASGITransport(self.api, client=(peer, 40000))
        return httpx.AsyncClient(transport=transport, base_url="http://api.example", headers=headers)


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of an answer, checked for what every one of them has."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    content: dict[str, Any] = answer.json()
    assert content["status"] == status
    assert content["code"] == code
    assert content["type"] == f"/problems/{code}"
    assert content["title"]
    assert content["instance"] == answer.request.url.path
    assert content["request_id"] == answer.headers["x-request-id"]
    return content
