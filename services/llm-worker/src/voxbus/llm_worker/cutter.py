"""Cuts a stream of text into sentences, each as soon as it is complete.

What is cut depends on the text alone, never on how it was split into tokens: feeding the same reply again gives the same
pieces, which is what a takeover counts on. The pieces joined are the text, but for the white space around them.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

from voxbus.llm_worker.abbreviations import BEFORE_NUMBER, MAYBE_LAST, NEVER_LAST, STARTERS

FIRST_PIECE_CHARS: Final = 70
"""A first piece that is longer than this leaves at the end of a clause."""
MIN_CLAUSE_CHARS: Final = 25
"""A clause shorter than this does not leave by itself; it would sound chopped."""
MAX_PIECE_CHARS: Final = 300
"""A sentence that is longer leaves in parts, or the caller would wait for all of it and speech engines refuse it."""

_MAX_RUN: Final = 32
"""Stops or closing marks that are looked at together."""
_LOOK_AHEAD: Final = 200
"""Characters after a stop that may decide on it; most of the time the first word does."""
_STOPS: Final = frozenset(".!?…")
_SURE_STOPS: Final = frozenset("।॥。！？")
"""End a sentence whatever follows, white space or not."""
_TERMINATORS: Final = _STOPS | _SURE_STOPS
_CLOSERS: Final = frozenset("\"'”’»›)]}*_")
_CLAUSE_ENDS: Final = frozenset(",;:—–")
_INITIALS: Final = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_BLANKS: Final = re.compile(r"\A[^\S\n]+")
_NUMBER: Final = re.compile(r"\d{1,2}")
_BEFORE_ITEM: Final = frozenset(":") | _TERMINATORS | _CLOSERS
_LEADING: Final = "\"'“‘«‹([{*_"


class _Verdict(Enum):
    CUT = auto()
    KEEP = auto()
    WAIT = auto()
    """The text that follows is needed first."""


class SentenceCutter:
    """Feed it tokens, take sentences.

    `first_piece_chars`: length in characters from which the first piece may leave at a clause boundary; None: never.
    """

    def __init__(self, *, first_piece_chars: int | None = FIRST_PIECE_CHARS) -> None:
        self._text = ""
        self._position = 0
        self._clause_end = 0
        self._blank_end = 0
        self._first_piece_chars = first_piece_chars

    def feed(self, text: str) -> list[str]:
        """The sentences that `text` completes."""
        self._text += text
        return self._scan(final=False)

    def finish(self) -> list[str]:
        """What is left, cut as well as ever. The cutter is empty afterwards."""
        pieces = self._scan(final=True)
        self._cut(len(self._text), pieces)
        return pieces

    def _scan(self, *, final: bool) -> list[str]:
        pieces: list[str] = []
        while self._position < len(self._text):
            if self._position == 0:
                self._text = self._text.lstrip()
                if not self._text:
                    break
            end, verdict = self._look(final=final)
            if verdict is _Verdict.WAIT:
                break
            if verdict is _Verdict.CUT:
                self._cut(end, pieces)
                continue
            self._position = end
            if self._is_long():
                self._cut(self._clause_end, pieces)
            elif self._position >= MAX_PIECE_CHARS:
                self._cut(self._best_end(), pieces)
        return pieces

    def _look(self, *, final: bool) -> tuple[int, _Verdict]:
        """Where the thing at the position ends, and what to do there."""
        char = self._text[self._position]
        if char == "\n":
            return self._position + 1, _Verdict.CUT
        if char in _TERMINATORS:
            return self._look_at_stop(final=final)
        if char.isspace():
            self._blank_end = self._position + 1
        elif char in _CLAUSE_ENDS:
            after = self._text[self._position + 1 : self._position + 2]
            if not after and not final:
                return self._position, _Verdict.WAIT
            if after.isspace() and self._position + 1 >= MIN_CLAUSE_CHARS:
                self._clause_end = self._position + 1
        return self._position + 1, _Verdict.KEEP

    def _look_at_stop(self, *, final: bool) -> tuple[int, _Verdict]:
        text, start = self._text, self._position
        stop = _skip(text, start, _TERMINATORS)
        end = _skip(text, stop, _CLOSERS)
        if end == len(text):
            return (end, _Verdict.CUT) if final else (end, _Verdict.WAIT)
        if not _SURE_STOPS.isdisjoint(text[start:stop]):
            return end, _Verdict.CUT
        if not text[end].isspace():
            return end, _Verdict.KEEP
        return end, self._judge(text[start:stop], text[stop:end], end, final=final)

    def _judge(self, stops: str, closers: str, end: int, *, final: bool) -> _Verdict:
        """Whether white space after a stop ends the sentence."""
        ahead = self._text[end : end + _LOOK_AHEAD]
        final = final or len(ahead) == _LOOK_AHEAD
        following = _BLANKS.sub("", ahead, count=1)
        if closers or stops.startswith(("..", "…")):
            return _by_first_letter(following, final=final)
        if stops != ".":
            return _Verdict.CUT
        return self._judge_full_stop(following, final=final)

    def _judge_full_stop(self, following: str, *, final: bool) -> _Verdict:
        before = self._text[: self._position]
        word = before.split()[-1].lstrip(_LEADING) if before.strip() else ""
        known = word.lower()
        if known in NEVER_LAST or _is_item_number(word, before):
            return _Verdict.KEEP  # "Dr. Shah", and "1. " at the start of a list item
        if known in BEFORE_NUMBER:
            return _by_number(following, final=final)
        if known in MAYBE_LAST or (_INITIALS.fullmatch(word) and known != "i"):
            return _by_next_word(following, final=final)
        return _Verdict.CUT

    def _is_long(self) -> bool:
        limit = self._first_piece_chars
        return limit is not None and self._clause_end > 0 and len(self._text[: self._position].strip()) >= limit

    def _best_end(self) -> int:
        """Where to cut what is too long: after a clause that is not too short for it, else between words."""
        if self._clause_end >= MAX_PIECE_CHARS // 2:
            return self._clause_end
        return self._blank_end or MAX_PIECE_CHARS

    def _cut(self, end: int, pieces: list[str]) -> None:
        piece = self._text[:end].strip()
        self._text = self._text[end:]
        self._position = self._clause_end = self._blank_end = 0
        if piece:
            self._first_piece_chars = None
            pieces.append(piece)


def _skip(text: str, position: int, chars: frozenset[str]) -> int:
    end = min(len(text), position + _MAX_RUN)
    while position < end and text[position] in chars:
        position += 1
    return position


def _is_item_number(word: str, before: str) -> bool:
    """Whether the word, the last of `before`, is the number of a list item: first of all, or after "Steps:"."""
    ahead = before[: -len(word)].rstrip() if word else before
    return bool(_NUMBER.fullmatch(word)) and (not ahead or ahead[-1] in _BEFORE_ITEM)


def _by_first_letter(following: str, *, final: bool) -> _Verdict:
    """After an ellipsis or a closing quote: a small letter goes on with the sentence."""
    if not following:
        return _Verdict.CUT if final else _Verdict.WAIT
    return _Verdict.KEEP if following[0].islower() else _Verdict.CUT


def _by_number(following: str, *, final: bool) -> _Verdict:
    if not following:
        return _Verdict.CUT if final else _Verdict.WAIT
    return _Verdict.KEEP if following[0].isdigit() else _Verdict.CUT


def _by_next_word(following: str, *, final: bool) -> _Verdict:
    """After "p.m." or "U.S.": only a word that begins sentences, with a capital, begins one."""
    if not following:
        return _Verdict.CUT if final else _Verdict.WAIT
    if following[0] == "\n":
        return _Verdict.CUT
    if following[0].islower() or following[0].isdigit():
        return _Verdict.KEEP
    words = following.split(maxsplit=1)
    if not final and len(words) == 1 and not following[-1].isspace():
        return _Verdict.WAIT
    return _Verdict.CUT if words[0].strip(_LEADING + ",.!?;:…").lower() in STARTERS else _Verdict.KEEP
