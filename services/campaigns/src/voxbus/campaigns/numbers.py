"""Telephone numbers as people write them, to E.164; no I/O."""

from __future__ import annotations

import re
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, ValidationResult

_SHORTENED: Final = re.compile(r"[+-]?\d+([.,]\d+)?[eE][+-]?\d+")
_FAULTS: Final = {
    ValidationResult.TOO_SHORT: "too short",
    ValidationResult.TOO_LONG: "too long",
    ValidationResult.INVALID_LENGTH: "of a wrong length",
    ValidationResult.INVALID_COUNTRY_CODE: "with an unknown country code",
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: "without its area code",
}


class WrongNumberError(ValueError):
    """It is no number that can be called. The message says why, for people."""


def to_e164(written: str, default_region: str | None) -> str:
    """The number such as `+14155550123`; `default_region` is the country of numbers without a country code.

    Raises WrongNumberError. Knows lengths and ranges of each country, not whether somebody answers.
    """
    text = written.strip()
    if not text:
        raise WrongNumberError("the number is missing")
    if _SHORTENED.fullmatch(text):
        raise WrongNumberError("a spreadsheet shortened the number, its digits are lost: format the column as text")
    number = _parsed(text, default_region)
    _check(number)
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def _parsed(text: str, default_region: str | None) -> PhoneNumber:
    try:
        return phonenumbers.parse(text, default_region)
    except NumberParseException as error:
        raise WrongNumberError(_unparsed(error.error_type, text, default_region)) from None


def _unparsed(fault: int, text: str, default_region: str | None) -> str:
    if fault == NumberParseException.INVALID_COUNTRY_CODE:
        if default_region is None and not text.startswith("+"):
            return "no country code, and the campaign has no default region"
        return "unknown country code"
    if fault == NumberParseException.NOT_A_NUMBER:
        return "not a telephone number"
    if fault == NumberParseException.TOO_LONG:
        return "too long for a telephone number"
    return "too short for a telephone number"


def _check(number: PhoneNumber) -> None:
    code = f"+{number.country_code}"
    if number.extension:
        raise WrongNumberError("a number with an extension cannot be called")
    fault = _FAULTS.get(phonenumbers.is_possible_number_with_reason(number))
    if fault:
        raise WrongNumberError(f"{fault} for {code}")
    if not phonenumbers.is_valid_number(number):
        raise WrongNumberError(f"{code} has no such numbers")
