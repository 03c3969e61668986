from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxbus.llm_worker.cutter import MAX_PIECE_CHARS, SentenceCutter

pytestmark = pytest.mark.unit


def cut(text: str, *, tokens: list[str] | None = None, first_piece_chars: int | None = None) -> list[str]:
    cutter = SentenceCutter(first_piece_chars=first_piece_chars)
    pieces = [piece for token in (tokens or [text]) for piece in cutter.feed(token)]
    return pieces + cutter.finish()


@pytest.mark.parametrize(
    "sentences",
    [
        ["Hello.", "How are you?", "Great!"],
        ["Dr. Shah sees Mr. and Mrs. Patel.", "They wait."],
        ["Bring fruit, e.g. apples, i.e. something sweet.", "Thanks."],
        ["We open at 9 a.m. and close at 5 p.m. on Monday.", "See you."],
        ["We close at 5 p.m.", "What time suits you?"],
        ["We close at 5 p.m. Charlie knows it."],
        ["The U.S. Navy called.", "It was brief."],
        ["It is made in the U.S.", "We ship it."],
        ["That is 3.50 dollars, or $1,200.75 in all.", "Fine?"],
        ["Come at 3.30 or 15:45.", "Bye."],
        ["J. K. Rowling wrote it.", "Yes."],
        ["Take Plan B.", "It is cheaper."],
        ["Well... maybe not.", "Hm…", "Let me see."],
        ["Well… maybe.", "Yes."],
        ["He said “Come in.”", "Then he left."],
        ['"Really?" he asked.', "Yes."],
        ["(It is closed.)", "Sorry."],
        ["It takes a while (approx. 5 min.) and is free.", "Good."],
        ["See www.example.com/a?b=1.", "Or write to jo.doe@example.co.uk today."],
        ["No.", "We are full."],
        ["It is No. 5 on the list.", "Right."],
        ["What?!", "No!!", "Yes."],
        ["**Done.**", "Next."],
        ["Version 2.0.1 is out.", "Take it."],
        ["नमस्ते।", "आप कैसे हैं?", "ठीक है॥"],
        ["1. Bread", "2. Milk", "- Eggs"],
        ["Steps: 1. Open it.", "2. Close it.", "10. Go."],
        ["(In short.)", "1. Open it.", "2. Close it."],
        ["It costs 5.", "We have 12.", "That is all."],
        ["We have:", "apples", "pears."],
        ["It was I.", "We know."],
    ],
)
def test_a_sentence_is_cut_where_a_reader_would(sentences: list[str]) -> None:
    """Abbreviations, numbers, initials, quotes, addresses and lists do not fool the cutter, whole or letter by letter."""
    separator = "\n" if sentences[0].startswith("1.") or sentences[0].endswith(":") else " "
    text = separator.join(sentences)
    assert cut(text) == sentences
    assert cut(text, tokens=list(text)) == sentences


def test_a_danda_needs_no_space_after_it() -> None:
    """A danda ends a sentence even where the next one follows at once."""
    assert cut("नमस्ते।आप कैसे हैं?") == ["नमस्ते।", "आप कैसे हैं?"]


@pytest.mark.parametrize(
    ("tokens", "complete_after"),
    [
        (["Hello", ".", " How"], 3),
        (["Hello", "!", "\n"], 3),
        (["Hello", ".\n"], 2),
        (["Hello", ". "], 2),
        (["“Hi", ".", "”", " Then"], 4),
        (["No", ".", " We"], 3),
        (["नमस्ते", "।", " आ"], 3),
    ],
)
def test_a_sentence_leaves_with_the_token_after_it(tokens: list[str], complete_after: int) -> None:
    """No more than one token after its stop is needed to let a sentence go."""
    cutter = SentenceCutter()
    left = [bool(cutter.feed(token)) for token in tokens]
    assert left.index(True) + 1 == complete_after


