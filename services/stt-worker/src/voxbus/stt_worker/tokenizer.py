"""Moonshine's vocabulary: `tokenizer.bin`, pieces of text by token number."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

START_TOKEN: Final = 1
END_TOKEN: Final = 2
_SPACE: Final = "▁".encode()
_CONTROL: Final = frozenset({b"<unk>", b"<s>", b"</s>"})


class TokenizerError(ValueError):
    """The bytes are no vocabulary."""


class Tokenizer:
    """Token numbers to text."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def __len__(self) -> int:
        return len(self._pieces)

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Read a `tokenizer.bin`; raises TokenizerError or OSError."""
        return cls(parse_pieces(path.read_bytes()))

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of `tokens`, without control tokens and surrounding spaces."""
        joined = b"".join(self._text(token) for token in tokens)
        return joined.replace(_SPACE, b" ").decode("utf-8", errors="ignore").strip()

    def _text(self, token: int) -> bytes:
        # The model has more outputs than there are pieces; the ones beyond stand for nothing.
        piece = self._pieces[token] if token < len(self._pieces) else b""
        return b"" if piece in _CONTROL else piece


def parse_pieces(data: bytes) -> list[bytes]:
    """The pieces in `data`, each after its length.

    A length below 128 is one byte, a longer one two: `128 + length % 128`, then `length // 128`.
    Raises TokenizerError when the last piece is cut short.
    """
    pieces: list[bytes] = []
    at = 0
    while at < len(data):
        length = data[at]
        at += 1
        if length >= 128:
            if at == len(data):
                raise TokenizerError("the vocabulary ends inside a length")
            length = length - 128 + 128 * data[at]
            at += 1
        if at + length > len(data):
            raise TokenizerError(f"the vocabulary ends inside piece {len(pieces)}")
        pieces.append(data[at : at + length])
        at += length
    return pieces
