"""Admins that no admin made: the first one, and those of `create_admin`."""

from __future__ import annotations

from pathlib import Path

import structlog
from pydantic import SecretStr
from pymongo.errors import DuplicateKeyError

from voxbus.auth.domain import normalise_email, password_problem
from voxbus.auth.passwords import Passwords
from voxbus.auth.settings import AuthSettings
from voxbus.auth.user_repository import NewUser, UserRecord, UserRepository, UserUpdate
from voxbus.contracts.access import Role

log = structlog.get_logger(__name__)


class AdminError(Exception):
    """An admin cannot be made. The message is for the operator."""


class Admins:
    """Makes admins."""

    def __init__(self, users: UserRepository, passwords: Passwords) -> None:
        self._users = users
        self._passwords = passwords

    async def ensure_first(self, settings: AuthSettings) -> None:
        """Make the admin of the settings when there is no admin. Raises AdminError.

        Of processes that start together one makes it. A user who is there is never changed, and an admin who was removed, or
        has another email now, does not come back with the password of the first day.
        """
        if not settings.admin_email:
            return
        email = _email(settings.admin_email)
        if await self._users.has_admin():
            return
        if (user := await self._users.by_email(email)) is not None:
            log.warning("no admin made: the user of VOXBUS_ADMIN_EMAIL is none, see create_admin", user_id=user.user.id)
            return
        password = _password(settings.admin_password, settings.admin_password_file)
        try:
            await self.create(email, password)
        except DuplicateKeyError:
            return

    async def create(self, email: str, password: str) -> UserRecord:
        """A new admin. Raises AdminError, and DuplicateKeyError when there is a user of this email."""
        email = _email(email)
        _check(password, email)
        new = NewUser(email=email, password=await self._passwords.hash(password), role=Role.ADMIN)
        record, _ = await self._users.create(new)
        log.info("admin made", user_id=record.user.id)
        return record

    async def reset(self, email: str, password: str) -> UserRecord | None:
        """Make the user of this email an enabled admin with this password and end their sessions; None: there is no such user."""
        email = _email(email)
        _check(password, email)
        hashed = await self._passwords.hash(password)
        while (record := await self._users.by_email(email)) is not None:
            update = UserUpdate(role=Role.ADMIN, enabled=True, password=hashed, ends_sessions=True)
            if (changed := await self._users.change(record, update)) is not None:
                log.info("admin reset", user_id=changed.user.id)
                return changed
        return None


def _email(text: str) -> str:
    try:
        return normalise_email(text)
    except ValueError as error:
        raise AdminError(f"the admin's email: {error}") from None


def _check(password: str, email: str) -> None:
    if problem := password_problem(password, email):
        raise AdminError(f"the admin's password: {problem}")


def _password(text: SecretStr | None, file: Path | None) -> str:
    if text is not None:
        return text.get_secret_value()
    if file is None:
        raise AdminError("VOXBUS_ADMIN_EMAIL is set, and neither VOXBUS_ADMIN_PASSWORD nor VOXBUS_ADMIN_PASSWORD_FILE")
    try:
        return file.read_text().strip()
    except OSError as error:
        raise AdminError(f"the file of VOXBUS_ADMIN_PASSWORD_FILE cannot be read: {error.strerror}") from None
