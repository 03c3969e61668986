"""How a request proves who sends it: nothing, an API key, or a login that is renewed when it must be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from voxbus.contracts.auth import Session
from voxbus.local.credentials import CredentialsFile, Login
from voxbus.local.problem import AccessRefusedError, NotLoggedInError

Ask = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Posts JSON to a path without credentials and returns the JSON of the answer; raises CommandError."""


class Access(Protocol):
    """Gives the token of a request."""

    async def token(self, ask: Ask, *, refused: str | None = None) -> str | None:
        """The bearer token to send. `refused` was just answered with 401: another is wanted, None when there is no other."""


class Anonymous:
    """No credentials."""

    async def token(self, ask: Ask, *, refused: str | None = None) -> str | None:
        """None."""
        return None


class ApiKeyAccess:
    """An API key."""

    def __init__(self, key: str) -> None:
        self._key = key

    async def token(self, ask: Ask, *, refused: str | None = None) -> str | None:
        """The key."""
        return None if refused else self._key


class LoginAccess:
    """The stored login at a server; with a password, a new one is made when there is none or it has ended."""

    def __init__(
        self, url: str, file: CredentialsFile, *, email: str = "", password: Callable[[], str] | None = None
    ) -> None:
        self._url = url
        self._file = file
        self._email = email
        self._password = password

    async def token(self, ask: Ask, *, refused: str | None = None) -> str | None:
        """The access token; raises NotLoggedInError."""
        login = self._stored()
        if login is None and self._password is None:
            raise NotLoggedInError(f"you are not logged in at {self._url}", self._url)
        if login is None or not login.is_good(refused=refused):
            login = await self._renew(ask, refused)
        return login.access_token

    async def _renew(self, ask: Ask, refused: str | None) -> Login:
        async with self._file.locked():
            login = self._stored()  # another command may have renewed it by now
            if login is not None and login.is_good(refused=refused):
                return login
            renewed = await _refresh(ask, login) if login else None
            if renewed is None and self._password is not None:
                renewed = Login.of(await log_in(ask, self._email, self._password()))
            if renewed is None:
                self._file.forget(self._url)
                raise NotLoggedInError(f"your login at {self._url} has ended", self._url)
            self._file.keep(self._url, renewed)
            return renewed

    def _stored(self) -> Login | None:
        return self._file.read().logins.get(self._url)


async def log_in(ask: Ask, email: str, password: str) -> Session:
    """A new session; raises AccessRefusedError when email and password don't fit."""
    return Session.model_validate(await ask("/auth/login", {"email": email, "password": password}))


async def _refresh(ask: Ask, login: Login) -> Login | None:
    """The next session of a login; None when it has ended."""
    try:
        answer = await ask("/auth/refresh", {"refresh_token": login.refresh_token})
    except AccessRefusedError:
        return None
    return Login.of(Session.model_validate(answer))
