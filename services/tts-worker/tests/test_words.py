"""From what a language model writes to what is said."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxbus.tts_worker.english import spoken_english
from voxbus.tts_worker.markup import MAX_PART_CHARS, plain_parts, plain_text

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Plain words stay.", "Plain words stay."),
        (
            "This is **bold**, *slanted*, ***both***, __strong__, _soft_ and ~~gone~~.",
            "This is bold, slanted, both, strong, soft and gone.",
        ),
        ("A **cut off sentence", "A cut off sentence"),
        ("and its end** here.", "and its end here."),
        ("my_file_name and 2 * 3", "my_file_name and 2 * 3"),
        ("Use `code` now", "Use code now"),
        ("Before\n```py\nprint(1)\n```\nafter", "Before. after"),
        ("# Title\nText", "Title. Text"),
        ("We have:\n- tea\n* coffee\n• milk", "We have: tea. coffee. milk"),
        ("1. First\n2) Second", "1, First. 2, Second"),
        ("- [x] done\n- [ ] open", "done. open"),
        ("> quoted", "quoted"),
        ("one\n\n---\n\ntwo", "one. two"),
        ("| a | b |\n|---|---|\n| c | d |", "a, b. c, d"),
        ("See [our page](https://example.com/a_(b)) or ![a map](map.png).", "See our page or a map."),
        ("Say [hi](/hˈI/) now", "Say hi now"),
        ("Mail <mailto:a@b.co>", "Mail mailto:a@b.co"),
        ("<b>Bold</b><br/>next &amp; <!-- hidden -->last", "Bold next & last"),
        ("Is 3 < 5 and 7 > 2?", "Is 3 < 5 and 7 > 2?"),
        ("Great! 😀👍🏽 Bye 👨‍👩‍👧 🇬🇧 1️⃣ ☎️", "Great! Bye 1"),
        ("Nice :) and ;-) and =P ok <3", "Nice and and ok"),
        ("Funny xD and :DD", "Funny and"),
        ("At 10:30 p.m. it costs $5: cheap", "At 10:30 p.m. it costs $5: cheap"),
        ("Wow!!! Really??", "Wow! Really?"),
        ("Wait...", "Wait..."),
        ("20°C, 5 € and ½", "20°C, 5 € and ½"),
        ("zero\u200bwidth\u00ad soft\ufeff", "zerowidth soft"),
        ("क्\u200dष 🙂", "क्\u200dष"),
        ("tab\tand  spaces\r\nnext", "tab and spaces. next"),
    ],
)
def test_markup_is_removed(text: str, plain: str) -> None:
    """Marks of layout go, words and their punctuation stay, and lines become sentences."""
    assert plain_text(text) == plain


@pytest.mark.parametrize(
    "text",
    [
        "It costs 8p.", "Room 8D.", "Size 8/", "A x| B", "the Model XD", "Ready in <3 days", "Is 2 <3?", "send it to :PO Box 5",
        "3 x 8)", "8)", "8O", "x)", "Is a <b and c> d?", "Your <name> please", "if i<a then b>c", "say <your b> now",
    ],
)  # fmt: skip
def test_words_that_look_like_faces_or_tags_stay(text: str) -> None:
    """A number, a letter or a comparison is not taken for an emoticon or for HTML."""
    assert letters_and_digits(plain_text(text)) == letters_and_digits(text)


_WORD = st.one_of(st.from_regex(r"[A-Za-z]{1,6}|[0-9]{1,4}|[0-9][A-Za-z]", fullmatch=True), st.sampled_from("8xXDpPoO"))


@given(
    before=st.lists(_WORD, max_size=3),
    within=st.lists(_WORD, min_size=1, max_size=4),
    brackets=st.sampled_from(["()", "[]"]),
    end=st.sampled_from([".", ",", "?", "!", ";", ":", "", " now."]),
)
def test_what_stands_in_brackets_is_said(before: list[str], within: list[str], brackets: str, end: str) -> None:
    """Every letter and digit of an ordinary sentence survives, in brackets as well as before them."""
    text = " ".join([*before, f"{brackets[0]}{' '.join(within)}{brackets[1]}"]) + end
    assert letters_and_digits(plain_text(text)) == letters_and_digits(text)


def letters_and_digits(text: str) -> str:
    """All that must be heard of a text."""
    return "".join(char for char in text if char.isalnum())


@pytest.mark.parametrize(
    "text",
    [
        '<p class="a b" id=x>Yes</p>', "<BR />Yes", "<h2>Yes</h2>", "<a href='https://a.co/?b=1'>Yes</a>",
        '<speak><prosody rate="slow">Yes</prosody></speak>', '<break time="1s"/>Yes', "Yes</reply>",
    ],
)  # fmt: skip
def test_tags_are_removed_with_their_attributes(text: str) -> None:
    """Tags of HTML and of SSML, and the closing tag of any name, leave no trace."""
    assert plain_text(text) == "Yes"


@pytest.mark.parametrize("text", ["", " \n ", "🙂", "...", "—", "***", "```x```", "<br>", "\x00\x07"])
def test_nothing_to_say_is_empty(text: str) -> None:
    """Text without a letter or digit is empty."""
    assert plain_text(text) == ""


@given(st.text(max_size=300))
def test_any_text_becomes_one_plain_line(text: str) -> None:
    """Whatever comes in, the result is one line without doubled spaces, and plain text stays as it is."""
    plain = plain_text(text)
    assert plain == " ".join(plain.split())
    assert spoken_english(plain) == " ".join(spoken_english(plain).split())


@pytest.mark.parametrize(
    "unit",
    ["*", "_", "`", "~", "[", "](", "<", "<a ", "|", "#", "(", "-", "- ", "1 ", "1-", "1.", "a.", "a@", "a-", "A1", "1,", "\n> ",
     "[a](", "**a ", "<!--", "http://a/", "id:", "mon-", "1. \n"],
)  # fmt: skip
def test_hostile_repetition_takes_no_time(unit: str) -> None:
    """The longest part, all of one mark, keeps the event loop or the interpreter's lock for milliseconds."""
    text = (unit * MAX_PART_CHARS)[:MAX_PART_CHARS]
    assert min(_seconds(plain_text, text), _seconds(plain_text, text)) < 0.03
    assert min(_seconds(spoken_english, text), _seconds(spoken_english, text)) < 0.03


