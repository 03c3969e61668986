"""Long text, cut in parts; and a long sentence on the bus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from fake_speech import FakeProvider, Listener, choice
from hypothesis import given
from hypothesis import strategies as st

from voxbus.tts_worker.markup import MAX_PART_CHARS
from voxbus.tts_worker.parts import split_long

pytestmark = pytest.mark.unit
Open = Callable[..., Awaitable[Listener]]

LIMIT = 300
CLAUSES = "The doctor is away on Monday, but she might have time on Wednesday, if that suits you, "


@pytest.mark.parametrize("text", ["word " * 400, "x" * 2000, CLAUSES * 20, "short.", "क" * 700 + "। " + "ख" * 700])
def test_long_text_is_cut_in_parts(text: str) -> None:
    """No part is longer than the limit, and together they are the text."""
    parts = split_long(text.strip(), LIMIT)
    assert all(0 < len(part) <= LIMIT for part in parts)
    assert "".join(parts).replace(" ", "") == text.replace(" ", "")


@given(st.text("ab .,\n", max_size=200), st.integers(1, 40))
def test_parts_of_any_text(text: str, limit: int) -> None:
    """Only space is lost at a cut, whatever the limit."""
    parts = split_long(text, limit)
    assert all(0 < len(part) <= limit for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_a_sentence_end_is_better_than_a_clause_and_that_than_a_space() -> None:
    """Each part ends where a speaker would breathe most naturally."""
    assert all(part.endswith(",") for part in split_long(CLAUSES * 20, LIMIT))
    sentences = (CLAUSES + "he said. ") * 20
    assert all(part.endswith("said.") for part in split_long(sentences, LIMIT))
    assert all(part.endswith("word") for part in split_long("word " * 400, LIMIT))


async def test_a_long_sentence_is_one_sentence(open_fake: Open, fake: FakeProvider) -> None:
    """A reply without a full stop is spoken to its end, in parts, with one started and one done message."""
    listener = await open_fake()
    text = " ".join(f"word{number}" for number in range(1000))
    await listener.speak(text, "Bye.")
    assert [(event.type, event.index) for event in listener.events] == [
        ("sentence_started", 0), ("sentence_done", 0), ("sentence_started", 1), ("sentence_done", 1),
    ]  # fmt: skip
    assert " ".join(fake.said) == f"{text} Bye."
    assert max(len(part) for part in fake.said) <= MAX_PART_CHARS
    assert sum(done.duration_ms for done in listener.done) * 32 == len(listener.pcm)


async def test_a_long_sentence_moves_whole_to_the_fallback(
    open_fake: Open, fake: FakeProvider, spare: FakeProvider
) -> None:
    """A provider that fails at the first part leaves all parts to the next."""
    listener = await open_fake(choice("fake"), choice("spare"))
    fake.fail_after = 0
    text = "word " * 1000
    await listener.speak(text)
    assert " ".join(spare.said) == text.strip()
