"""Users, logins, API keys and call tokens: the requests that `auth` answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from pydantic import Field, JsonValue, StringConstraints

from voxbus.contracts.access import Actor, Permission, Role
from voxbus.contracts.base import Identifier, Message
from voxbus.contracts.rpc import CreateRequest, Done, Operation, PageRequest, Request

ISSUER: Final = "voxbus"
API_AUDIENCE: Final = "voxbus-api"
"""`aud` of access tokens."""
VOICE_AUDIENCE: Final = "voxbus-voice"
"""`aud` of call tokens."""
API_KEY_PREFIX: Final = "vxk_"

Email = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
]
"""As it was typed; `auth` normalises it."""
Password = Annotated[str, StringConstraints(min_length=12, max_length=256)]
"""A password to be set. One to be checked is any string of at most 256 characters."""
_Secret = Annotated[str, Field(max_length=256, repr=False)]


class User(Message):
    """A user. `email` is normalised."""

    id: Identifier
    email: str
    role: Role
    enabled: bool = True
    """A disabled user cannot log in, and their sessions and API keys stop working."""
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None = None
    revision: int


class UserPage(Message):
    """A page of users."""

    items: tuple[User, ...]
    next_cursor: str | None = None


class Session(Message):
    """What a login gives: a short-lived access token (JWT), and a refresh token that is good for one refresh."""

    access_token: str = Field(repr=False)
    refresh_token: str = Field(repr=False)
    token_type: str = "Bearer"  # noqa: S105  # a scheme, not a secret
    expires_in_s: int
    """Life of the access token."""
    refresh_expires_in_s: int
    user: User


class Client(Message):
    """Where a login comes from."""

    address: str = ""
    user_agent: str = Field(default="", max_length=512)


class SignUp(Request):
    """Make an account of role `user` and log in. FORBIDDEN when sign-up is off, CONFLICT when the email is taken."""

    email: Email
    password: Password = Field(repr=False)
    client: Client = Client()


class LogIn(Request):
    """UNAUTHENTICATED when email and password don't fit, with the same answer in the same time whatever is wrong."""

    email: str = Field(max_length=254)
    password: _Secret
    client: Client = Client()


class Refresh(Request):
    """A new session for a refresh token. A token used twice ends the session: UNAUTHENTICATED, as for any bad one."""

    refresh_token: str = Field(max_length=512, repr=False)
    client: Client = Client()


class LogOut(Request):
    """End the session of a refresh token, or the actor's; with `everywhere` all of the actor's sessions."""

    refresh_token: str | None = Field(default=None, max_length=512, repr=False)
    everywhere: bool = False


class ChangePassword(Request):
    """Change one's own password; ends one's other sessions. INVALID at `/current_password` when that is wrong."""

    current_password: _Secret
    new_password: Password = Field(repr=False)


class GetUser(Request):
    """One user: oneself, or any for an admin."""

    user_id: Identifier


class ListUsers(PageRequest):
    """Users, for admins. Sorts by `created_at` and `email`."""

    role: Role | None = None
    enabled: bool | None = None
    email: str | None = Field(default=None, max_length=254)
    """Part of the email."""


class CreateUser(CreateRequest):
    """For admins."""

    email: Email
    password: Password = Field(repr=False)
    role: Role = Role.USER


class UserChange(Message):
    """What an admin changes of a user; what is None stays."""

    email: Email | None = None
    role: Role | None = None
    enabled: bool | None = None
    password: Password | None = Field(default=None, repr=False)
    """Ends the user's sessions."""


class UpdateUser(Request):
    """For admins. CONFLICT when nobody would be left to administrate."""

    user_id: Identifier
    expected_revision: int | None = None
    change: UserChange


class DeleteUser(Request):
    """For admins. Their sessions and API keys end; their agents and campaigns stay, visible to admins."""

    user_id: Identifier
    expected_revision: int | None = None


class ApiKey(Message):
    """A key for machines. The secret is shown once, when it is made."""

    id: Identifier
    user_id: Identifier
    name: str
    permissions: tuple[Permission, ...]
    hint: str
    """The last four characters of the secret."""
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    """To the minute."""


class ApiKeyPage(Message):
    """A page of API keys."""

    items: tuple[ApiKey, ...]
    next_cursor: str | None = None


