"""Logins: a session begins, is refreshed by tokens that are good once, and ends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from voxbus.auth.failures import login_ended
from voxbus.auth.secret_tokens import SecretToken, new_refresh_token, parse_refresh_token
from voxbus.auth.session_repository import SessionRecord, SessionRepository
from voxbus.auth.settings import AuthSettings
from voxbus.auth.tokens import TokenIssuer
from voxbus.auth.user_repository import UserRecord, UserRepository
from voxbus.contracts.auth import Client, Session
from voxbus.contracts.base import new_id

log = structlog.get_logger(__name__)


class Sessions:
    """Begins, refreshes and ends logins.

    A session slides: it ends when it was not refreshed for `refresh_ttl_days`, and at the latest `session_max_days` after the
    login. A refresh token that comes a second time was stolen, or is its owner's while the thief has the next one: the
    session ends.
    """

    def __init__(
        self,
        sessions: SessionRepository,
        users: UserRepository,
        tokens: TokenIssuer,
        settings: AuthSettings,
        clock: Callable[[], datetime],
    ) -> None:
        self._sessions = sessions
        self._users = users
        self._tokens = tokens
        self._idle = timedelta(days=settings.refresh_ttl_days)
        self._most = timedelta(days=settings.session_max_days)
        self._clock = clock

    async def begin(self, record: UserRecord, client: Client, at: datetime) -> Session:
        """A new login. `at` is a moment before `record` was read: it dates the access token."""
        token = new_refresh_token(new_id("sess"))
        session = SessionRecord(
            id=token.record_id,
            user_id=record.user.id,
            epoch=record.session_epoch,
            digest=token.digest,
            created_at=at,
            expires_at=at + min(self._idle, self._most),
        )
        await self._sessions.create(session, client)
        return self._answer(record, session, token, at)

    async def refresh(self, text: str, client: Client) -> Session:
        """A new access token and the next refresh token. Raises UNAUTHENTICATED."""
        at = self._clock()
        used = parse_refresh_token(text)
        known = await self._sessions.by_id(used.record_id) if used else None
        if used is None or known is None or known.expires_at <= at:
            raise login_ended()
        record = await self._users.by_id(known.user_id)
        if record is None or not record.accepts(known.id, known.epoch):
            await self._sessions.end(known.id)
            raise login_ended()
        token = new_refresh_token(known.id)
        expires_at = min(at + self._idle, known.created_at + self._most)
        fits = used.fits(known.digest)
        session = fits and await self._sessions.rotate(used, token, at=at, expires_at=expires_at, client=client)
        if not session:
            await self._revoke(known)
            raise login_ended()
        return self._answer(record, session, token, at)

    async def of_token(self, text: str) -> SessionRecord | None:
        """The session a refresh token belongs to; it ends when the token is an old one."""
        token = parse_refresh_token(text)
        known = await self._sessions.by_id(token.record_id) if token else None
        if token is None or known is None:
            return None
        if not token.fits(known.digest):
            await self._revoke(known)
            return None
        return known

    async def end(self, session_id: str) -> None:
        """Log one session out."""
        await self._sessions.end(session_id)

    async def end_all(self, user_id: str, *, but: str | None = None) -> None:
        """Log a user out everywhere, but for one session."""
        ended = await self._sessions.end_all(user_id, but=but)
        log.info("sessions ended", user_id=user_id, sessions=ended)

    async def _revoke(self, session: SessionRecord) -> None:
        await self._sessions.end(session.id)
        log.warning("refresh token used twice, session ended", session_id=session.id, user_id=session.user_id)

    def _answer(self, record: UserRecord, session: SessionRecord, token: SecretToken, at: datetime) -> Session:
        return Session(
            access_token=self._tokens.access_token(record.user, session.id, at),
            refresh_token=token.text,
            expires_in_s=self._tokens.access_ttl_s,
            refresh_expires_in_s=int((session.expires_at - at).total_seconds()),
            user=record.user,
        )
