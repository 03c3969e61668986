"""Finds days and times of day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from voxbus.llm_worker.script.found import Found
from voxbus.llm_worker.script.words import numbered, tokens
from voxbus.llm_worker.wordlists import word_list, word_set

_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS: Final = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_ORDINALS: Final = {
    word: day
    for day, word in enumerate(
        word_list(
            "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
            "sixteenth seventeenth eighteenth nineteenth twentieth"
        ),
        start=1,
    )
} | {"thirtieth": 30}
_AT: Final = word_set("at around about by until")
_PM: Final = word_set("pm afternoon evening tonight night")
_AM: Final = word_set("am morning")
_NAMED: Final = {"noon": 720, "midday": 720, "midnight": 0}


def find_day(text: str, allowed: tuple[str, ...]) -> Found | None:
    """The last day mentioned that is not after "not"; outside when weekdays are given and it is none of them."""
    words = numbered(tokens(text))
    days = [day for position in range(len(words)) if (day := _day_at(words, position))]
    if not days:
        return None
    day = days[-1]
    weekday = day.removeprefix("next ")
    outside = bool(allowed) and weekday.lower() in _WEEKDAYS and weekday not in allowed
    return Found(day, day, outside)


def _day_at(words: list[str], position: int) -> str | None:
    word = words[position]
    before = words[position - 1] if position else ""
    if before == "not":
        return None
    weekday = word.removesuffix("'s").removesuffix("s") if word.endswith(("days", "'s")) else word
    if weekday in _WEEKDAYS:
        return f"next {weekday.capitalize()}" if before == "next" else weekday.capitalize()
    if word == "today":
        return word
    if word == "tomorrow":
        return "the day after tomorrow" if words[max(0, position - 2) : position] == ["day", "after"] else word
    return _date_at(words, position) if word in _MONTHS else None


def _date_at(words: list[str], position: int) -> str | None:
    after = [word for word in words[position + 1 : position + 4] if word != "the"]
    before = [word for word in words[max(0, position - 4) : position] if word not in ("of", "the")]
    day = _day_of_month(after) or _day_of_month(before[-2:]) or _day_of_month(before[-1:])
    return f"{words[position].capitalize()} {day}" if day else None


def _day_of_month(words: list[str]) -> int | None:
    """From "3", "3rd", "third" or "20" "third"."""
    if not words:
        return None
    first = words[0]
    if len(words) > 1 and first in ("20", "30") and _ORDINALS.get(words[1], 10) < 10:
        day = int(first) + _ORDINALS[words[1]]
    else:
        figure = first.removesuffix("st").removesuffix("nd").removesuffix("rd").removesuffix("th")
        day = _ORDINALS.get(first, int(figure) if figure.isascii() and figure.isdigit() else 0)
    return day if 1 <= day <= 31 else None


@dataclass(frozen=True, slots=True)
class _Clock:
    minutes: int
    sure: bool
    """It can be nothing but a time: "half past three", "3:30", "three o'clock", "at three"."""
    fixed: bool
    """Morning or afternoon is known."""


def find_time(text: str, earliest: str, latest: str, *, asked: bool, strict: bool) -> Found | None:
    """The last time mentioned. `strict`: outside unless it lies between `earliest` and `latest`, both included."""
    words = numbered(tokens(text))
    clocks = [clock for position in range(len(words)) if (clock := _clock_at(words, position))]
    sure = [clock for clock in clocks if clock.sure]
    usable = sure or (clocks if asked else [])
    if not usable:
        return None
    clock = usable[-1]
    window = (_minutes(earliest), _minutes(latest))
    minutes = clock.minutes if clock.fixed else _likely(clock.minutes, *window)
    outside = strict and not window[0] <= minutes <= window[1]
    return Found(_say_time(minutes), f"{minutes // 60:02}:{minutes % 60:02}", outside)


def _clock_at(words: list[str], position: int) -> _Clock | None:
    word = words[position]
    before = words[position - 1] if position else ""
    if before == "not":
        return None
    if word in _NAMED:
        return _Clock(_NAMED[word], sure=True, fixed=True)
    if before in ("past", "to") and position >= 2 and (minutes := _relative(words, position)) is not None:
        return _half_of_day(words, position + 1, minutes, sure=True)
    hour, minute, end = _read(words, position)
    if hour is None or before in _MONTHS or before in ("past", "to") or _continues(words, position):
        return None
    if end < len(words) and words[end] in ("past", "to"):
        return None  # "ten past three" is found at "three"
    sure = ":" in word or before in _AT
    return _half_of_day(words, end, hour * 60 + minute, sure=sure)


def _read(words: list[str], position: int) -> tuple[int | None, int, int]:
    """Hour, minute, and where the time ends."""
    word = words[position]
    hour_text, _, minute_text = word.partition(":")
    if not (hour_text.isascii() and hour_text.isdigit()) or int(hour_text) > 23 or len(hour_text) > 2:
        return None, 0, position
    if minute_text:
        return (int(hour_text), int(minute_text), position + 1) if int(minute_text) < 60 else (None, 0, position)
    following = words[position + 1] if position + 1 < len(words) else ""
    if len(following) == 2 and following.isascii() and following.isdigit() and 10 <= int(following) < 60:
        return int(hour_text), int(following), position + 2
    return int(hour_text), 0, position + 1


def _continues(words: list[str], position: int) -> bool:
    """The figures are the minutes of an hour before them, or digits of a longer number."""
    before = words[position - 1] if position else ""
    denied = position >= 2 and words[position - 2] == "not"
    return before.isascii() and before.isdigit() and not denied


def _relative(words: list[str], position: int) -> int | None:
    """Minutes for "half past three", "quarter to four", "ten past five", read at the hour."""
    hour = words[position]
    if not (hour.isascii() and hour.isdigit()) or not 1 <= int(hour) <= 12:
        return None
    amounts = {"half": 30, "quarter": 15}
    amount_word = words[position - 2]
    amount = amounts.get(amount_word) or (int(amount_word) if amount_word.isascii() and amount_word.isdigit() else 0)
    if not 0 < amount < 60:
        return None
    minutes = int(hour) * 60 + (amount if words[position - 1] == "past" else -amount)
    return minutes if minutes >= 60 else minutes + 720


def _half_of_day(words: list[str], end: int, minutes: int, *, sure: bool) -> _Clock:
    """Look for "o'clock", "am", "pm", "in the afternoon" behind the time."""
    behind = words[end : end + 4]
    if behind[:1] == ["o'clock"]:
        sure, behind = True, words[end + 1 : end + 5]
    known = next((word for word in behind if word not in ("in", "the", "at")), "")
    if known in _PM:
        return _Clock(minutes % 720 + 720, sure=True, fixed=True)
    if known in _AM:
        return _Clock(minutes % 720, sure=True, fixed=True)
    return _Clock(minutes, sure, fixed=minutes >= 780 or minutes < 60)


def _likely(minutes: int, earliest: int, latest: int) -> int:
    """Morning or afternoon: whichever lies in the window; else the hours at which people are awake."""
    morning, afternoon = minutes % 720, minutes % 720 + 720
    inside = [time for time in (morning, afternoon) if earliest <= time <= latest]
    if len(inside) == 1:
        return inside[0]
    return morning if 7 * 60 <= morning < 12 * 60 else afternoon


def _minutes(clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    return int(hours) * 60 + int(minutes)


def _say_time(minutes: int) -> str:
    if minutes in (0, 720):
        return "noon" if minutes else "midnight"
    hour, minute = divmod(minutes, 60)
    half = "AM" if hour < 12 else "PM"
    return f"{(hour - 1) % 12 + 1}:{minute:02} {half}" if minute else f"{(hour - 1) % 12 + 1} {half}"
