"""The script format. See docs/agents/scripted.md."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from voxbus.llm_worker.script import patterns
from voxbus.llm_worker.wordlists import word_set

_PLACEHOLDER: Final = re.compile(r"\{(\w*)\}")
HEARD: Final = "heard"

WeekDay = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
ClockTime = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


Phrase = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(patterns.check)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Slot(_Part):
    """Something to find out."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)
    ask: str = Field(min_length=1)
    retry: tuple[str, ...] = ()
    """After the first, second… answer that was not understood; the last one stays. None: `ask` again."""
    accepted: str = ""
    """Said when the slot is filled."""
    outside: str = ""
    """Said when the answer was understood but is not allowed. Empty: `retry`."""
    words: tuple[Phrase, ...] = ()
    """How a caller names it: "the time is wrong"."""


class DaySlot(Slot):
    """A day of the week, today, tomorrow, or a date such as "March 3"."""

    kind: Literal["day"]
    allowed: tuple[WeekDay, ...] = ()


class TimeSlot(Slot):
    """A time of day. The window decides between morning and afternoon and, if `outside` is set, what is allowed."""

    kind: Literal["time"]
    earliest: ClockTime = "08:00"
    latest: ClockTime = "19:59"


class DigitsSlot(Slot):
    """A string of digits: an account, a code; `phone` allows a leading "+"."""

    kind: Literal["digits", "phone"]
    min_digits: int = Field(default=7, ge=1, le=30)
    max_digits: int = Field(default=15, ge=1, le=30)


class YesNoSlot(Slot):
    """Yes or no."""

    kind: Literal["yes_no"]


class NameSlot(Slot):
    """A person's name."""

    kind: Literal["name"]


class TextSlot(Slot):
    """Whatever the caller says."""

    kind: Literal["text"]


class ChoiceSlot(Slot):
    """One of several values, each with the phrases that mean it."""

    kind: Literal["choice"]
    options: dict[str, tuple[Phrase, ...]] = Field(min_length=1)


AnySlot = Annotated[
    DaySlot | TimeSlot | DigitsSlot | YesNoSlot | NameSlot | TextSlot | ChoiceSlot, Field(discriminator="kind")
]


class Answer(_Part):
    """What to say, at any time, when the caller asks something; then the open question comes again."""

    match: tuple[Phrase, ...] = Field(min_length=1)
    say: str = Field(min_length=1)
    end: bool = False
    """End the call after it; only when nothing else in the caller's words was understood."""


class Confirm(_Part):
    """Says everything back and asks whether it is right."""

    ask: str = Field(min_length=1)
    change: str = Field(min_length=1)
    """After a plain "no"."""
    retry: tuple[str, ...] = ()
    corrected: str = ""
    """Before asking again with a corrected value."""


class Call(_Part):
    """A call of one of the agent's tools."""

    tool: str
    arguments: dict[str, str | bool | int | float] = {}


class Done(_Part):
    """When everything is known and confirmed."""

    calls: tuple[Call, ...] = ()
    say: str = Field(min_length=1)
    failed: str = "I am sorry, something went wrong on our side. Please call again later. Goodbye."
    """Instead of `say`, when a tool did not accept its arguments."""
    end: bool = False
    after: str = "Is there anything else?"
    """Once done, when something was not understood."""


class GiveUp(_Part):
    """When one question got too many answers that were not understood."""

    after: int = Field(default=4, ge=1, le=20)
    say: str = "I am sorry, I could not understand you. Please call again later. Goodbye."


class Script(_Part):
    """A conversation: slots to fill, questions to answer, what to do at the end."""

    description: str = ""
    slots: tuple[AnySlot, ...] = ()
    answers: tuple[Answer, ...] = ()
    confirm: Confirm | None = None
    done: Done | None = None
    give_up: GiveUp = GiveUp()
    repeat: tuple[Phrase, ...] = (
        "pardon", "repeat", "say that again", "come again", "what did you say", "didn't hear", "didn't catch",
        "didn't get that", "can't hear you", "say again",
    )  # fmt: skip
    """Asks for the question again."""
    otherwise: str | None = None
    """Of a script without slots: the reply to everything that no answer matches."""
    unheard: str = "Sorry, I did not hear you."
    """Of a script without slots: the reply to nothing."""

    @cached_property
    def fingerprint(self) -> str:
        """Tells it from every other script."""
        return self.model_dump_json()

    @model_validator(mode="after")
    def _is_whole(self) -> Script:
        names = [slot.name for slot in self.slots]
        if len(set(names)) != len(names):
            raise ValueError("slots must have different names")
        if HEARD in names:
            raise ValueError(f"no slot can be named {HEARD}")
        if self.slots and self.done is None:
            raise ValueError("a script with slots needs done")
        if not self.slots and self.otherwise is None:
            raise ValueError("a script needs slots or otherwise")
        known = {*names, HEARD}
        for line in _lines(self.model_dump()):
            unknown = set(_PLACEHOLDER.findall(line)) - known
            if unknown:
                raise ValueError(f"{line!r} has unknown placeholders: {', '.join(sorted(unknown))}")
        return self


def fill(line: str, values: dict[str, str]) -> str:
    """The line with `{name}` replaced; what is not known yet becomes nothing."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], ""), line)


_SPOKEN_FIELDS: Final = word_set("ask retry accepted outside say change corrected failed after otherwise arguments")


def _lines(part: Any, *, spoken: bool = False) -> list[str]:
    if isinstance(part, str):
        return [part] if spoken else []
    if isinstance(part, dict):
        return [line for key, item in part.items() for line in _lines(item, spoken=spoken or key in _SPOKEN_FIELDS)]
    return [line for item in part for line in _lines(item, spoken=spoken)] if isinstance(part, list | tuple) else []
