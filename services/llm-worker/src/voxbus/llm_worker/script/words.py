"""Reads what a speech recogniser writes: lower case, no punctuation, numbers as figures."""

from __future__ import annotations

import re
from typing import Final

from voxbus.llm_worker.wordlists import word_list

_UNITS: Final = {
    word: number
    for number, word in enumerate(
        word_list(
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
            "eighteen nineteen"
        )
    )
}
_TENS: Final = {
    word: 10 * number
    for number, word in enumerate(word_list("twenty thirty forty fifty sixty seventy eighty ninety"), start=2)
}
_REPEATS: Final = {"double": 2, "triple": 3}
_ZERO: Final = ("oh", "o", "nought")
_MERIDIEM: Final = re.compile(r"\b([ap])[.\s]?\s?m\b\.*")
_CLOCK: Final = re.compile(r"\b(\d{1,2})[.:](\d{2})\b")
_JOINED: Final = re.compile(r"(?<=\d)(?=[^\W\d])(?!(?:st|nd|rd|th)\b)")
_TOKEN: Final = re.compile(r"\d{1,2}:\d{2}|[^\W_]+(?:'[^\W_]+)*|\+(?=\d)")


def tokens(text: str) -> list[str]:
    """Words in lower case, numbers as they are written, times as "3:30", meridiems as "am" and "pm"."""
    lowered = text.lower().replace("’", "'").replace("-", " ").replace("–", " ")
    lowered = _MERIDIEM.sub(r" \1m ", _JOINED.sub(" ", lowered))
    lowered = _CLOCK.sub(r"\1:\2", lowered)
    lowered = re.sub(r"\bo'?\s?clock\b", "o'clock", lowered)
    return _TOKEN.findall(lowered)


def normal(text: str) -> str:
    """The words with single spaces between them, for finding phrases."""
    return " ".join(tokens(text))


def number(word: str) -> int | None:
    """The number a single word stands for, below 100."""
    if word.isascii() and word.isdigit():
        return int(word)
    return _UNITS.get(word, _TENS.get(word))


def numbered(words: list[str]) -> list[str]:
    """The words, with number words as figures: "twenty", "one" becomes "21", "five", "five" stays two figures."""
    result: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        following = _UNITS.get(words[position + 1], 0) if position + 1 < len(words) else 0
        if word in _TENS:
            joined = 1 <= following <= 9
            result.append(str(_TENS[word] + (following if joined else 0)))
            position += 1 + joined
            continue
        result.append(str(_UNITS[word]) if word in _UNITS else word)
        position += 1
    return result


def digit_runs(text: str) -> list[str]:
    """Strings of digits said one after the other: "five five five, oh one" is ["55501"], with a leading "+" if there is one.

    "oh" counts as zero beside a digit, "double five" as "55", "eight hundred" as "800".
    """
    runs: list[str] = []
    run, repeat = "", 1
    for word in [*numbered(tokens(text.replace(".", " "))), ""]:
        if word.isascii() and word.isdigit():
            run += word * repeat
            repeat = 1
        elif word in _ZERO:
            run += "0" * repeat
            repeat = 1
        elif word == "hundred" and run:
            run += "00"
        elif word == "thousand" and run:
            run += "000"
        elif word == "+" and not run:
            run = "+"
        elif word in _REPEATS:
            repeat = _REPEATS[word]
        elif word not in ("and", "then", "uh", "um", "dash"):
            if any(char.isdigit() for char in run):
                runs.append(run)
            run, repeat = "", 1
    return runs
