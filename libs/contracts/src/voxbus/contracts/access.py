"""Who asks, and what they may do."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from voxbus.contracts.base import Identifier, Message


class Role(StrEnum):
    """What a user is."""

    ADMIN = "admin"
    """Sees and changes everything, manages users."""
    USER = "user"
    """Sees and changes what is theirs."""


class Permission(StrEnum):
    """What a token or an API key is good for; which records it reaches is decided by their owner."""

    AGENTS_READ = "agents:read"
    AGENTS_WRITE = "agents:write"
    CAMPAIGNS_READ = "campaigns:read"
    CAMPAIGNS_WRITE = "campaigns:write"
    CALLS_START = "calls:start"
    """Get call tokens."""
    ACCOUNT = "account"
    """One's own password, sessions and API keys. Never given to an API key."""
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    PLATFORM_WRITE = "platform:write"
    """Rotate signing keys."""


_OF_ADMINS: Final = frozenset({Permission.USERS_READ, Permission.USERS_WRITE, Permission.PLATFORM_WRITE})
ROLE_PERMISSIONS: Final[dict[Role, tuple[Permission, ...]]] = {
    Role.ADMIN: tuple(Permission),
    Role.USER: tuple(permission for permission in Permission if permission not in _OF_ADMINS),
}
"""What a logged-in user of each role may do."""


class Actor(Message):
    """The authenticated sender of a request. The edge makes it from a verified token or API key; services trust it."""

    user_id: Identifier
    role: Role
    permissions: tuple[Permission, ...] = ()
    session_id: Identifier | None = None
    """The login it comes from."""
    api_key_id: Identifier | None = None
    """The API key it comes from."""

    @property
    def is_admin(self) -> bool:
        """Whether everything is visible."""
        return self.role is Role.ADMIN

    def may(self, permission: Permission) -> bool:
        """Whether this permission was given."""
        return permission in self.permissions

    def sees(self, owner_id: str) -> bool:
        """Whether a record of `owner_id` is visible."""
        return self.is_admin or self.user_id == owner_id
