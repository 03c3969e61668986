"""Numbers as people write them."""

from __future__ import annotations

import re

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voxbus.campaigns.numbers import WrongNumberError, to_e164
from voxbus.campaigns.rows import MAX_VARIABLES_CHARS, sort_rows
from voxbus.contracts.campaigns import ContactRow

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("written", "region", "number"),
    [
        ("+14155552671", None, "+14155552671"),
        (" (415) 555-2671 ", "US", "+14155552671"),
        ("0049 30 901820", "DE", "+4930901820"),
        ("030 901820", "DE", "+4930901820"),
        ("tel:+49-30-901820", None, "+4930901820"),
        ("+39 06 1234 5678", None, "+390612345678"),
        ("098765 43210", "IN", "+919876543210"),
    ],
)
def test_numbers_become_e164(written: str, region: str | None, number: str) -> None:
    """However they are written, and with the country where they do not say it."""
    assert to_e164(written, region) == number


@pytest.mark.parametrize(
    ("written", "region", "message"),
    [
        ("", None, "the number is missing"),
        ("415 555 2671", None, "no country code, and the campaign has no default region"),
        ("+91 12345", None, "too short for +91"),
        ("+1 415 555 26711", None, "too long for +1"),
        ("555 2671", "US", "without its area code for +1"),
        ("+999 123456", None, "unknown country code"),
        ("+1 000 000 0000", None, "+1 has no such numbers"),
        ("ask Ada", "GB", "not a telephone number"),
        ("+1 415 555 2671 ext. 5", None, "a number with an extension cannot be called"),
        ("4.91512E+11", "DE", "a spreadsheet shortened the number, its digits are lost: format the column as text"),
    ],
)
def test_the_message_says_what_is_wrong_with_a_number(written: str, region: str | None, message: str) -> None:
    """In words for whoever filled in the table."""
    with pytest.raises(WrongNumberError) as caught:
        to_e164(written, region)
    assert str(caught.value) == message


@given(st.text(max_size=64), st.sampled_from([None, "US", "IN", "DE"]))
@example("+1415555267\u0661", None)
@example("+" * 64, None)
def test_any_text_is_a_number_or_is_refused(written: str, region: str | None) -> None:
    """Nothing else is raised, and what comes out is E.164 and comes out the same when it goes in again."""
    try:
        number = to_e164(written, region)
    except WrongNumberError:
        return
    assert re.fullmatch(r"\+[1-9][0-9]{4,15}", number)
    assert to_e164(number, None) == number


@given(st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)))
def test_numbers_of_every_country_are_taken(region: str) -> None:
    """Its example number, written as at home, comes out as the world dials it."""
    number = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    if number is None:
        return
    at_home = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
    assert to_e164(at_home, region) == phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


_ROWS = st.lists(
    st.builds(
        ContactRow,
        row=st.integers(1, 1000),
        phone_number=st.sampled_from(["+14155552671", "(415) 555-2671", "+4930901820", "nobody", "", "12"]),
        name=st.text(max_size=5),
        variables=st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), max_size=3),
    ),
    max_size=20,
)


@given(_ROWS)
def test_every_row_is_counted_once(rows: list[ContactRow]) -> None:
    """Good, repeated or rejected; and no number is good twice."""
    result = sort_rows(rows, "US")
    assert len(result.good) + result.repeated + len(result.rejected) == len(rows)
    numbers = [row.phone_number for row in result.good]
    assert len(numbers) == len(set(numbers))


def test_a_rejected_row_is_found_again() -> None:
    """Its report has the row's own place, the column, the value and the reason."""
    [problem] = sort_rows([ContactRow(row=7, phone_number="12")], "IN").rejected
    assert (problem.row, problem.column, problem.value) == (7, "phone_number", "12")
    assert problem.message == "too short for +91"


def test_too_many_variables_are_rejected() -> None:
    """A row may carry so many characters and not one more."""
    full = {f"{part:02}": "x" * 510 for part in range(MAX_VARIABLES_CHARS // 512)}
    row = ContactRow(row=1, phone_number="+14155552671", variables=full)
    assert sort_rows([row], None).good
    over = row.model_copy(update={"variables": {**full, "a": ""}})
    assert "4097 characters" in sort_rows([over], None).rejected[0].message
