"""Regular expressions of scripts."""

from __future__ import annotations

from voxbus.llm_worker import regexes


def is_regex(phrase: str) -> bool:
    """Phrases between slashes are regular expressions."""
    return len(phrase) > 2 and phrase.startswith("/") and phrase.endswith("/")


def check(phrase: str) -> str:
    """The phrase; raises ValueError when it is a regular expression that does not compile."""
    problem = regexes.problem(phrase[1:-1]) if is_regex(phrase) else ""
    if problem:
        raise ValueError(f"{phrase} is no regular expression: {problem}")
    return phrase


def occurs(phrase: str, text: str) -> bool:
    """Whether the regular expression matches anywhere, whatever the case; no, if that takes too long to find out."""
    return regexes.found(phrase[1:-1], text, ignore_case=True)
