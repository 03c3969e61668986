"""The commands of accounts: logins, which server is meant, users, API keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import run
from fake_rest import EMAIL, PASSWORD, FakeRest, Reply, stack, user

from voxbus.local.credentials import CredentialsFile, Logins
from voxbus.local.state import StateDir

pytestmark = pytest.mark.unit


def test_a_login_is_used_by_the_commands_that_follow(nobody: FakeRest) -> None:
    """login stores a session; whoami and agents use it without --url; logout ends it on both sides."""
    nobody.on("GET", "/auth/me", user())
    nobody.on("POST", "/auth/logout", Reply(204))
    code, out, err = run("login", "--url", nobody.url, "--email", EMAIL, "--password-stdin", typed=f"{PASSWORD}\n")
    assert (code, out) == (0, "")
    assert EMAIL in err
    assert EMAIL in run("whoami")[1]
    assert run("logout")[0] == 0
    assert len(nobody.of("POST", "/auth/logout")) == 1
    code, _out, err = run("whoami")
    assert code == 3
    assert "voxbus login" in err


def test_without_a_login_the_stack_that_runs_here_is_used(nobody: FakeRest, tmp_path: Path) -> None:
    """As its admin, by the password in its directory; --state-dir goes before a login elsewhere."""
    state = StateDir(tmp_path / ".voxbus")
    nobody.on("GET", "/agents", {"items": [], "next_cursor": None})
    with state.locked():
        state.admin_password_file.write_text(f"{PASSWORD}\n")
        state.write(stack(nobody.url, tmp_path))
        assert run("agents", "list")[0] == 0
        file = CredentialsFile.of_user()
        file.write(Logins(current="http://elsewhere.example"))
        assert run("agents", "list")[0] == 4
        assert run("agents", "list", "--state-dir", str(state.path))[0] == 0
    assert len(nobody.of("POST", "/auth/login")) == 1


def test_a_wrong_password_is_exit_code_4(nobody: FakeRest) -> None:
    """Nothing is stored, and the hint does not send one in a circle."""
    code, out, err = run("login", "--url", nobody.url, "--email", EMAIL, "--password-stdin", typed="wrong\n")
    assert (code, out) == (4, "")
    assert "do not fit" in err
    assert "hint" not in err


def test_passwords_are_typed_without_echo(nobody: FakeRest) -> None:
    """A prompt takes it, and it is nowhere in what is printed."""
    code, out, err = run("login", "--url", nobody.url, "--email", EMAIL, typed=f"{PASSWORD}\n")
    assert code == 0
    assert PASSWORD not in out + err


def test_a_login_that_ended_does_not_lead_to_another_server(nobody: FakeRest) -> None:
    """The command after it still means the same server, and says that one is not logged in there."""
    run("login", "--url", nobody.url, "--email", EMAIL, "--password-stdin", typed=f"{PASSWORD}\n")
    nobody.end_sessions()
    for _ in range(2):
        code, _out, err = run("agents", "list")
        assert code == 4
        assert f"voxbus login --url {nobody.url}" in " ".join(err.split())


def test_the_secret_of_a_key_is_all_that_is_on_stdout(rest: FakeRest) -> None:
    """So that a script can take it; what is said beside it is on stderr."""
    rest.on("POST", "/auth/api-keys", Reply(201, {"key": {"id": "key_1"}, "secret": "vxk_key_1_secret"}))
    code, out, err = run("keys", "create", "--name", "night", "--allow", "agents:read", "--expires", "12h")
    assert (code, out) == (0, "vxk_key_1_secret\n")
    assert "secret" not in err.replace("Keep the secret", "")
    assert rest.seen[0].json["permissions"] == ["agents:read"]


def test_a_permission_that_does_not_exist_is_refused_with_those_that_do(rest: FakeRest) -> None:
    """Before anything is sent."""
    code, _out, err = run("keys", "create", "--name", "night", "--allow", "agents:look")
    assert (code, rest.seen) == (2, [])
    assert "agents:read" in err


def test_users_are_found_by_email(rest: FakeRest) -> None:
    """A part of an email that others have too is not enough."""
    rest.on("GET", "/users", {"items": [user(id="user_2", email="grace@example.com.au"), user()], "next_cursor": None})
    rest.on("PATCH", "/users/user_1", user(enabled=False))
    code, out, _err = run("users", "edit", EMAIL, "--disable")
    assert (code, out) == (0, "user_1\n")
    assert rest.of("PATCH", "/users/user_1")[0].json == {"enabled": False}
    assert run("users", "show", "race@example.com")[0] == 2


def test_an_admin_is_made_with_the_password_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is not there is exit code 3, and the password is not in what is said."""
    monkeypatch.setenv("VOXBUS_MONGO_TIMEOUT_S", "0.3")
    arguments = ["admin", "create", "--email", EMAIL, "--mongo-url", "mongodb://127.0.0.1:9"]
    code, out, err = run(*arguments, "--password-stdin", typed=f"{PASSWORD}\n")
    assert (code, out) == (3, "")
    assert "cannot be reached" in err
    assert PASSWORD not in err
