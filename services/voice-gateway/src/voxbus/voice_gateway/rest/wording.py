"""What a validator says, as a sentence for people: a regular expression tells nobody what to write."""

from __future__ import annotations

from typing import Final

PATTERNS: Final = {
    r"\S": "must not be blank",
    r"^[^@\s]+@[^@\s]+\.[^@\s]+$": "must be an email address such as me@example.com",
    r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$": "must be a language tag such as en or pt-BR",
    r"^[a-z0-9][a-z0-9_-]{1,62}[a-z0-9]$": "must be 3 to 64 lower-case letters, digits, - and _, with no - or _ at its ends",
    r"^[a-z0-9_]+$": "must be lower-case letters, digits and _",
    r"^[a-zA-Z0-9_-]{1,64}$": "must be 1 to 64 letters, digits, - and _",
    r"^[A-Za-z0-9_-]{1,64}$": "must be 1 to 64 letters, digits, - and _",
    r"^[A-Z]{2}$": "must be a country code such as GB",
    r"^(published|[1-9][0-9]{0,8})$": "must be the number of a version, or published",
    r"^(draft|published|[1-9][0-9]{0,8})$": "must be the number of a version, published or draft",
    r'^(\*|"[1-9][0-9]{0,14}")$': 'must be one entity tag such as "7", or *',
    r"^[\x21-\x7e]{1,128}$": "must be 1 to 128 printable ASCII characters without spaces",
    r"^[\x20-\x7e\t]*$": "must be printable ASCII characters",
    r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$": "must be the name of an HTTP header",
    r"^https?://[^\s/?#@]+([/?][^\s#]*)?$": "must be an http or https address without user, password and fragment",
}
"""Pattern of a field or a parameter -> what it asks for."""
_MISMATCH: Final = "String should match pattern '"


def for_people(message: str) -> str:
    """A message of pydantic without its preambles and regular expressions."""
    if message.startswith(_MISMATCH):
        return PATTERNS.get(message.removeprefix(_MISMATCH)[:-1], message)
    return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
