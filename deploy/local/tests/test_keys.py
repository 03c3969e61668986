"""Keys and tokens of the local stack."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest

from voxbus.local.cli.token import parse_duration
from voxbus.local.errors import CommandError, UsageError
from voxbus.local.keys import AUDIENCE, KeyPair

pytestmark = pytest.mark.unit


@pytest.fixture
def keys(tmp_path: Path) -> KeyPair:
    pair = KeyPair(tmp_path)
    pair.ensure()
    return pair


def test_the_private_key_is_the_users_alone(keys: KeyPair) -> None:
    """Nobody else may read the file with the private key."""
    assert stat.S_IMODE(keys.private_file.stat().st_mode) == 0o600


def test_the_pair_is_kept(keys: KeyPair) -> None:
    """A second start uses the same key, and writes the public one again if it is lost."""
    private, public = keys.private_file.read_bytes(), keys.public_file.read_bytes()
    keys.public_file.unlink()
    keys.ensure()
    assert (keys.private_file.read_bytes(), keys.public_file.read_bytes()) == (private, public)


def test_a_token_says_who_may_call_whom_and_until_when(keys: KeyPair) -> None:
    """The public key verifies it, and it carries audience, subject, agent and expiry."""
    token = keys.issue(agent_id="receptionist", ttl=timedelta(minutes=5), subject="someone")
    claims = jwt.decode(token, keys.public_file.read_bytes(), algorithms=["EdDSA"], audience=AUDIENCE)
    assert (claims["sub"], claims["agent_id"]) == ("someone", "receptionist")
    assert claims["exp"] - claims["iat"] == 300
    assert abs(claims["iat"] - datetime.now(UTC).timestamp()) < 10


def test_a_token_names_its_key(keys: KeyPair, tmp_path: Path) -> None:
    """The header's `kid` is the same for the same key and differs for another."""
    other = KeyPair(tmp_path / "other")
    other.private_file.parent.mkdir()
    other.ensure()
    ids = [
        jwt.get_unverified_header(pair.issue(agent_id=None, ttl=timedelta(1)))["kid"] for pair in (keys, keys, other)
    ]
    assert ids[0] == ids[1] != ids[2]


def test_a_token_for_any_agent_has_no_agent_claim(keys: KeyPair) -> None:
    """Without an agent the claim is left out, which allows all."""
    token = keys.issue(agent_id=None, ttl=timedelta(minutes=5))
    assert "agent_id" not in jwt.decode(token, options={"verify_signature": False})


def test_a_missing_or_broken_key_says_what_to_do(tmp_path: Path) -> None:
    """No traceback for a key that is not there or not a key."""
    pair = KeyPair(tmp_path)
    with pytest.raises(CommandError, match="no key at") as missing:
        pair.issue(agent_id=None, ttl=timedelta(1))
    assert "voxbus up" in missing.value.hint
    pair.private_file.write_text("not a key")
    with pytest.raises(CommandError, match="holds no Ed25519 key"):
        pair.ensure()


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604_800)])
def test_durations(text: str, seconds: int) -> None:
    """A number with a unit, seconds without one."""
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "0", "m", "-5m", "1.5h", "1w"])
def test_what_is_no_duration(text: str) -> None:
    """Anything else is a wrong usage."""
    with pytest.raises(UsageError):
        parse_duration(text)
