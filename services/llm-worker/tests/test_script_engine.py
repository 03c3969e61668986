"""Conversations with a script."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from voxbus.contracts.llm import ChatMessage, Role
from voxbus.llm_worker.script import library
from voxbus.llm_worker.script.engine import CallTool, EndCall, Say, Step, plan
from voxbus.llm_worker.script.model import Script

pytestmark = pytest.mark.unit

RECEPTIONIST = library.load("receptionist")


class Talk:
    """A conversation that goes on line by line; each reply is replayed from all the messages."""

    def __init__(self, script: Script = RECEPTIONIST) -> None:
        self.script = script
        self.messages: list[ChatMessage] = []
        self.steps: tuple[Step, ...] = ()

    def say(self, text: str) -> str:
        """The agent's words in reply."""
        self.messages.append(ChatMessage(role=Role.USER, text=text))
        self.steps = plan(self.script, self.messages)
        words = " ".join(step.text for step in self.steps if isinstance(step, Say))
        self.messages.append(ChatMessage(role=Role.ASSISTANT, text=words))
        return words

    def interrupt(self, heard: str) -> None:
        """The caller cut the last reply short."""
        self.messages[-1] = ChatMessage(role=Role.ASSISTANT, text=heard, interrupted=True)

    @property
    def calls(self) -> list[CallTool]:
        """Tool calls of the last reply."""
        return [step for step in self.steps if isinstance(step, CallTool)]

    @property
    def ended(self) -> bool:
        """Whether the agent hangs up after the last reply."""
        return isinstance(self.steps[-1], EndCall)


def told(*lines: str) -> Talk:
    talk = Talk()
    for line in lines:
        talk.say(line)
    return talk


COMPLETE = ("Hello, Tuesday at three o'clock.", "Charlie.", "five five five, oh one four seven")


def test_the_sample_conversation_books_an_appointment() -> None:
    """The six turns of the sample speech, as the recogniser writes them, end in the right appointment."""
    talk = Talk()
    assert talk.say("Hello, Tuesday at three o'clock, please.") == (
        "Tuesday, very good. 3 PM, all right. What is your name, please?"
    )
    assert talk.say("Charlie.") == "Thank you, Charlie. And what phone number can we reach you on?"
    assert talk.say("Your hours, please.") == (
        "We are open Monday to Friday, from 9 AM to 5 PM. And what phone number can we reach you on?"
    )
    assert "Tuesday at 3 PM for Charlie, phone number 5 5 5, 0 1 4 7. Is that right?" in talk.say(
        "The number I have is five, five, five, oh, one, four, seven, thank you."
    )
    assert talk.say("No, I'm sorry, Wednesday, please.") == (
        "No problem, I have changed that. So that is Wednesday at 3 PM for Charlie, phone number 5 5 5, 0 1 4 7. "
        "Is that right?"
    )
    assert "booked for Wednesday at 3 PM" in talk.say("This is correct. Thank you.")
    assert talk.calls[0].arguments == {"day": "Wednesday", "time": "15:00", "name": "Charlie", "phone": "5550147"}
    assert talk.ended


def test_without_a_word_of_the_caller_the_first_question_comes() -> None:
    """A conversation that only has the greeting is opened by the first question."""
    steps = plan(RECEPTIONIST, [ChatMessage(role=Role.ASSISTANT, text="Hello.")])
    assert steps == (Say("Which day would you like?"),)


def test_several_slots_may_be_filled_at_once() -> None:
    """Whatever a caller volunteers is kept, in any order."""
    talk = Talk()
    reply = talk.say("My name is Charlie, I'd like Friday at ten, my number is 555-0147.")
    assert "Friday at 10 AM for Charlie" in reply


def test_a_bad_answer_is_asked_again_in_other_words() -> None:
    """Each bad answer gets the next wording; the last one stays."""
    talk = Talk()
    replies = [talk.say("blah") for _ in range(3)]
    assert replies[0] == RECEPTIONIST.slots[0].retry[0]
    assert replies[1] == replies[2] == RECEPTIONIST.slots[0].retry[1]


