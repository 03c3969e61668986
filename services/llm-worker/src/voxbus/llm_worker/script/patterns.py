"""Regular expressions of scripts. Agents bring their own; one that explodes must not hold up the calls of the process."""

from __future__ import annotations

from typing import Final

import regex  # type: ignore[import-untyped]

_TIMEOUT_S: Final = 0.02


def is_regex(phrase: str) -> bool:
    """Phrases between slashes are regular expressions."""
    return len(phrase) > 2 and phrase.startswith("/") and phrase.endswith("/")


def check(phrase: str) -> str:
    """The phrase; raises ValueError when it is a regular expression that does not compile."""
    if is_regex(phrase):
        try:
            regex.compile(phrase[1:-1])
        except regex.error as error:
            raise ValueError(f"{phrase} is no regular expression: {error}") from None
    return phrase


def occurs(phrase: str, text: str) -> bool:
    """Whether the regular expression matches anywhere, whatever the case; no, if that takes too long to find out."""
    try:
        return regex.search(phrase[1:-1], text, regex.IGNORECASE, timeout=_TIMEOUT_S) is not None
    except TimeoutError:
        return False
