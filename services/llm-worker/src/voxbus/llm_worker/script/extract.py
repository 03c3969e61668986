"""Finds the values of slots in what the caller said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from voxbus.llm_worker.script.dates import find_day, find_time
from voxbus.llm_worker.script.found import Found
from voxbus.llm_worker.script.model import (
    AnySlot,
    ChoiceSlot,
    DaySlot,
    DigitsSlot,
    NameSlot,
    TextSlot,
    TimeSlot,
    YesNoSlot,
)
from voxbus.llm_worker.script.names import find_name
from voxbus.llm_worker.script.phrases import matches, yes_or_no
from voxbus.llm_worker.script.words import digit_runs


def find(slot: AnySlot, text: str, *, asked: bool) -> Found | None:
    """The slot's value in the text. `asked`: the caller was asked for it, so that a bare "three" is a time."""
    return _FINDERS[type(slot)](slot, text, asked)


def _day(slot: DaySlot, text: str, asked: bool) -> Found | None:
    return find_day(text, slot.allowed)


def _time(slot: TimeSlot, text: str, asked: bool) -> Found | None:
    return find_time(text, slot.earliest, slot.latest, asked=asked, strict=bool(slot.outside))


def _digits(slot: DigitsSlot, text: str, asked: bool) -> Found | None:
    for run in reversed(digit_runs(text)):
        digits = run.lstrip("+")
        if slot.min_digits <= len(digits) <= slot.max_digits:
            return Found(_say_digits(digits), run if slot.kind == "phone" else digits)
    return None


def _yes_no(slot: YesNoSlot, text: str, asked: bool) -> Found | None:
    answer = yes_or_no(text) if asked else None
    return None if answer is None else Found("yes" if answer else "no", "yes" if answer else "no")


def _name(slot: NameSlot, text: str, asked: bool) -> Found | None:
    name = find_name(text, asked=asked)
    return Found(name, name) if name else None


def _text(slot: TextSlot, text: str, asked: bool) -> Found | None:
    words = text.strip().rstrip(".,;")
    return Found(words, words) if asked and any(char.isalnum() for char in words) else None


def _choice(slot: ChoiceSlot, text: str, asked: bool) -> Found | None:
    for value, phrases in slot.options.items():
        if matches((*phrases, value), text):
            return Found(value, value)
    return None


_Finder = Callable[[Any, str, bool], Found | None]
_FINDERS: Final[dict[type, _Finder]] = {
    DaySlot: _day,
    TimeSlot: _time,
    DigitsSlot: _digits,
    YesNoSlot: _yes_no,
    NameSlot: _name,
    TextSlot: _text,
    ChoiceSlot: _choice,
}


def _say_digits(digits: str) -> str:
    """One by one, in groups of three and then four as numbers are read out: "5 5 5, 0 1 4 7"."""
    groups: list[str] = []
    while len(digits) > 4:
        groups.append(digits[:3])
        digits = digits[3:]
    return ", ".join(" ".join(group) for group in [*groups, digits])