def test_too_many_bad_answers_end_the_call_politely() -> None:
    """After as many as the script says, the agent gives up and hangs up."""
    talk = told("blah", "blah", "blah", "blah")
    assert not talk.ended
    assert talk.say("blah") == RECEPTIONIST.give_up.say
    assert talk.ended


def test_a_good_answer_resets_the_count() -> None:
    """Bad answers to one question do not count against the next."""
    talk = told("blah", "blah", "blah", "blah", "Tuesday")
    assert talk.say("blah") == RECEPTIONIST.slots[1].retry[0]


def test_a_day_that_is_closed_is_explained() -> None:
    """An answer that was understood but is not possible gets its own words."""
    assert "closed on weekends" in Talk().say("Sunday, please")


def test_a_question_about_a_day_is_not_an_answer() -> None:
    """The day in "are you open on Sunday?" is no wish."""
    talk = Talk()
    assert talk.say("Are you open on Sunday?") == (
        "We are open Monday to Friday, from 9 AM to 5 PM. Which day would you like?"
    )


def test_a_question_and_an_answer_in_one_breath() -> None:
    """Both are heard: the question is answered, the slot filled, the next question asked."""
    assert Talk().say("Tuesday, and how much does it cost?") == (
        "A first visit costs 60 dollars. Tuesday, very good. What time would suit you?"
    )


@pytest.mark.parametrize("text", ["Hello?", "Pardon?", "Could you repeat that?"])
def test_asking_again_is_no_bad_answer(text: str) -> None:
    """A greeting or "pardon?" gets the question again and does not count as a bad answer."""
    talk = Talk()
    for _ in range(10):
        assert talk.say(text) == "Which day would you like?"
    assert not talk.ended


def test_goodbye_ends_the_call_at_any_time() -> None:
    """A caller who gives up is let go without an appointment."""
    talk = told("Tuesday")
    assert "goodbye" in talk.say("Never mind, goodbye.")
    assert talk.ended
    assert not talk.calls


def test_a_plain_no_asks_what_to_change() -> None:
    """ "No" and then the thing to change leads back to the confirmation."""
    talk = told(*COMPLETE)
    assert talk.say("No.") == "I am sorry. What should I change?"
    assert talk.say("The time.") == "What time would suit you?"
    assert "Tuesday at 10:30 AM for Charlie" in talk.say("Half past ten.")
    assert "booked for Tuesday at 10:30 AM" in talk.say("Yes.")


def test_a_correction_while_slots_are_open() -> None:
    """A new day overwrites the old one before everything is known."""
    talk = told("Tuesday")
    assert talk.say("No, Wednesday.") == "Wednesday, very good. What time would suit you?"


def test_a_name_can_be_corrected() -> None:
    """A name that was misheard is corrected by saying it again in full."""
    talk = told(*COMPLETE)
    assert "for Oscar" in talk.say("No, my name is Oscar.")


def test_a_correction_to_something_impossible_keeps_what_was() -> None:
    """ "No, Sunday" is explained, and another day is then taken."""
    talk = told(*COMPLETE)
    assert "closed on weekends" in talk.say("No, Sunday.")
    assert "Thursday at 3 PM" in talk.say("Thursday.")


def test_an_interruption_with_noise_is_no_bad_answer() -> None:
    """Words that mean nothing but cut the agent short only bring the question back."""
    talk = told("Tuesday")
    talk.interrupt("Tuesday, very")
    assert talk.say("uh huh") == "What time would suit you?"


def test_an_interruption_with_the_answer_is_taken() -> None:
    """A caller who knows the question need not hear it out."""
    talk = told("Tuesday")
    talk.interrupt("Tuesday,")
    assert talk.say("At three.") == "3 PM, all right. What is your name, please?"


