"""Rules of accounts: what an email, a password and a key's permissions may be. No I/O."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

import email_validator

from voxbus.auth.common_passwords import is_guessable
from voxbus.contracts.access import ROLE_PERMISSIONS, Permission, Role

# A self-hosted platform may live in a network with names of its own, such as `voxbus.local`; nothing is delivered there by us.
for _name in ("local", "test"):
    if _name in email_validator.SPECIAL_USE_DOMAIN_NAMES:
        email_validator.SPECIAL_USE_DOMAIN_NAMES.remove(_name)

MIN_PASSWORD: Final = 12
_MIN_NAME: Final = 4
"""A shorter local part of an email would be found in too many good passwords."""


def normalise_email(text: str) -> str:
    """One spelling of an address: NFC, the domain in Unicode (IDNA decoded), all in lower case. Raises ValueError with a reason.

    RFC 5321 lets a host tell `Ann@` from `ann@`; none that matters does, and people type both.
    """
    try:
        found = email_validator.validate_email(text.strip(), check_deliverability=False)
    except email_validator.EmailNotValidError as error:
        raise ValueError(str(error)) from None
    return unicodedata.normalize("NFC", found.normalized.lower())


def normalise_password(password: str) -> str:
    """The same characters, however the keyboard put them together (NFKC, as NIST SP 800-63B asks for)."""
    return unicodedata.normalize("NFKC", password)


def password_problem(password: str, email: str) -> str | None:
    """Why `password` is too easy to guess for the user of `email` (normalised), or None. After NIST SP 800-63B.

    Length counts and guessable ones are refused; no kinds of characters are asked for.
    """
    secret = normalise_password(password).lower()
    if len(secret) < MIN_PASSWORD:
        return f"a password has at least {MIN_PASSWORD} characters"
    name = email.partition("@")[0]
    if email in secret or (len(name) >= _MIN_NAME and name in secret):
        return "a password must not contain the email address or its name"
    if is_guessable(secret):
        return "this password is one of the first that would be guessed"
    return None


def key_permissions_problem(wanted: Iterable[Permission], held: Iterable[Permission]) -> str | None:
    """Why a key with the permissions `wanted` cannot be made by somebody who holds `held`, or None."""
    wanted = tuple(wanted)
    if Permission.ACCOUNT in wanted:
        return "an API key cannot have the permission account"
    missing = sorted(set(wanted) - set(held))
    return f"you do not have the permission {', '.join(missing)}" if missing else None


def effective_permissions(key: Iterable[Permission], role: Role) -> tuple[Permission, ...]:
    """What a key is good for now: what it was given, as far as its owner still has it."""
    given = set(key)
    return tuple(permission for permission in ROLE_PERMISSIONS[role] if permission in given)
