"""Values in words as a speech recogniser writes them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from voxbus.llm_worker.script.extract import find
from voxbus.llm_worker.script.model import AnySlot
from voxbus.llm_worker.script.phrases import is_greeting, matches, without, yes_or_no
from voxbus.llm_worker.script.words import digit_runs

pytestmark = pytest.mark.unit

SLOT: TypeAdapter[AnySlot] = TypeAdapter(AnySlot)


def slot(kind: str, **fields: object) -> AnySlot:
    return SLOT.validate_python({"name": "it", "kind": kind, "ask": "What is it?", **fields})


def value(found_in: AnySlot, text: str, *, asked: bool = True) -> str | None:
    found = find(found_in, text, asked=asked)
    return found.value if found else None


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("Tuesday.", "Tuesday"),
        ("On tuesdays, please", "Tuesday"),
        ("No, I'm sorry, Wednesday.", "Wednesday"),
        ("Not Tuesday, Wednesday", "Wednesday"),
        ("Wednesday, not Tuesday", "Wednesday"),
        ("next Friday", "next Friday"),
        ("Can I come tomorrow?", "tomorrow"),
        ("the day after tomorrow", "the day after tomorrow"),
        ("Today at 3", "today"),
        ("March third", "March 3"),
        ("the 3rd of March", "March 3"),
        ("May twenty-first please", "May 21"),
        ("on the twenty first of May", "May 21"),
        ("May I ask something?", None),
        ("March 45", None),
        ("some day", None),
        ("", None),
    ],
)
def test_a_day(text: str, day: str | None) -> None:
    """Week days, relative days and dates are found; the last one counts, and a denied one does not."""
    assert value(slot("day"), text) == day


def test_a_day_that_is_not_allowed_is_outside() -> None:
    """A week day that is not in the list is understood, and said to be outside."""
    found = find(slot("day", allowed=["Monday"]), "Sunday", asked=True)
    assert found is not None
    assert found.outside


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("At three o'clock.", "15:00"),
        ("three oclock", "15:00"),
        ("three o clock", "15:00"),
        ("At 3 PM.", "15:00"),
        ("three p m..", "15:00"),
        ("at 3p.m. please", "15:00"),
        ("3:30 pm", "15:30"),
        ("3.30 in the afternoon", "15:30"),
        ("three thirty", "15:30"),
        ("half past three", "15:30"),
        ("quarter to four", "15:45"),
        ("quarter to one", "12:45"),
        ("ten past ten", "10:10"),
        ("ten in the morning", "10:00"),
        ("9 a.m.", "09:00"),
        ("nine", "09:00"),
        ("twelve", "12:00"),
        ("noon", "12:00"),
        ("half past twelve", "12:30"),
        ("15:45", "15:45"),
        ("Let's say eleven, no, two.", "14:00"),
        ("not three, four", "16:00"),
        ("8 at night", "20:00"),
        ("the third of May", None),
        ("25:00", None),
        ("no idea", None),
    ],
)
def test_a_time(text: str, time: str | None) -> None:
    """Figures, words, halves and quarters are found, and the opening hours tell morning from afternoon."""
    assert value(slot("time", earliest="09:00", latest="17:00"), text) == time


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("Tuesday at three", "15:00"),
        ("Tuesday, three o'clock", "15:00"),
        ("for 2 people", None),
        ("five five five, oh one four seven", None),
    ],
)
def test_a_time_nobody_asked_for_must_sound_like_one(text: str, time: str | None) -> None:
    """A bare number is a time only in answer to the question for one."""
    assert value(slot("time"), text, asked=False) == time


def test_a_time_out_of_the_window_is_outside_only_if_the_script_says_so() -> None:
    """With `outside` the window is a limit; without it only a hint."""
    late = find(slot("time", earliest="09:00", latest="17:00", outside="We are closed."), "8 pm", asked=True)
    assert late is not None
    assert late.outside
    free = find(slot("time", earliest="09:00", latest="17:00"), "8 pm", asked=True)
    assert free is not None
    assert (free.outside, free.spoken) == (False, "8 PM")


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("The number I have is five, five, five, oh, one, four, seven.", "5550147"),
        ("The number I have is 5, 5, 5, 0, 1, 4, 7.", "5550147"),
        ("five five five, one two one two", "5551212"),
        ("5550147", "5550147"),
        ("555-0147", "5550147"),
        ("555.0147", "5550147"),
        ("double five five, zero one four seven", "5550147"),
        ("triple five oh one forty seven", "5550147"),
        ("one eight hundred five five five twelve twelve", "18005551212"),
        ("plus 49, or +49 30 1234567", "+49301234567"),
        ("5 5 5", None),
        ("12345678901234567890", None),
        ("I don't have one", None),
    ],
)
def test_a_phone_number(text: str, digits: str | None) -> None:
    """Digits said in any way become one string; too few or too many are not understood."""
    assert value(slot("phone"), text) == digits


def test_a_number_is_read_back_digit_by_digit() -> None:
    """Groups as people say them, never one big number."""
    found = find(slot("digits"), "18005551212", asked=True)
    assert found is not None
    assert found.spoken == "1 8 0, 0 5 5, 5 1 2, 1 2"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Charlie.", "Charlie"),
        ("charlie", "Charlie"),
        ("Charlie,", "Charlie"),
        ("Um, it's Anna Maria O'Neill-Smith, please.", "Anna Maria O'Neill-Smith"),
        ("My name is McDonald.", "McDonald"),
        ("Yes, this is Oscar speaking.", "Oscar"),
        ("My name is Oscar and I would like Tuesday", "Oscar"),
        ("C. H. A. R. L. I. E.", "Charlie"),
        ("c-h-a-r-l-i-e", "Charlie"),
        ("यश", "यश"),
        ("What?", None),
        ("I'm sorry.", None),
        ("I don't want to say that", None),
        ("three", None),
        ("Tuesday", None),
        ("", None),
    ],
)
def test_a_name(text: str, name: str | None) -> None:
    """The name without the manners around it; sentences, numbers and days are no names."""
    assert value(slot("name"), text) == name


def test_a_name_nobody_asked_for_needs_an_introduction() -> None:
    """ "Charlie" alone is only a name in answer to the question for one."""
    assert value(slot("name"), "Charlie", asked=False) is None
    assert value(slot("name"), "no, my name is Charlie", asked=False) == "Charlie"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Yes.", True),
        ("This is correct. Thank you.", True),
        ("that's right", True),
        ("No, that's right.", True),
        ("no", False),
        ("That is not right.", False),
        ("that isn't correct", False),
        ("Right, no.", False),
        ("I know", None),
        ("Tuesday", None),
        ("", None),
    ],
)
def test_yes_or_no(text: str, answer: bool | None) -> None:
    """The last word on it counts, and a denied yes is a no."""
    assert yes_or_no(text) is answer


def test_a_yes_no_slot_only_takes_an_answer_to_its_question() -> None:
    """ "Yes" to another question fills nothing."""
    assert value(slot("yes_no"), "yes please") == "yes"
    assert value(slot("yes_no"), "no") == "no"
    assert value(slot("yes_no"), "yes", asked=False) is None


def test_free_text_is_taken_as_it_is() -> None:
    """All the words, without the last full stop, and only when asked."""
    assert value(slot("text"), "My back hurts.") == "My back hurts"
    assert value(slot("text"), " ... ") is None
    assert value(slot("text"), "My back hurts.", asked=False) is None


def test_a_choice_by_keyword_or_expression() -> None:
    """A value's own name, its phrases, and expressions between slashes mean it."""
    cut = slot("choice", options={"cut": ["trim"], "colour": ["/dye|tint/"]})
    assert value(cut, "A cut, please") == "cut"
    assert value(cut, "just a trim") == "cut"
    assert value(cut, "I want it tinted") == "colour"
    assert value(cut, "a cutlet") is None


