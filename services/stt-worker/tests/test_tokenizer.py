"""The vocabulary is read as it was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxbus.stt_worker import models
from voxbus.stt_worker.tokenizer import Tokenizer, TokenizerError, parse_pieces

pytestmark = pytest.mark.unit


def encode(pieces: list[bytes]) -> bytes:
    """The inverse of `parse_pieces`."""
    data = b""
    for piece in pieces:
        length = len(piece)
        data += bytes([length]) if length < 128 else bytes([128 + length % 128, length // 128])
        data += piece
    return data


@given(st.lists(st.binary(max_size=400), max_size=30))
def test_pieces_come_back(pieces: list[bytes]) -> None:
    """Pieces of any length, also beyond the one byte for lengths, are read back."""
    assert parse_pieces(encode(pieces)) == pieces


@pytest.mark.parametrize("data", [b"\x05ab", b"\x81", b"\x01a\xff\x01"])
def test_a_cut_file_is_refused(data: bytes) -> None:
    """A vocabulary that ends early is an error, not a shorter vocabulary."""
    with pytest.raises(TokenizerError):
        parse_pieces(data)


def test_the_published_vocabulary_decodes() -> None:
    """The vocabulary in the wheel has 32,000 pieces; control tokens and unused numbers give no text, bytes are joined."""
    tokenizer = Tokenizer.load(models.moonshine_source() / "tokenizer.bin")
    assert len(tokenizer) == 32_000
    pieces = parse_pieces((models.moonshine_source() / "tokenizer.bin").read_bytes())
    company = pieces.index("▁company".encode())
    euro = [byte + 3 for byte in "€".encode()]
    assert tokenizer.decode([1, company, company, *euro, 32_700, 2]) == "company company€"
