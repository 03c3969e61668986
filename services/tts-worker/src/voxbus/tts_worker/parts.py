"""Long text in parts that are short enough to be worked on one by one."""

from __future__ import annotations

import re
from typing import Final

_ENDS: Final = (
    re.compile(r"[.!?…।](?=\s)|[\n。！？]"),  # a sentence or a line
    re.compile(r"[,;:—–](?=\s)|[、，；：]"),  # a clause
    re.compile(r"\s"),  # a word
)


def split_long(text: str, limit: int) -> list[str]:
    """`text` in parts of at most `limit` characters: cut after a sentence, else a clause, else between words, else anywhere."""
    parts = []
    begin = 0
    while len(text) - begin > limit:
        end = begin + _first_part(text[begin : begin + limit])
        parts.append(text[begin:end].strip())
        begin = end
    return [part for part in (*parts, text[begin:].strip()) if part]


def _first_part(text: str) -> int:
    """Where to cut, as late as possible, and not in the first third if there is a choice."""
    for pattern in _ENDS:
        ends = [match.end() for match in pattern.finditer(text, len(text) // 3)]
        if ends:
            return ends[-1]
    return len(text)