def test_a_long_first_piece_leaves_at_a_clause() -> None:
    """The first piece leaves at the last clause boundary before the limit; later pieces only at sentence ends."""
    first = "Thank you for calling the clinic, it is good to hear from you again,"
    rest = "and I will gladly look for an appointment that suits you, your family, and your friends."
    text = f"{first} {rest} {rest}"
    assert cut(text, first_piece_chars=70) == [first, rest, rest]
    assert cut(text) == [f"{first} {rest}", rest]


def test_a_short_clause_does_not_leave_alone() -> None:
    """ "Well," is no piece of its own, and a number's comma is no clause boundary."""
    text = "Well, that visit would cost exactly 1,250 dollars with everything that you asked me for included."
    assert cut(text, first_piece_chars=40) == [text]


def test_a_long_first_piece_leaves_before_its_sentence_is_complete() -> None:
    """What leaves early does so while the model is still writing the sentence."""
    cutter = SentenceCutter(first_piece_chars=40)
    assert cutter.feed("If you would like to come on Tuesday, then we co") == ["If you would like to come on Tuesday,"]


def test_a_sentence_without_end_is_cut_between_words() -> None:
    """No piece is longer than 300 characters, and the first leaves long before the last word is written."""
    text = "and then " * 600
    pieces = cut(text)
    assert " ".join(pieces) == text.strip()
    assert all(200 < len(piece) <= MAX_PIECE_CHARS for piece in pieces[:-1])
    cutter = SentenceCutter()
    assert cutter.feed("and then " * 34)


def test_a_long_sentence_is_cut_at_its_last_clause() -> None:
    """Where a clause ends in the second half of what fits, the voice pauses there."""
    clause = "you may bring along whatever papers you have at home about it, "
    pieces = cut(clause * 8)
    assert [piece.endswith("about it,") for piece in pieces] == [True] * len(pieces)


def test_a_word_without_end_is_cut() -> None:
    """Text without any white space leaves too."""
    assert [len(piece) for piece in cut("x" * 700)] == [300, 300, 100]


@pytest.mark.parametrize("char", ["!", ".", "”", " ", "\n", ",", "。"])
def test_a_character_that_repeats_for_ever_costs_no_more_than_others(char: str) -> None:
    """Token by token, 8,000 stops, quotes or blanks are read in a moment."""
    cutter = SentenceCutter()
    began = time.thread_time()
    pieces = [piece for token in ["Well...", *[char] * 8000, " Yes."] for piece in cutter.feed(token)] + cutter.finish()
    assert time.thread_time() - began < 1
    assert squeeze("".join(pieces)) == squeeze(f"Well...{char * 8000} Yes.")


ODD_WORDS = (
    "Hello Dr. Mr. e.g. p.m. U.S. St. No. 5 3.50 1. J. I. yes, no; What? “Hi.” (ok.) ... … ! \n - । नमस्ते। The we well: "
    "www.example.com. a.b@c.de, *bold.* — ?! 。 你好。 \t"
)
words = st.sampled_from(ODD_WORDS.split(" "))
long_texts = st.lists(st.tuples(words, st.integers(1, 120)), max_size=6).map(
    lambda runs: "".join((word + " ") * count if count % 2 else word * count for word, count in runs)
)
texts = st.one_of(
    st.text(max_size=200), st.lists(words, max_size=60).map(" ".join), st.lists(words).map("".join), long_texts
)
limits = st.sampled_from([None, 30, 70])


def squeeze(text: str) -> str:
    return "".join(text.split())


@settings(deadline=None)  # the machine is shared: time says nothing
@given(text=texts, limit=limits, data=st.data())
def test_the_pieces_are_the_text_and_do_not_depend_on_tokens(text: str, limit: int | None, data: st.DataObject) -> None:
    """Nothing is lost or doubled, no piece is blank, and any split into tokens gives the same pieces."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=20)))
    tokens = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    pieces = cut(text, tokens=tokens, first_piece_chars=limit)
    assert squeeze("".join(pieces)) == squeeze(text)
    assert all(piece and piece == piece.strip() for piece in pieces)
    assert all(len(piece) < MAX_PIECE_CHARS + 70 for piece in pieces)
    assert pieces == cut(text, first_piece_chars=limit) == cut(text, tokens=list(text), first_piece_chars=limit)
