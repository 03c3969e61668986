"""Words whose full stop is usually no end of a sentence. All in lower case and without their last full stop."""

from __future__ import annotations

from typing import Final

from voxbus.llm_worker.wordlists import word_set

NEVER_LAST: Final = word_set(
    "adm approx capt cf col cpl dept dr e.g eg fig fr gen gov hon i.e ie lt maj messrs mgr mme mr mrs ms msgr mt "
    "mx pres prof rep rev sen sgt sr.a viz vs"
)
"""Something always follows: titles before a name, "e.g."."""

MAYBE_LAST: Final = word_set(
    "a.m am ave blvd bros co corp dec est etc ext ft hr hrs inc jan feb jr ltd min mins nov oct op p.m ph.d phd pm rd "
    "sec sep sept sq sr st tel u.k u.s u.s.a"
)
"""May end a sentence: whether it does shows in the word that follows. Dotted initials such as "U.N." count as well."""

BEFORE_NUMBER: Final = word_set("no nos nr p pp vol ch art")
"""Abbreviations only when a number follows: "No. 5", but "No. We are closed."."""

STARTERS: Final = word_set(
    "a after all also an and any anything are as at because before but can could did do does else first for from "
    "good goodbye have he hello here his how however i i'd i'll i'm i've if in is it it's its just let let's may my "
    "next no not now of on once one or our please she should so some sorry thank thanks that that's the their then "
    "there there's these they this those to today tomorrow was we we'd we'll we're we've welcome well were what "
    "what's when where which while who why will with would yes you you'd you'll you're you've your"
)
"""Words that, with a capital, begin a sentence rather than go on with a name."""