def _seconds(work: Callable[[str], str], text: str) -> float:
    began = time.process_time()
    work(text)
    return time.process_time() - began


def test_code_longer_than_a_part_is_not_spoken() -> None:
    """A long sentence is cut only after its code is gone."""
    code = "for each in range(10): print(each)\n" * 100
    assert list(plain_parts(f"Here it is:\n```python\n{code}```\nThat is all.")) == ["Here it is: That is all."]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Email john.doe_99@my-site.co.uk now.", "Email john dot doe underscore nine nine at my dash site dot co dot uk now."),
        ("Visit https://www.example.com/help?x=1.", "Visit example dot com slash help."),
        ("Go to www.example.org/ or example.com.", "Go to example dot org or example dot com."),
        ("It ended.In the end", "It ended.In the end"),
        ("Call +1 555 123 4567.", "Call plus one, five five five, one two three, four five six seven."),
        ("Call (555) 123-4567", "Call five five five, one two three, four five six seven"),
        ("Call 1-800-555-0199 now", "Call one, eight zero zero, five five five, zero one nine nine now"),
        ("Call +919876543210", "Call plus nine one nine eight seven six five four three two one zero"),
        ("On 2026-11-23 and 10-12-2026", "On 2026-11-23 and 10-12-2026"),
        ("Your code is 4512.", "Your code is four five one two."),
        ("Order #12345 and order 66", "Order number one two three four five and order 66"),
        ("Order number 123", "Order number one two three"),
        ("Your booking code: XK-4421", "Your booking code: X K four four two one"),
        ("Your ID is AB12C", "Your ID is A B one two C"),
        ("The ID is important", "The ID is important"),
        ("Flight BA2490, room 101", "Flight B A two four nine zero, room one zero one"),
        ("COVID19, MP3 and B12", "COVID19, MP3 and B12"),
        ("zip 94107", "zip nine four one zero seven"),
        ("ID 12345678", "ID one two three four five six seven eight"),
        ("50000 people paid $20500 or 12345.67", "50000 people paid $20500 or 12345.67"),
        ("1,00,000 rupees", "100000 rupees"),
        ("1,000,000 people", "1,000,000 people"),
        ("Dial 911 and press 2", "Dial nine one one and press 2"),
        ("9am to 5pm.", "9 A.M. to 5 P.M."),
        ("at 10:30am", "at 10:30am"),
        ("I am 9, amazing", "I am 9, amazing"),
        ("Mon-Fri and Sat – Sun", "Monday to Friday and Saturday to Sunday"),
        ("$5-10", "$5 to $10"),
        ("open 24/7", "open twenty-four seven"),
        ("~20 minutes, 3 x 4", "about 20 minutes, 3 by 4"),
        ("fruit, e.g. apples, i.e. food", "fruit, for example, apples, that is, food"),
        ("It costs $1,234.50 on 10/12/2026 at 3:30pm.", "It costs $1,234.50 on 10/12/2026 at 3:30pm."),
        ("In 2024, 1500 people came.", "In 2024, 1500 people came."),
    ],
)  # fmt: skip
def test_english_is_said_as_people_say_it(text: str, said: str) -> None:
    """Addresses, numbers and codes become words where the engine would misread them, and nothing else changes."""
    assert spoken_english(text) == said