def test_phrases_match_whole_words() -> None:
    """Case and punctuation do not matter, parts of words do."""
    assert matches(["opening hours"], "What are your opening hours?")
    assert not matches(["price"], "That is priceless")
    assert matches(["/^hours$/"], "HOURS")


def test_an_expression_that_explodes_is_given_up() -> None:
    """A pathological expression costs milliseconds, not the worker."""
    assert not matches(["/(a+)+$/"], "a" * 500 + "!")


def test_the_rest_of_what_was_said() -> None:
    """The clauses in which a phrase occurs are taken out."""
    assert without(["hours"], "Tuesday, and what are your hours?") == "Tuesday"
    assert without(["hours"], "Tuesday.") == "Tuesday."
    assert without(["hours"], "Your hours?") == ""


def test_a_greeting_is_nothing_but_one() -> None:
    """ "Hello there" is a greeting, "hello, Tuesday" and "yes" are not."""
    assert is_greeting("Hello there!")
    assert not is_greeting("Hello, Tuesday")
    assert not is_greeting("Yes.")
    assert not is_greeting("")


@settings(deadline=None)  # the machine is shared: time says nothing
@given(st.text(alphabet="0123456789", min_size=1, max_size=15))
def test_digits_survive_any_spelling(digits: str) -> None:
    """A string of digits comes back whether written together, apart or as words."""
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    assert digit_runs(digits) == [digits]
    assert digit_runs(", ".join(digits) + ".") == [digits]
    assert digit_runs(" ".join(names[int(digit)] for digit in digits)) == [digits]


@settings(deadline=None)  # the machine is shared: time says nothing
@given(st.text(max_size=100), st.sampled_from(["day", "time", "phone", "yes_no", "name", "text"]), st.booleans())
def test_no_words_break_an_extractor(text: str, kind: str, asked: bool) -> None:
    """Whatever is heard, an extractor finds something or nothing."""
    found = find(slot(kind), text, asked=asked)
    assert found is None or found.value
