"""What a language model writes, without what cannot be spoken: Markdown, HTML, emoji, control characters.

It is for every provider and every language, so it removes and never translates.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Final

from voxbus.tts_worker.parts import split_long

MAX_PART_CHARS: Final = 1_000
"""What some patterns take grows with the square of the length; this much takes milliseconds at worst."""

_CODE_BLOCK: Final = re.compile(r"```.*?```", re.DOTALL)
_LINK: Final = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"]*\")?\)")
_AUTOLINK: Final = re.compile(r"<((?:https?://|mailto:|www\.)[^<>\s]+)>")
_TAG_NAMES: Final = (
    "a abbr b big blockquote body br button center cite code col dd del details div dl dt em figcaption figure font footer"
    " form h[1-6] head header hr html i img input ins kbd label li link mark nav ol option p pre q s samp section select small"
    " span strike strong style sub summary sup table tbody td tfoot th thead title tr tt u ul var"
    " audio break emphasis phoneme prosody say-as speak voice"  # SSML
)
_ATTRIBUTE: Final = r"""\s+[\w:-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s<>"']+)"""
# Only what is surely a tag: "a <b and c> d" is a comparison, and "<name>" is words.
_TAG: Final = re.compile(
    rf"<!--.*?-->|</[a-z][\w:-]*\s*>|<(?:{_TAG_NAMES.replace(' ', '|')})(?:{_ATTRIBUTE})*\s*/?>",
    re.DOTALL | re.IGNORECASE,
)
_RULE: Final = re.compile(r"[\s:|*_=-]*")
_LINE_START: Final = re.compile(r"^\s*(?:>\s*)*(?:#{1,6}\s+|[-*+•‣◦–]\s+(?:\[[ xX]\]\s+)?)?")
_LIST_NUMBER: Final = re.compile(r"^(\d{1,3})[.)]\s+(?=\S)")
_STRONG: Final = re.compile(r"(\*{1,3}|~~)(?=\S)(.+?)(?<=\S)\1")
_UNDERSCORED: Final = re.compile(r"(?<!\w)(_{1,3})(?=\S)(.+?)(?<=\S)\1(?!\w)")
_LEFTOVER: Final = re.compile(r"`+|\*{2,}|~~|(?<!\S)\*(?=\w)|(?<=[\w.,!?])\*(?!\S)|(?<!\S)_{2,}(?!\S)")
_PICTURES: Final = (
    "\U0001f000-\U0001faff\U0001fb00-\U0001fbff"  # emoji and pictographs
    "\u2300-\u23ff\u2460-\u24ff\u2500-\u27bf\u2900-\u297f\u2b00-\u2bff\u3030\u303d\u3297\u3299"
)
_JOINERS: Final = "\u200d\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f"
# A zero-width joiner is part of Indic words as well, so it only goes along with an emoji.
_EMOJI: Final = re.compile(f"[{_PICTURES}][{_JOINERS}]*|[\ufe0e\ufe0f\u20e3]")
# Eyes are marks alone, for "8)" and "x)" end a sentence in brackets, and "8D" is a room; of faces made of letters only "xD" is no
# word or name. A heart ends its clause, after anything but a number: "<3 days" and "2 <3" are comparisons.
_EMOTICON: Final = re.compile(
    r"(?<!\S)(?:[:;=]['’]?-?(?:[)(|/\\*\]\[]+|D+|[Pp]+|[Oo])|xD+|(?<!\d\s)<3+(?=\s*(?:[.,;:!?]|$))|\^_?\^)(?!\w)"
)
_UNSEEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u00ad\u200b\u200e\u200f\u2028-\u202e\u2060\ufeff\ufffd]")
_SPACE_BEFORE_MARK: Final = re.compile(r"\s+([,.;:!?])(?!\w)")
_REPEATED_MARK: Final = re.compile(r"([!?,;:])\1+")
_LINE_ENDS: Final = tuple(".!?,;:…।。！？")


def plain_parts(text: str) -> Iterator[str]:
    """`text` of any length as plain text, each part made of at most `MAX_PART_CHARS` characters; none when nothing is said."""
    # A block of code is longer than any part, and half of one would be spoken.
    for part in split_long(_CODE_BLOCK.sub(" \n", text), MAX_PART_CHARS):
        if plain := plain_text(part):
            yield plain


def plain_text(text: str) -> str:
    """`text` as one line of plain words and marks; empty when nothing in it can be spoken."""
    text = _CODE_BLOCK.sub(" ", _UNSEEN.sub("", html.unescape(text)))
    text = _TAG.sub(" ", _AUTOLINK.sub(r"\1", _LINK.sub(r"\1", text)))
    text = _one_line([_plain_line(line) for line in text.splitlines() if not _RULE.fullmatch(line)])
    text = _EMOTICON.sub("", _EMOJI.sub("", text))
    text = _REPEATED_MARK.sub(r"\1", _SPACE_BEFORE_MARK.sub(r"\1", " ".join(text.split())))
    return text if any(char.isalnum() for char in text) else ""


def _plain_line(line: str) -> str:
    line = _LIST_NUMBER.sub(r"\1, ", _LINE_START.sub("", line))
    if line.startswith("|") or line.rstrip().endswith("|"):
        line = ", ".join(cell.strip() for cell in line.strip().strip("|").split("|"))
    # Emphasis nests at most a few deep: bold that holds italics.
    for _ in range(2):
        line = _UNDERSCORED.sub(r"\2", _STRONG.sub(r"\2", line))
    return _LEFTOVER.sub("", line).strip()


def _one_line(lines: list[str]) -> str:
    """Lines joined; one without a mark at its end was a heading or a list item, and gets a full stop."""
    said = [line for line in lines if line]
    return " ".join(
        line if line.endswith(_LINE_ENDS) or index == len(said) - 1 else f"{line}." for index, line in enumerate(said)
    )
