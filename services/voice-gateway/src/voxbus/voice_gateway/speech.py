"""What of an utterance has been heard: its sentences, and how far play-out came in each."""

from __future__ import annotations

from dataclasses import dataclass

CHARS_PER_S = 15
"""English as it is usually spoken."""
_FULLY_HEARD = 0.95
"""A sentence counts as heard when this share of its audio was played: the rest is the fading of the last sound."""


@dataclass
class _Sentence:
    text: str
    received_ms: float = 0.0
    played_ms: float = 0.0
    complete: bool = False


class Utterance:
    """The sentences of one agent turn, in order, with the audio received and played for each. No I/O."""

    def __init__(self) -> None:
        self._sentences: dict[int, _Sentence] = {}

    def add(self, index: int, text: str) -> None:
        """The agent means to say this."""
        self._sentences.setdefault(index, _Sentence(text))

    def received(self, index: int, duration_ms: float) -> None:
        """So much more audio of the sentence came."""
        if index in self._sentences:
            self._sentences[index].received_ms += duration_ms

    def received_ms(self, index: int) -> float:
        """How much audio of the sentence has come."""
        sentence = self._sentences.get(index)
        return sentence.received_ms if sentence else 0.0

    def complete(self, index: int) -> None:
        """All audio of the sentence has come."""
        if index in self._sentences:
            self._sentences[index].complete = True

    def is_complete(self, index: int) -> bool:
        """Whether all audio of the sentence has come."""
        return index in self._sentences and self._sentences[index].complete

    @property
    def awaited(self) -> bool:
        """Whether there is a sentence whose audio has not all come."""
        return any(not sentence.complete for sentence in self._sentences.values())

    def played(self, index: int, duration_ms: float) -> None:
        """So much more of the sentence was played to the caller (negative: was not, after all)."""
        if index in self._sentences:
            self._sentences[index].played_ms += duration_ms

    def text(self, index: int) -> str:
        """The words of a sentence, or nothing."""
        sentence = self._sentences.get(index)
        return sentence.text if sentence else ""

    @property
    def texts(self) -> tuple[str, ...]:
        """All sentences, heard or not."""
        return tuple(self._sentences[index].text for index in sorted(self._sentences))

    @property
    def generated(self) -> str:
        """All words, heard or not."""
        return " ".join(self.texts)

    def split(self) -> tuple[str, str]:
        """What was heard, and the rest. A sentence that was cut is split at the word that play-out had reached."""
        heard: list[str] = []
        rest: list[str] = []
        for index in sorted(self._sentences):
            said, unsaid = _split(self._sentences[index])
            heard += [said] if said else []
            rest += [unsaid] if unsaid else []
        return " ".join(heard), " ".join(rest)


def _split(sentence: _Sentence) -> tuple[str, str]:
    if sentence.played_ms <= 0:
        return "", sentence.text
    if sentence.complete:
        share = sentence.played_ms / max(sentence.received_ms, 1.0)
    else:
        # The end is unknown.
        share = sentence.played_ms / max(sentence.received_ms, len(sentence.text) * 1000 / CHARS_PER_S)
    if share >= _FULLY_HEARD:
        return sentence.text, ""
    reached = share * len(sentence.text)
    words = sentence.text.split()
    position, count = 0, 0
    for word in words:
        position += len(word) + 1
        if position > reached + 1:
            break
        count += 1
    return " ".join(words[:count]), " ".join(words[count:])
