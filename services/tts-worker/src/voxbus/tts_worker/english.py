"""English text as it is said, where the offline engine's own reading goes wrong.

The engine reads amounts, dates, times, units and common abbreviations itself. What is rewritten here it was found to misread:
e-mail and web addresses, codes and long numbers (digit by digit), telephone numbers, "9am", ranges of money and of days.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_DIGITS: Final = {
    "0": "zero", "1": "one", "2": "two", "3": "three", "4": "four",
    "5": "five", "6": "six", "7": "seven", "8": "eight", "9": "nine",
}  # fmt: skip
_DAYS: Final = {
    "mon": "Monday", "tue": "Tuesday", "tues": "Tuesday", "wed": "Wednesday", "thu": "Thursday", "thur": "Thursday",
    "thurs": "Thursday", "fri": "Friday", "sat": "Saturday", "sun": "Sunday",
}  # fmt: skip
_ADDRESS_MARKS: Final = {".": " dot ", "-": " dash ", "_": " underscore ", "+": " plus ", "/": " slash ", "@": " at "}
_BEFORE_CODE: Final = (
    r"(?:code|pin|otp|passcode|password|extension|ext\.?|zip|postcode|flight|room|ending in|ends in|ending with)(?:\sis)?:?\s"
    r"|(?:id|reference|ref|order|ticket|account|invoice|booking|confirmation|tracking|case|card)"
    r"(?:\s(?:number|code|no\.?)(?:\sis)?:?|\sis|:)\s"
)
_CODE: Final = r"(?P<code>(?=[A-Z0-9-]*\d)[A-Z0-9]{2,}(?:-[A-Z0-9]+)*)(?![\w/:%]|[.,]\d)"
_PATH: Final = r"[^\s,;!)\"”]*[^\s,;!)\"”.?]"
_DOMAIN: Final = r"(?:[A-Za-z0-9-]+\.)+(?:com|org|net|io|co|ai|in|uk|dev|app|edu|gov)"
_DAY: Final = "|".join(sorted(_DAYS, key=len, reverse=True))
_FEWEST_TELEPHONE_DIGITS: Final = 9
"""Fewer may be a date or a number with spaces; the engine reads short telephone numbers itself."""

Replacement = str | Callable[[re.Match[str]], str]


def _digits(text: str) -> str:
    return " ".join(_DIGITS[char] for char in text if char in _DIGITS)


def _characters(text: str) -> str:
    """Letters and digits one by one, such as the characters of a booking code."""
    return " ".join(_DIGITS.get(char, char.upper()) for char in text if char.isalnum())


def _address(text: str) -> str:
    """An e-mail or web address with its marks as words; digits one by one."""
    words = "".join(_ADDRESS_MARKS.get(char, f" {_DIGITS[char]} " if char in _DIGITS else char) for char in text)
    return " ".join(words.split())


def _web_address(match: re.Match[str]) -> str:
    """Host and path. Nobody writes down a query by ear."""
    return _address(match["host"] + re.split(r"[?#]", match["path"] or "")[0].rstrip("/"))


def _telephone(match: re.Match[str]) -> str:
    """Groups of digits with a short pause between them."""
    groups = re.findall(r"\d+", match[0])
    if len("".join(groups)) < _FEWEST_TELEPHONE_DIGITS:
        return match[0]
    return ("plus " if match[0].startswith("+") else "") + ", ".join(_digits(group) for group in groups)


def _long_number(match: re.Match[str]) -> str:
    """Five or more digits without separators are a code, unless they are round."""
    return match[0] if match[0].endswith("000") else _digits(match[0])


def _code(match: re.Match[str]) -> str:
    return match["before"] + _characters(match["code"])


def _day_range(match: re.Match[str]) -> str:
    return f"{_DAYS[match[1].lower()]} to {_DAYS[match[2].lower()]}"


_RULES: Final[tuple[tuple[re.Pattern[str], Replacement], ...]] = (
    (re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"), lambda m: _address(m[0])),
    (re.compile(rf"\b(?:https?://(?:www\.)?|www\.)(?P<host>[\w.-]*\w)(?P<path>[/?#]{_PATH})?/?", re.I), _web_address),
    (re.compile(rf"(?<![\w.@-])(?P<host>{_DOMAIN})(?P<path>/{_PATH})?/?(?![\w@])"), _web_address),
    (re.compile(r"\be\.g\.,?"), "for example,"),
    (re.compile(r"\bi\.e\.,?"), "that is,"),
    (re.compile(r"\b24/7\b"), "twenty-four seven"),
    (re.compile(r"(?<![\w&])#\s?(?=\d)"), "number "),
    # The engine spells dotted capitals, and takes a full stop after them for the sentence's.
    (re.compile(r"(?<![\w.:])(\d{1,2})\s?([ap])m\b\.?", re.I), lambda m: f"{m[1]} {m[2].upper()}.M."),
    (re.compile(rf"\b({_DAY})\.?\s?[-–]\s?({_DAY})\b\.?(?!\w)", re.I), _day_range),
    (re.compile(r"([$£€₹])(\d+(?:[.,]\d+)*)\s?[-–]\s?[$£€₹]?(?=\d)"), r"\1\2 to \1"),
    # Indian grouping, such as 1,00,000.
    (re.compile(r"(?<![\d,])\d{1,2}(?:,\d{2})+,\d{3}(?![\d,])"), lambda m: m[0].replace(",", "")),
    (re.compile(r"(?<!\S)~\s?(?=[$£€₹]?\d)"), "about "),
    (re.compile(r"(?<=\d)\s?[x×]\s?(?=\d)"), " by "),
    (
        re.compile(
            r"(?<![\w.,/-])(?:\+\d{1,3}[\s.-]?)?(?:\(\d{2,4}\)|\d{1,5})(?:[\s.-]?\b\d{2,5}){2,4}(?![\w/-]|[.,]\d)"
        ),
        _telephone,
    ),
    (re.compile(r"(?<!\w)\+\d{7,15}(?!\w)"), _telephone),
    (re.compile(rf"\b(?P<before>(?i:{_BEFORE_CODE})){_CODE}"), _code),
    (re.compile(r"(?P<before>\b(?:[Cc]all|[Dd]ial|[Tt]ext|[Pp]ress)\s)(?P<code>\d{3})(?![\w-]|[.,]\d|\s\d)"), _code),
    (re.compile(r"(?P<before>)\b(?![A-Z]{4})(?P<code>(?=[A-Z]*\d)(?=\d*[A-Z])[A-Z0-9]{5,})\b"), _code),
    (re.compile(r"(?<![\w$£€₹.,-])(?<!\d )\d{5,}(?![\w%]|[.,]\d)"), _long_number),
)


def spoken_english(text: str) -> str:
    """`text`, plain already (see `markup`), with words in place of what the engine would misread."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())
