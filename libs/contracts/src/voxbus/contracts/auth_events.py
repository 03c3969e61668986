"""What happened to users, API keys and signing keys: the events of `auth`."""

from __future__ import annotations

from voxbus.contracts.access import Role
from voxbus.contracts.base import Identifier, Message


class UserCreated(Message):
    """`voxbus.user.created.v1`"""

    user_id: Identifier
    role: Role


class UserUpdated(Message):
    """`voxbus.user.updated.v1`: role, email, password or whether it is enabled. Tokens issued before are stale."""

    user_id: Identifier
    role: Role
    enabled: bool
    access_changed: bool
    """Role or enabled changed, or the password was reset: access tokens issued before must not be accepted any more."""
    revision: int | None = None
    """Of the user since this change. An access token says as `rev` which revision it was issued for."""


class UserDeleted(Message):
    """`voxbus.user.deleted.v1`"""

    user_id: Identifier


class ApiKeyRevoked(Message):
    """`voxbus.api_key.revoked.v1`"""

    api_key_id: Identifier
    user_id: Identifier


class SigningKeysChanged(Message):
    """`voxbus.signing_keys.changed.v1`: fetch the public keys again."""

    key_ids: tuple[str, ...]
