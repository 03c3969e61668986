"""The composition root of the auth service."""

from __future__ import annotations

from nats.aio.msg import Msg

from voxbus.auth.accounts import Accounts
from voxbus.auth.admins import AdminError, Admins
from voxbus.auth.api_key_repository import ApiKeyRepository
from voxbus.auth.api_keys import ApiKeys
from voxbus.auth.handlers import answer_requests
from voxbus.auth.key_files import UnreadableKeyError
from voxbus.auth.migrations import MIGRATIONS, OUTBOXES
from voxbus.auth.outgoing import Outgoing
from voxbus.auth.passwords import Passwords
from voxbus.auth.session_repository import SessionRepository
from voxbus.auth.sessions import Sessions
from voxbus.auth.settings import AuthSettings
from voxbus.auth.signing_key_repository import SigningKeyRepository
from voxbus.auth.signing_keys import SigningKeys
from voxbus.auth.tokens import TokenIssuer
from voxbus.auth.user_repository import UserRepository
from voxbus.auth.users import Users
from voxbus.contracts import subjects
from voxbus.contracts.auth_events import SigningKeysChanged
from voxbus.contracts.event import EVENT_TYPES
from voxbus.runtime.process import CannotStartError, Context
from voxbus.runtime.service import ServiceApplication
from voxbus.runtime.store.documents import now


class AuthService(ServiceApplication):
    """Users, logins, API keys and tokens."""

    def __init__(self, context: Context, settings: AuthSettings) -> None:
        super().__init__(context, settings, migrations=MIGRATIONS, outboxes=OUTBOXES)
        self._settings = settings
        self._events = context.events
        outgoing = Outgoing(f"/{context.service}/{context.instance_id}", self.relay.nudge)
        users = UserRepository(self.store, outgoing)
        api_keys = ApiKeyRepository(self.store, outgoing)
        self._passwords = Passwords(settings)
        self._admins = Admins(users, self._passwords)
        self._keys = SigningKeys(SigningKeyRepository(self.store, outgoing), settings, now)
        tokens = TokenIssuer(self._keys, access_ttl_s=settings.access_ttl_s, clock=now)
        sessions = Sessions(SessionRepository(self.store), users, tokens, settings, now)
        answer_requests(
            self.rpc,
            Accounts(users, sessions, self._passwords, signup_enabled=settings.signup_enabled, clock=now),
            Users(users, sessions, api_keys, self._passwords),
            ApiKeys(api_keys, users, now),
            self._keys,
            tokens,
        )

    async def prepare(self) -> None:
        """The signing keys, and the first admin. Raises CannotStartError."""
        noun, verb = EVENT_TYPES[SigningKeysChanged]
        await self._events.subscribe(subjects.EVENT(noun=noun, verb=verb), self._keys_changed)
        try:
            await self._keys.start()
            await self._admins.ensure_first(self._settings)
        except (UnreadableKeyError, AdminError) as error:
            raise CannotStartError(str(error)) from None

    async def stop(self) -> None:
        await self.rpc.drain()
        await self._keys.stop()
        self._passwords.close()
        await super().stop()

    async def _keys_changed(self, _: Msg) -> None:
        self._keys.look_again()
