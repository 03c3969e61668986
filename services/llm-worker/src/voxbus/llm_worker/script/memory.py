"""Remembers where conversations were, so that a turn costs the same however long its call has lasted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final, Generic, TypeVar

_T = TypeVar("_T")
_MAX_PLACES: Final = 2048
"""More than the calls of a worker; each is a few hundred bytes."""


class Memory(Generic[_T]):
    """What came out after the turns of a conversation; the places used longest ago are forgotten."""

    def __init__(self, max_places: int = _MAX_PLACES) -> None:
        self._places: OrderedDict[bytes, _T] = OrderedDict()
        self._max_places = max_places

    def last(self, places: list[bytes]) -> tuple[int, _T] | None:
        """The last of the places that is known: its position, and what came out there."""
        for position in range(len(places) - 1, -1, -1):
            known = self._places.get(places[position])
            if known is not None:
                self._places.move_to_end(places[position])
                return position, known
        return None

    def keep(self, place: bytes, outcome: _T) -> None:
        """Remember."""
        self._places[place] = outcome
        self._places.move_to_end(place)
        if len(self._places) > self._max_places:
            self._places.popitem(last=False)


def places(script: str, turns: Iterable[str]) -> list[bytes]:
    """A key for the conversation after each turn; no words are kept, and different conversations never share one."""
    key = blake2b(script.encode(errors="surrogatepass"), digest_size=16).digest()
    result: list[bytes] = []
    for turn in turns:
        key = blake2b(key + turn.encode(errors="surrogatepass"), digest_size=16).digest()
        result.append(key)
    return result
