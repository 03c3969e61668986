"""A REST API for tests: real logins with rotating refresh tokens; all other answers are given by the test."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from voxbus.local.state import StackInfo

EMAIL = "grace@example.com"
PASSWORD = "a long walk along the harbour"
TIME = "2030-05-02T07:30:00Z"


@dataclass(frozen=True)
class Seen:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """An answer. `data` None: no content; `drop`: the connection ends without one."""

    status: int = 200
    data: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False


Handler = Callable[[Seen], Reply]


def problem(status: int, code: str, detail: str, *, errors: Any = None, **headers: str) -> Reply:
    """A problem document."""
    data = {"type": f"/problems/{code}", "title": f"Title of {code}", "status": status, "detail": detail, "code": code}
    data |= {"request_id": "req-1", "instance": "/"}
    if errors is not None:
        data["errors"] = errors
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, data, {"content-type": "application/problem+json", **names})


def user(**changes: Any) -> dict[str, Any]:
    """A user as the API shows one."""
    shown = {"id": "user_1", "email": EMAIL, "role": "user", "enabled": True, "created_at": TIME, "updated_at": TIME}
    return {**shown, "last_login_at": TIME, "revision": 3, **changes}


def stack(url: str, directory: Path) -> StackInfo:
    """A running stack whose API is at `url`."""
    return StackInfo(
        pid=1,
        started_at=datetime.now(UTC),
        nats_url="nats://127.0.0.1:1",
        nats_monitor_url="http://127.0.0.1:1",
        mongo_url="mongodb://127.0.0.1:1",
        rest_url=url,
        voice_url="ws://127.0.0.1:1",
        admin_email=EMAIL,
        agents_dir=directory,
        log_dir=directory,
    )


class FakeRest:
    """Get it from `serving`. Sessions are good until `end_sessions`, access tokens until `end_access`."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[Seen] = []
        self.access_life_s = 900
        self.refresh_takes_s = 0.0
        self.api_keys = {"vxk_good"}
        self.revoked = 0
        """Sessions that ended because an old refresh token came back."""
        self._replies: dict[tuple[str, str], list[Handler]] = {}
        self._lock = threading.Lock()
        self._count = 0
        self._access: set[str] = set()
        self._refresh: str | None = None

    def on(self, method: str, path: str, *replies: Reply | Handler | Any) -> None:
        """Answer with these, one after the other; the last one stays. What is no Reply is JSON with status 200."""
        self._replies[method, path] = [_handler(reply) for reply in replies]

    def of(self, method: str, path: str) -> list[Seen]:
        """The requests of one kind."""
        return [seen for seen in self.seen if (seen.method, seen.path) == (method, path)]

    def end_access(self) -> None:
        """Take no access token that was given until now."""
        with self._lock:
            self._access.clear()

    def end_sessions(self) -> None:
        """Take no token that was given until now."""
        with self._lock:
            self._access.clear()
            self._refresh = None

    def answer(self, seen: Seen) -> Reply:
        """The answer to a request."""
        if seen.path == "/auth/refresh":
            time.sleep(self.refresh_takes_s)
        with self._lock:
            self.seen.append(seen)
            if seen.path == "/auth/login" and seen.method == "POST":
                return self._log_in(seen.json)
            if seen.path == "/auth/refresh" and seen.method == "POST":
                return self._renew(seen.json)
            if not self._knows(seen.headers.get("authorization", "")):
                return problem(401, "unauthenticated", "the token is not good")
            replies = self._replies.get((seen.method, seen.path))
            if not replies:
                return problem(404, "not_found", f"there is nothing at {seen.method} {seen.path}")
            reply = replies.pop(0) if len(replies) > 1 else replies[0]
        return reply(seen)

    def _knows(self, authorization: str) -> bool:
        token = authorization.removeprefix("Bearer ")
        return token in self._access or token in self.api_keys

    def _log_in(self, body: dict[str, str]) -> Reply:
        if (body["email"], body["password"]) != (EMAIL, PASSWORD):
            return problem(401, "unauthenticated", "email and password do not fit")
        return self._session()

    def _renew(self, body: dict[str, str]) -> Reply:
        if body["refresh_token"] != self._refresh:
            self.revoked += self._refresh is not None
            self._refresh = None
            return problem(401, "unauthenticated", "the refresh token is not good")
        return self._session()

    def _session(self) -> Reply:
        self._count += 1
        self._refresh = f"vxr_{self._count}"
        self._access.add(f"access-{self._count}")
        session = {"access_token": f"access-{self._count}", "refresh_token": self._refresh, "token_type": "Bearer"}
        return Reply(200, {**session, "expires_in_s": self.access_life_s, "refresh_expires_in_s": 9999, "user": user()})


@contextmanager
def serving() -> Iterator[FakeRest]:
    """A fake that listens at `url`."""
    rest = FakeRest()

    class RequestHandler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = rest.answer(Seen(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body))
            if reply.drop:
                self.close_connection = True
                return
            content = b"" if reply.data is None else json.dumps(reply.data).encode()
            self.send_response(reply.status)
            for name, value in {"content-type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815  # names of http.server

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), RequestHandler)
    server.daemon_threads = True
    rest.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield rest
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(reply: Reply | Handler | Any) -> Handler:
    if callable(reply):
        handler: Handler = reply
        return handler
    fixed = reply if isinstance(reply, Reply) else Reply(200, reply)
    return lambda _seen: fixed
