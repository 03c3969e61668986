"""What people do with their own account: sign up, log in and out, change the password."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from pymongo.errors import DuplicateKeyError

from voxbus.auth.domain import normalise_email, password_problem
from voxbus.auth.failures import bad_credentials, conflict, email_taken, forbidden, nobody
from voxbus.auth.passwords import Passwords
from voxbus.auth.sessions import Sessions
from voxbus.auth.user_repository import NewUser, UserRecord, UserRepository, UserUpdate
from voxbus.contracts.access import Role
from voxbus.contracts.auth import ChangePassword, LogIn, LogOut, Refresh, Session, SignUp
from voxbus.contracts.rpc import Done
from voxbus.runtime.rpc import invalid

log = structlog.get_logger(__name__)


def checked_email(text: str, path: str = "/email") -> str:
    """The normalised email; raises INVALID at `path`."""
    try:
        return normalise_email(text)
    except ValueError as error:
        raise invalid(path, str(error)) from None


def check_password(password: str, email: str, path: str = "/password") -> None:
    """Raises INVALID at `path` when the password is too easy to guess."""
    if problem := password_problem(password, email):
        raise invalid(path, problem)


class Accounts:
    """Use cases of people with their own account."""

    def __init__(
        self,
        users: UserRepository,
        sessions: Sessions,
        passwords: Passwords,
        *,
        signup_enabled: bool,
        clock: Callable[[], datetime],
    ) -> None:
        self._users = users
        self._sessions = sessions
        self._passwords = passwords
        self._signup_enabled = signup_enabled
        self._clock = clock

    async def sign_up(self, request: SignUp) -> Session:
        """See the contract. An email that is taken answers as late as a free one."""
        if not self._signup_enabled:
            raise forbidden("accounts are made by admins here")
        email = checked_email(request.email)
        check_password(request.password, email)
        at = self._clock()
        hashed = await self._passwords.hash(request.password)
        try:
            record, _ = await self._users.create(NewUser(email=email, password=hashed, role=Role.USER))
        except DuplicateKeyError:
            raise email_taken() from None
        log.info("user signed up", user_id=record.user.id)
        return await self._sessions.begin(record, request.client, at)

    async def log_in(self, request: LogIn) -> Session:
        """See the contract. Whatever is wrong, the same is done: one look for the user, one check of a hash, one answer."""
        at = self._clock()
        record = await self._users.by_email(_email_or_none(request.email))
        right = await self._passwords.matches(request.password, record.password if record else None)
        if record is None or not right or not record.user.enabled:
            log.info("log-in refused", user_id=record.user.id if record else None)
            raise bad_credentials()
        session = await self._sessions.begin(record, request.client, at)
        renewed = self._passwords.outdated(record.password) and await self._passwords.hash(request.password)
        await self._users.logged_in(record, renewed or None)
        return session

    async def refresh(self, request: Refresh) -> Session:
        """See the contract."""
        return await self._sessions.refresh(request.refresh_token, request.client)

    async def log_out(self, request: LogOut) -> Done:
        """See the contract. Logging out of what has ended is no failure."""
        actor = request.actor
        session = await self._sessions.of_token(request.refresh_token) if request.refresh_token else None
        if request.everywhere:
            owner = actor or session
            if owner is None:
                raise nobody()
            await self._end_everywhere(owner.user_id)
        elif session is not None:
            await self._sessions.end(session.id)
        elif actor is not None and actor.session_id is not None and not request.refresh_token:
            await self._sessions.end(actor.session_id)
        return Done()

    async def change_password(self, request: ChangePassword) -> Done:
        """See the contract. Access tokens from before are stale; the sender's own session goes on and gets a new one."""
        if request.actor is None:
            raise nobody()
        record = await self._users.by_id(request.actor.user_id)
        right = await self._passwords.matches(request.current_password, record.password if record else None)
        if record is None or not right:
            raise invalid("/current_password", "this is not your password")
        check_password(request.new_password, record.user.email, "/new_password")
        kept = request.actor.session_id
        update = UserUpdate(
            password=await self._passwords.hash(request.new_password), ends_sessions=True, kept_session=kept
        )
        await self._change(record, update)
        await self._sessions.end_all(record.user.id, but=kept)
        log.info("password changed", user_id=record.user.id)
        return Done()

    async def _change(self, record: UserRecord, update: UserUpdate) -> None:
        if await self._users.change(record, update) is None:
            raise conflict("the account was changed at the same moment, try again", retryable=True)

    async def _end_everywhere(self, user_id: str) -> None:
        record = await self._users.by_id(user_id)
        if record is not None:
            await self._change(record, UserUpdate(ends_sessions=True))
            await self._sessions.end_all(user_id)


def _email_or_none(text: str) -> str:
    """The normalised email, or one that nobody has."""
    try:
        return normalise_email(text)
    except ValueError:
        return ""
