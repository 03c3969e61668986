"""Finds a script's phrases in what the caller said."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from voxbus.llm_worker.script import patterns
from voxbus.llm_worker.script.words import normal, tokens
from voxbus.llm_worker.wordlists import word_set

MAX_CHARS: Final = 2000

_CLAUSE_END: Final = re.compile(r"[,.;?!…]+(?:\s+|$)")
_GREETING: Final = word_set("hello hi hey good morning afternoon evening there yes yeah")
_YES: Final = (
    "yes", "yeah", "yep", "yup", "yes please", "sure", "correct", "right", "exactly", "absolutely", "certainly", "definitely",
    "of course", "ok", "okay", "alright", "perfect", "sounds good", "please do", "it is", "fine", "good", "that's it",
)  # fmt: skip
_NO: Final = (
    "no", "nope", "nah", "not", "wrong", "incorrect", "isn't", "isn't right", "don't", "never", "not right", "not correct",
    "not good", "not ok", "not okay", "not fine", "not it", "isn't it", "isn't correct", "not really", "not exactly",
)  # fmt: skip


def matches(phrases: Iterable[str], text: str) -> bool:
    """Whether one of the phrases occurs, as whole words; those between slashes as regular expressions."""
    words = f" {normal(text)} "
    for phrase in phrases:
        found = patterns.occurs(phrase, text) if patterns.is_regex(phrase) else f" {normal(phrase)} " in words
        if found:
            return True
    return False


def without(phrases: Iterable[str], text: str) -> str:
    """The text without the clauses in which one of the phrases occurs; all of it when no clause has one."""
    known = tuple(phrases)
    clauses = [clause for clause in _CLAUSE_END.split(text) if clause.strip()]
    kept = [clause for clause in clauses if not matches(known, clause)]
    return text if len(kept) == len(clauses) else ", ".join(kept)


def is_greeting(text: str) -> bool:
    """Nothing but "hello" and the like."""
    words = tokens(text)
    return bool(words) and _GREETING.issuperset(words) and not {"yes", "yeah"}.issuperset(words)


def yes_or_no(text: str) -> bool | None:
    """What the caller says to a yes/no question; the last word on it counts, None: neither."""
    words = f" {normal(text)} "
    found = [(words.rfind(f" {phrase} "), len(phrase), False) for phrase in _NO]
    found += [(words.rfind(f" {phrase} "), len(phrase), True) for phrase in _YES]
    # By where a phrase ends: "not right" covers the "right" in it.
    ends = [(start + length, length, meaning) for start, length, meaning in found if start >= 0]
    return max(ends)[2] if ends else None