def test_what_was_said_in_several_goes_is_one_turn() -> None:
    """Without a word of the agent heard in between, the pieces of a phone number belong together."""
    talk = told("Tuesday at three", "Charlie")
    talk.messages.append(ChatMessage(role=Role.USER, text="Five five five."))
    talk.messages.append(ChatMessage(role=Role.ASSISTANT, text="", interrupted=True))
    assert "5 5 5, 0 1 4 7" in talk.say("oh one four seven")


def test_after_the_end_the_conversation_goes_on() -> None:
    """A caller who does not hang up can ask, and can even change the appointment."""
    talk = told(*COMPLETE, "Yes.")
    assert "12 Lake Road" in talk.say("Where are you?")
    assert talk.say("hm") == "Is there anything else I can do for you?"
    assert "Thursday at 3 PM" in talk.say("Can we make it Thursday?")
    talk.say("Yes.")
    assert talk.calls[0].arguments["day"] == "Thursday"


def test_the_words_of_the_caller_are_no_template() -> None:
    """Braces in what was heard are said as they are."""
    echo = Script(otherwise="You said: {heard}", unheard="I heard nothing.")
    assert Talk(echo).say("{day} {heard} {0}") == "You said: {day} {heard} {0}"
    assert Talk(echo).say("  ") == "I heard nothing."


def test_a_script_without_confirmation_is_done_when_all_is_known() -> None:
    """The last slot leads straight to the end."""
    script = Script.model_validate(
        {
            "slots": [{"name": "code", "kind": "digits", "min_digits": 4, "max_digits": 4, "ask": "Your code?"}],
            "done": {"calls": [{"tool": "check", "arguments": {"code": "{code}", "ok": True}}], "say": "Thanks."},
        }
    )
    talk = Talk(script)
    assert talk.say("one two three four") == "Thanks."
    assert talk.calls == [CallTool("check", {"code": "1234", "ok": True}, script.done.failed if script.done else "")]
    assert not talk.ended


SLOT = {"name": "day", "kind": "day", "ask": "When?"}
DONE = {"say": "Done."}


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ({}, "slots or otherwise"),
        ({"slots": [SLOT]}, "needs done"),
        ({"slots": [SLOT, SLOT], "done": DONE}, "different names"),
        ({"slots": [{**SLOT, "name": "heard"}], "done": DONE}, "heard"),
        ({"slots": [{**SLOT, "kind": "date"}], "done": DONE}, "kind"),
        ({"slots": [{**SLOT, "aks": "?"}], "done": DONE}, "aks"),
        ({"slots": [{**SLOT, "ask": "When, {nmae}?"}], "done": DONE}, "unknown placeholders: nmae"),
        ({"slots": [SLOT], "done": {**DONE, "calls": [{"tool": "t", "arguments": {"a": "{x}"}}]}}, "placeholders: x"),
        ({"otherwise": "Hm.", "answers": [{"match": ["/(/"], "say": "x"}]}, "no regular expression"),
        ({"otherwise": "Hm.", "answers": [{"match": [], "say": "x"}]}, "match"),
    ],
)
def test_a_wrong_script_is_refused_with_the_reason(script: dict[str, Any], why: str) -> None:
    """Typing errors, missing parts and unknown placeholders are found when the script is read."""
    with pytest.raises(ValidationError, match=why):
        Script.model_validate(script)


@pytest.mark.parametrize("name", library.names())
def test_the_scripts_that_come_with_the_worker_are_right(name: str) -> None:
    """Each of them loads."""
    assert library.load(name).description


lines = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.sampled_from(
            [*COMPLETE, "yes", "no", "the time", "Sunday", "goodbye", "your hours", "pardon", "", "no, Friday"]
        ),
    ),
    max_size=12,
)


@settings(deadline=None)  # the machine is shared: time says nothing
@given(lines)
def test_no_conversation_breaks_the_engine(said: list[str]) -> None:
    """Whatever is said, there is a reply with words in it, and replaying it gives the same one."""
    talk = Talk()
    for line in said:
        assert talk.say(line).strip()
        assert plan(RECEPTIONIST, talk.messages[:-1]) == talk.steps
