"""What guessing of long passwords begins with, after public lists of leaked ones. No I/O."""

from __future__ import annotations

import re
from typing import Final

_MIN_DISTINCT: Final = 5
_LONGEST_UNIT: Final = 6
_MOST_AROUND: Final = 8
"""Digits and signs that are put around a word; with more of them they are a secret of their own."""
_AROUND: Final = re.compile(r"^[\W\d_]+|[\W\d_]+$")

# fmt: off
_WORDS: Final = frozenset((
    "abc", "abcd", "abcde", "abcdef", "abcdefg", "abcdefghijkl", "abcdefghijklm", "abcdefghijklmnop",
    "abcdefghijklmnopqrstuvwxyz", "admin", "administrator", "angel", "asdf", "asdfgh", "asdfghjkl", "azerty", "azertyuiop",
    "baseball", "basketball", "batman", "changeit", "changeme", "changemeplease", "charlie", "chocolate", "christopher",
    "computer", "correcthorsebatterystaple", "default", "defaultpassword", "donald", "dragon", "facebook", "football",
    "freedom", "fuckyou", "google", "hello", "helloworld", "hockey", "iloveyou", "iloveyousomuch", "jennifer", "jesus",
    "jesuschrist", "jesusislord", "jordan", "killer", "letmein", "liverpool", "login", "london", "lovely", "manchester",
    "manchesterunited", "master", "masterpassword", "michael", "michelle", "monkey", "mustang", "mynoob", "mypassword",
    "myspace", "newpassword", "ninja", "nothing", "p@ssw0rd", "p@ssword", "passw0rd", "password", "passwordabc", "pokemon",
    "princess", "qazwsx", "qazwsxedc", "qazwsxedcrfv", "qazwsxedcrfvtgb", "qazxswedcvfr", "qweasdzxc", "qwer", "qwerasdfzxcv",
    "qwert", "qwerty", "qwertyui", "qwertyuiop", "qwertyuiopasdf", "qwertyuiopasdfghjkl", "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiop", "root", "samsung", "secret", "secretpassword", "shadow", "soccer", "spongebob", "starwars", "sunshine",
    "superman", "supersecret", "test", "testpassword", "thisisapassword", "trustno", "unbelievable", "voxbus", "voxbuspassword",
    "welcome", "whatever", "zaq12wsx", "zxcvbnm", "zxcvbnmasdfghjkl", "zxcvbnmasdfghjklqwertyuiop",
))
_WHOLE: Final = frozenset((
    "012345678910", "0123456789ab", "102030405060", "111222333444", "112233445566", "123454321123", "1234567890-=",
    "12345678900987654321", "12345678910", "1234567891011", "123456789101112", "123qweasdzxc", "1q2w3e4r5t6y", "1q2w3e4r5t6y7u",
    "1q2w3e4r5t6y7u8i", "1q2w3e4r5t6y7u8i9o", "1q2w3e4r5t6y7u8i9o0p", "1qaz2wsx3edc", "1qaz2wsx3edc4rfv", "1qazxsw23edc",
    "a1b2c3d4e5f6", "a1b2c3d4e5f6g7", "a1s2d3f4g5h6", "aaaabbbbcccc", "aaabbbcccddd", "awsedrftgyhu", "q1w2e3r4t5y6",
    "q1w2e3r4t5y6u7", "q1w2e3r4t5y6u7i8", "q1w2e3r4t5y6u7i8o9p0", "zaq12wsxcde3", "zaq1xsw2cde3",
))
# fmt: on
_DIGITS: Final = "01234567890123456789" * 16
"""Longer than any password, so that each run of digits, up or down, is in it."""


def is_guessable(secret: str) -> bool:
    """Whether `secret`, in lower case, is among the first that would be tried.

    One of the lists, or a word of them with digits and signs around it; a short piece or a word again and again; very few
    different characters; the digits in their order.
    """
    if secret in _WHOLE or len(set(secret)) < _MIN_DISTINCT or _repeats(secret, range(1, _LONGEST_UNIT + 1)):
        return True
    if secret in _DIGITS or secret in _DIGITS[::-1]:
        return True
    word = _AROUND.sub("", secret)
    return len(secret) - len(word) <= _MOST_AROUND and _is_word(word)


def _is_word(word: str) -> bool:
    """One of the words, once or again and again."""
    return any(word[:size] in _WORDS and _repeats(word, (size,)) for size in range(1, len(word) + 1))


def _repeats(secret: str, sizes: range | tuple[int, ...]) -> bool:
    """Whether it is a piece of one of these sizes again and again, the last time perhaps not whole."""
    return any(secret == (secret[:size] * len(secret))[: len(secret)] for size in sizes)
