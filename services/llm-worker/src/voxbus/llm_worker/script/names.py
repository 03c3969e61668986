"""Finds a person's name."""

from __future__ import annotations

import re
from typing import Final

from voxbus.llm_worker.script.words import number
from voxbus.llm_worker.wordlists import word_set

_SAID: Final = re.compile(r"\b(?:my name is|my name's|the name is|the name's|name is|name's|call me)\s+", re.IGNORECASE)
_LEAD_IN: Final = re.compile(r"\b(?:this is|i am|i'm|it is|it's|you can say|under)\s+", re.IGNORECASE)
_SPELLED: Final = re.compile(r"(?:[^\W\d_][\s.,-]+){2,}[^\W\d_]")
_WORD: Final = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_AROUND: Final = word_set(
    "um uh er well so yes yeah yep sure ok okay oh hello hi please thanks thank you speaking here"
)
_END: Final = word_set("and but i i'd from calling for with at on about")
_NO_NAMES: Final = word_set(
    "a an are bye can can't could do does don't goodbye have hour hours how is it like my need no nope not number of please "
    "repeat say sorry thank thanks that the there they this time to wait want what what's when where which who why will would "
    "yes you your know think monday tuesday wednesday thursday friday saturday sunday today tomorrow appointment name"
)
_MAX_WORDS: Final = 4


def find_name(text: str, *, asked: bool) -> str | None:
    """The name in the text, as it is written. Unless `asked` for it, only after "my name is" and the like."""
    plain = text.replace("’", "'")
    said = _last(_SAID, plain)
    if said is None and not asked:
        return None
    rest = said if said is not None else _last(_LEAD_IN, plain)
    return _name(plain if rest is None else rest)


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    """What follows the last match."""
    found = list(pattern.finditer(text))
    return text[found[-1].end() :] if found else None


def _name(text: str) -> str | None:
    clauses = [clause for clause in re.split(r"[,;?!]|\.(?:\s|$)", text) if _without_manners(clause)]
    spelled = _SPELLED.fullmatch(text.strip(" .,?!"))
    if spelled:
        return "".join(char for char in text if char.isalpha()).capitalize()
    words = _without_manners(clauses[0]) if clauses else []
    for position, word in enumerate(words):
        if word.lower() in _END:
            words = words[:position]
            break
    if not 1 <= len(words) <= _MAX_WORDS or not all(_can_be_name(word) for word in words):
        return None
    return " ".join(
        word.capitalize() if word.islower() or (word.isupper() and len(word) > 2) else word for word in words
    )


def _without_manners(clause: str) -> list[str]:
    words = clause.split()
    while words and words[0].lower() in _AROUND:
        words = words[1:]
    while words and words[-1].lower() in _AROUND:
        words = words[:-1]
    return words


def _can_be_name(word: str) -> bool:
    return bool(_WORD.fullmatch(word)) and word.lower() not in _NO_NAMES and number(word.lower()) is None
