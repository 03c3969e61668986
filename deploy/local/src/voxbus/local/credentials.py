"""The file that keeps logins: one session per server, and which server commands talk to when they are not told."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from voxbus.contracts.auth import Session
from voxbus.local.errors import CommandError

LOCAL_ADMIN_EMAIL: Final = "admin@voxbus.example"
"""The admin of a stack on this machine."""
CREDENTIALS_FILE: Final = "credentials.json"

_EARLY_S: Final = 20.0
"""An access token is renewed so long before it expires."""
_LOCK_TIMEOUT_S: Final = 30.0
_LOCK_PAUSE_S: Final = 0.02


class Login(BaseModel):
    """A session at one server."""

    model_config = ConfigDict(frozen=True)

    email: str
    user_id: str
    access_token: str = Field(repr=False)
    access_expires_at: datetime
    refresh_token: str = Field(repr=False)
    refresh_expires_at: datetime

    @classmethod
    def of(cls, session: Session) -> Self:
        """What is kept of a session that was just given."""
        now = datetime.now(UTC)
        return cls(
            email=session.user.email,
            user_id=session.user.id,
            access_token=session.access_token,
            access_expires_at=now + timedelta(seconds=session.expires_in_s),
            refresh_token=session.refresh_token,
            refresh_expires_at=now + timedelta(seconds=session.refresh_expires_in_s),
        )

    def is_good(self, *, refused: str | None) -> bool:
        """Whether the access token can be used; `refused` is one that the server does not take any more."""
        return self.access_token != refused and datetime.now(UTC) < self.access_expires_at - timedelta(seconds=_EARLY_S)


class Logins(BaseModel):
    """What the file holds."""

    current: str | None = None
    """URL of the server that was logged in to last."""
    logins: dict[str, Login] = Field(default_factory=dict)


class CredentialsFile:
    """Logins in a file that only the user can read.

    A refresh token is good for one use, and using it twice ends the session. So whoever renews a login holds the lock from
    reading the old token until the new one is on the disk; commands that run at once then share the new one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of_user(cls) -> Self:
        """The user's own, in `$XDG_CONFIG_HOME/voxbus`."""
        base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        return cls(Path(base) / "voxbus" / CREDENTIALS_FILE)

    def read(self) -> Logins:
        """What is in the file; nothing when there is none."""
        try:
            return Logins.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return Logins()
        except (OSError, ValidationError) as error:
            # Not its content: that is secret.
            reason = error.strerror if isinstance(error, OSError) else "it is not what `voxbus login` writes"
            raise CommandError(
                f"{self.path} cannot be read ({reason})", "remove it, then log in with `voxbus login`"
            ) from None

    def write(self, logins: Logins) -> None:
        """Replace the file, whole and on the disk: the old refresh token is worthless by now."""
        self._make_directory()
        temporary = self.path.with_suffix(".tmp")
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(logins.model_dump_json(indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)

    def keep(self, url: str, login: Login, *, make_current: bool = False) -> None:
        """Store a login; hold the lock."""
        logins = self.read()
        current = url if make_current else logins.current
        self.write(Logins(current=current, logins={**logins.logins, url: login}))

    def forget(self, url: str, *, leave: bool = False) -> None:
        """Remove the login at a server; hold the lock.

        Unless one means to `leave` it, it stays the current server: commands that follow must not go to another one.
        """
        logins = self.read()
        rest = {key: login for key, login in logins.logins.items() if key != url}
        current = None if leave and logins.current == url else logins.current
        self.write(Logins(current=current, logins=rest))

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Be the only process that changes the file. The kernel frees the lock of a process that dies."""
        self._make_directory()
        descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            await _lock(descriptor, self.path)
            yield
        finally:
            os.close(descriptor)

    def _make_directory(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


async def _lock(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise CommandError(f"another command has held {path} for too long", "end it, then try again") from None
            await asyncio.sleep(_LOCK_PAUSE_S)
        else:
            return
