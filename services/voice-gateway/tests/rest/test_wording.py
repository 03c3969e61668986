"""What validators say, as sentences."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import StringConstraints, TypeAdapter, ValidationError

from voxbus.contracts.llm import HeaderName
from voxbus.voice_gateway.rest.wording import PATTERNS, for_people

pytestmark = pytest.mark.unit
_DOCUMENT = Path(__file__).parents[4] / "docs" / "openapi.json"


def patterns(part: Any) -> Iterator[str]:
    """All patterns of a document."""
    if isinstance(part, dict):
        if isinstance(part.get("pattern"), str):
            yield part["pattern"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from patterns(inner)


def test_every_pattern_of_the_api_has_a_sentence() -> None:
    """No answer tells a regular expression."""
    assert set(patterns(json.loads(_DOCUMENT.read_text()))) <= PATTERNS.keys()


@pytest.mark.parametrize("pattern", [HeaderName.__metadata__[0].pattern, *PATTERNS])
def test_what_the_validator_says_becomes_the_sentence(pattern: str) -> None:
    """Quotes and backslashes of the pattern do not hinder."""

    adapter = TypeAdapter(Annotated[str, StringConstraints(pattern=pattern)])
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python("\n")
    assert for_people(caught.value.errors()[0]["msg"]) == PATTERNS[pattern]


def test_other_messages_stay_as_they_are_but_for_the_preamble() -> None:
    """What our own validators say is a sentence already."""
    assert for_people("Value error, no such zone") == "no such zone"
    assert for_people("Field required") == "Field required"