class NewApiKey(Message):
    """A key with its secret, which is shown this once."""

    key: ApiKey
    secret: str = Field(repr=False)


class CreateApiKey(CreateRequest):
    """A key for the actor. Its permissions are some of the actor's, never `account`.

    CONFLICT for a repeated idempotency key, and beyond 100 keys of a user.
    """

    name: str = Field(min_length=1, max_length=100, pattern=r"\S")
    permissions: tuple[Permission, ...] = Field(min_length=1)
    expires_at: datetime | None = None


class ListApiKeys(PageRequest):
    """The actor's keys; an admin's list can be of another user, or of all."""

    user_id: Identifier | None = None
    """None: the actor's own."""
    all_users: bool = False


class RevokeApiKey(Request):
    """It stops working at once."""

    api_key_id: Identifier


class VerifyApiKey(Request):
    """Who a key stands for. UNAUTHENTICATED when it is unknown, revoked, expired, or its user disabled."""

    secret: str = Field(max_length=256, repr=False)


class VerifiedApiKey(Message):
    """A good key."""

    actor: Actor
    expires_at: datetime | None = None


class IssueCallToken(Request):
    """A token for calls to one agent. The sender has checked that the actor may call it."""

    agent_id: Identifier
    ttl_s: int = Field(default=600, ge=30, le=3600)


class CallToken(Message):
    """A JWT for the voice socket."""

    token: str = Field(repr=False)
    agent_id: Identifier
    expires_at: datetime
    voice_url: str | None = None
    """Where to connect."""


class GetJwks(Request):
    """The public keys."""


class JwkSet(Message):
    """RFC 7517. The keys that verify tokens now, and the one that will sign next."""

    keys: tuple[dict[str, JsonValue], ...]


class RotateKeys(Request):
    """For admins: make a new signing key. Tokens signed by the old one stay good until they expire."""


SIGN_UP: Final = Operation("auth", "sign_up", SignUp, Session)
LOG_IN: Final = Operation("auth", "log_in", LogIn, Session)
REFRESH: Final = Operation("auth", "refresh", Refresh, Session)
LOG_OUT: Final = Operation("auth", "log_out", LogOut, Done)
CHANGE_PASSWORD: Final = Operation("auth", "change_password", ChangePassword, Done)
GET_USER: Final = Operation("auth", "get_user", GetUser, User, safe=True)
LIST_USERS: Final = Operation("auth", "list_users", ListUsers, UserPage, safe=True)
UPDATE_USER: Final = Operation("auth", "update_user", UpdateUser, User)
DELETE_USER: Final = Operation("auth", "delete_user", DeleteUser, Done)
CREATE_API_KEY: Final = Operation("auth", "create_api_key", CreateApiKey, NewApiKey)
LIST_API_KEYS: Final = Operation("auth", "list_api_keys", ListApiKeys, ApiKeyPage, safe=True)
REVOKE_API_KEY: Final = Operation("auth", "revoke_api_key", RevokeApiKey, Done)
VERIFY_API_KEY: Final = Operation("auth", "verify_api_key", VerifyApiKey, VerifiedApiKey, safe=True)
ISSUE_CALL_TOKEN: Final = Operation("auth", "issue_call_token", IssueCallToken, CallToken, safe=True)
GET_JWKS: Final = Operation("auth", "get_jwks", GetJwks, JwkSet, safe=True)
ROTATE_KEYS: Final = Operation("auth", "rotate_keys", RotateKeys, JwkSet)


class CreatedUser(Message):
    """`replayed`: an earlier request with the same idempotency key made it."""

    user: User
    replayed: bool = False


CREATE_USER: Final = Operation("auth", "create_user", CreateUser, CreatedUser)

OPERATIONS: Final = (
    SIGN_UP, LOG_IN, REFRESH, LOG_OUT, CHANGE_PASSWORD, GET_USER, LIST_USERS, CREATE_USER, UPDATE_USER, DELETE_USER,
    CREATE_API_KEY, LIST_API_KEYS, REVOKE_API_KEY, VERIFY_API_KEY, ISSUE_CALL_TOKEN, GET_JWKS, ROTATE_KEYS,
)  # fmt: skip
