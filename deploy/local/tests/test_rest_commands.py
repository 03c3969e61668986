"""The commands of agents and campaigns: what they send, print and refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import run
from fake_rest import TIME, FakeRest, Reply, problem
from rich.text import Text
from typer.core import TyperGroup
from typer.main import get_command

from voxbus.contracts.agents import AgentSpec
from voxbus.contracts.campaigns import CampaignMove
from voxbus.local.cli.app import app

pytestmark = pytest.mark.unit


def agent(**changes: Any) -> dict[str, Any]:
    draft = AgentSpec(name="Front desk", greeting="Hello.").model_dump(mode="json")
    shown = {name: draft[name] for name in ("name", "language", "stt_provider", "llm_provider", "tts_provider")}
    shown |= {"id": "front-desk", "user_id": "user_1", "revision": 4, "published_version": 2, "published_at": TIME}
    return {**shown, "unpublished_changes": True, "created_at": TIME, "updated_at": TIME, "draft": draft, **changes}


def campaign(**changes: Any) -> dict[str, Any]:
    shown = {"id": "camp_1", "user_id": "user_1", "name": "Recall", "agent_id": "front-desk", "status": "draft"}
    shown |= {"allowed_moves": ["schedule", "start"], "timezone": "Europe/Paris", "contact_count": 2, "description": ""}
    times = {"started_at": None, "ended_at": None, "created_at": TIME, "updated_at": TIME, "start_at": None}
    return {**shown, **times, "default_region": "US", "metadata": {"a": "1", "b": "2"}, "revision": 7, **changes}


@pytest.mark.parametrize("arguments", [["agents", "list"], ["users", "list"], ["keys", "list"], ["campaigns", "list"]])
def test_json_is_what_the_api_said(rest: FakeRest, arguments: list[str]) -> None:
    """--json prints the page, with the cursor of the next one."""
    page = {"items": [{"id": "x", "anything": ["é", None]}], "next_cursor": "c1"}
    rest.on("GET", {"keys": "/auth/api-keys"}.get(arguments[0], f"/{arguments[0]}"), page)
    code, out, _err = run(*arguments, "--limit", "1", "--json")
    assert (code, json.loads(out)) == (0, page)


def test_lists_are_tables_that_say_when_there_is_more(rest: FakeRest) -> None:
    """Names, times and what is published are columns; the hint about more pages is on stderr."""
    rest.on("GET", "/agents", {"items": [agent()], "next_cursor": "c1"})
    code, out, err = run("agents", "list", "--limit", "1", "--published", "--sort", "name")
    assert code == 0
    assert "Front desk" in out
    assert "version 2, draft differs" in out
    assert "--all" in err
    assert rest.seen[0].query == {"limit": "1", "published": "true", "sort": "name"}


def test_all_follows_the_pages(rest: FakeRest) -> None:
    """--all makes one list of them."""
    rest.on("GET", "/agents", {"items": [agent()], "next_cursor": "c1"}, {"items": [agent()], "next_cursor": None})
    _code, out, _err = run("agents", "list", "--all", "--json")
    assert len(json.loads(out)["items"]) == 2


def test_text_of_others_cannot_steer_the_terminal(rest: FakeRest) -> None:
    """Markup is shown as it is, escape sequences are not sent."""
    rest.on("GET", "/agents", {"items": [agent(name="[red]x\x1b[2J")], "next_cursor": None})
    _code, out, _err = run("agents", "list")
    assert "[red]x·[2J" in out


def test_edit_sends_a_merge_patch(rest: FakeRest) -> None:
    """--set takes JSON or text, a dot goes into an object, null stays in the patch."""
    rest.on("PATCH", "/agents/front-desk", agent())
    settings = ["greeting=Good evening.", "limits.silence_s=12", "metadata.old=null"]
    code, out, _err = run("agents", "edit", "front-desk", *(part for one in settings for part in ("--set", one)))
    assert (code, out) == (0, "front-desk\n")
    patch = {"greeting": "Good evening.", "limits": {"silence_s": 12}, "metadata": {"old": None}}
    assert rest.seen[0].json == patch
    assert rest.seen[0].headers["if-match"] == "*"


def test_the_editor_never_overwrites_a_change_of_another(
    rest: FakeRest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The draft goes back with the revision it was read at; when that is stale, the text is kept in a file."""
    monkeypatch.setenv("EDITOR", "sed -i s/Hello/Bonjour/")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rest.on("GET", "/agents/front-desk", agent())
    rest.on("PUT", "/agents/front-desk", problem(412, "stale", "it was changed"), agent())
    code, _out, err = run("agents", "edit", "front-desk")
    kept = list(tmp_path.glob("voxbus-front-desk-*.json"))
    assert code == 1
    assert [json.loads(file.read_text())["greeting"] for file in kept] == ["Bonjour."]
    assert kept[0].name in "".join(err.split())
    assert rest.of("PUT", "/agents/front-desk")[0].headers["if-match"] == '"4"'
    assert run("agents", "edit", "front-desk")[0] == 0
    assert list(tmp_path.glob("voxbus-front-desk-*.json")) == kept


def test_an_editor_that_changes_nothing_sends_nothing(rest: FakeRest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No request but the read."""
    monkeypatch.setenv("EDITOR", "true")
    monkeypatch.delenv("VISUAL", raising=False)
    rest.on("GET", "/agents/front-desk", agent())
    code, _out, err = run("agents", "edit", "front-desk")
    assert (code, len(rest.seen)) == (0, 1)
    assert "Nothing was changed" in err


def test_a_campaign_is_edited_by_what_changed(rest: FakeRest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Metadata that was deleted in the editor becomes null in the patch, nothing else is sent."""
    monkeypatch.setenv("EDITOR", """sed -i -e '/"b"/d' -e 's/"1",/"1"/'""")
    monkeypatch.delenv("VISUAL", raising=False)
    rest.on("GET", "/campaigns/camp_1", campaign())
    rest.on("PATCH", "/campaigns/camp_1", campaign())
    assert run("campaigns", "edit", "camp_1")[0] == 0
    assert rest.seen[1].json == {"metadata": {"b": None}}


def test_apply_says_what_it_did(rest: FakeRest, tmp_path: Path) -> None:
    """Created, changed or unchanged, and what was published; a second time it only reads."""
    new, known = ({"id": name, "name": "Front desk", "greeting": "Hello."} for name in ("new-one", "front-desk"))
    (tmp_path / "a.json").write_text(json.dumps(new))
    (tmp_path / "b.json").write_text(json.dumps(known))
    made = agent(id="new-one", revision=1, published_version=None)
    published = agent(id="new-one", published_version=1, unpublished_changes=False)
    rest.on("GET", "/agents/front-desk", agent(unpublished_changes=False))
    rest.on("GET", "/agents/new-one", problem(404, "not_found", "there is no such agent"), published)
    rest.on("POST", "/agents", Reply(201, made))
    rest.on("POST", "/agents/new-one/publish", published)
    code, out, _err = run("agents", "apply", str(tmp_path), "--publish")
    assert (code, out) == (0, "new-one: created, version 1 published\nfront-desk: unchanged\n")
    before = len(rest.seen)
    assert "new-one: unchanged" in run("agents", "apply", str(tmp_path), "--publish")[1]
    assert {seen.method for seen in rest.seen[before:]} == {"GET"}


def test_a_file_with_a_typing_error_is_refused_before_anything_is_sent(rest: FakeRest, tmp_path: Path) -> None:
    """An unknown field is named with its place; exit code 2."""
    (tmp_path / "a.json").write_text(json.dumps({"id": "front-desk", "name": "x", "limits": {"silence": 3}}))
    code, _out, err = run("agents", "apply", str(tmp_path / "a.json"))
    assert (code, rest.seen) == (2, [])
    assert "/limits/silence" in err


def test_diff_shows_both_sides(rest: FakeRest) -> None:
    """Without names it compares what calls use with the draft."""
    differences = [
        {"path": "/greeting", "change": "changed", "before": "Hello.", "after": "Bonjour."},
        {"path": "/tools/0", "change": "added", "before": None, "after": {"name": "end_call"}},
    ]
    rest.on("GET", "/agents/front-desk/compare", {"differences": differences})
    code, out, _err = run("agents", "diff", "front-desk")
    assert code == 0
    assert out.splitlines() == [
        "~ /greeting",
        '    - "Hello."',
        '    + "Bonjour."',
        '+ /tools/0  {"name": "end_call"}',
    ]
    assert rest.seen[0].query == {"before": "published", "after": "draft"}


def test_nothing_is_deleted_without_a_yes(rest: FakeRest) -> None:
    """The question is answered no, nobody can answer, or --yes."""
    rest.on("DELETE", "/agents/front-desk", Reply(204))
    assert run("agents", "delete", "front-desk", typed="n\n")[0] == 1
    assert run("agents", "delete", "front-desk", typed="")[0] == 2
    assert rest.seen == []
    assert run("agents", "delete", "front-desk", "--yes")[0] == 0
    assert len(rest.of("DELETE", "/agents/front-desk")) == 1


def test_an_import_shows_every_bad_row(rest: FakeRest, tmp_path: Path) -> None:
    """The file goes as it is; rows that were not taken are a table and exit code 1."""
    file = tmp_path / "contacts.csv"
    file.write_bytes("phone_number,name\n12,Zoë\n".encode("utf-16"))
    bad = {"row": 2, "column": "phone_number", "value": "12", "message": "too short for +1"}
    report = {"added": 3, "duplicates": 1, "rejected": [bad], "rejected_count": 1, "contact_count": 9}
    rest.on("POST", "/campaigns/camp_1/contacts/import", report)
    code, out, err = run("campaigns", "import", "camp_1", str(file))
    assert code == 1
    assert out.splitlines()[1].split() == ["2", "phone_number", "12", "too", "short", "for", "+1"]
    assert "3 added, 1 there already, 1 rejected; the campaign has 9 contacts" in err
    assert rest.seen[0].body == file.read_bytes()
    assert rest.seen[0].headers["content-type"] == "text/csv"


def test_a_time_without_a_zone_is_of_the_campaigns_zone(rest: FakeRest) -> None:
    """schedule --at writes start_at with the offset of that day, then moves the campaign at the revision it wrote."""
    rest.on("GET", "/campaigns/camp_1", campaign())
    rest.on("PATCH", "/campaigns/camp_1", campaign(revision=8))
    rest.on("POST", "/campaigns/camp_1/schedule", campaign(status="scheduled", start_at=TIME))
    code, _out, err = run("campaigns", "schedule", "camp_1", "--at", "2030-05-02 09:30")
    assert code == 0
    assert "2030-05-02 09:30 Europe/Paris" in err
    assert rest.of("PATCH", "/campaigns/camp_1")[0].json == {"start_at": "2030-05-02T09:30:00+02:00"}
    assert rest.of("POST", "/campaigns/camp_1/schedule")[0].headers["if-match"] == '"8"'


@pytest.mark.parametrize("move", [move for move in CampaignMove if move is not CampaignMove.SCHEDULE])
def test_every_move_is_a_command(rest: FakeRest, move: CampaignMove) -> None:
    """Those that end a campaign for good ask first."""
    rest.on("POST", f"/campaigns/camp_1/{move}", campaign(status="running"))
    final = move in (CampaignMove.COMPLETE, CampaignMove.CANCEL)
    if final:
        assert run("campaigns", move, "camp_1", typed="")[0] == 2
    assert run("campaigns", move, "camp_1", *(["--yes"] if final else []))[0] == 0
    assert len(rest.seen) == 1


def test_every_command_has_help() -> None:
    """Each command of each group says in a sentence what it does."""
    for group in app.registered_groups:
        assert group.typer_instance is not None
        for command in group.typer_instance.registered_commands:
            assert command.callback is not None
            assert command.help or command.callback.__doc__, f"{group.typer_instance.info.name} {command.name}"


def test_another_time_for_what_is_scheduled_is_only_a_change(rest: FakeRest) -> None:
    """schedule --at moves the start of a scheduled campaign, and does not ask for a move that is not allowed."""
    scheduled = campaign(status="scheduled", allowed_moves=["start", "cancel"], start_at=TIME)
    rest.on("GET", "/campaigns/camp_1", scheduled)
    rest.on("PATCH", "/campaigns/camp_1", {**scheduled, "revision": 8})
    assert run("campaigns", "schedule", "camp_1", "--at", "2030-05-02 09:30")[0] == 0
    assert [seen.method for seen in rest.seen] == ["GET", "PATCH"]


def test_a_refused_schedule_changes_nothing(rest: FakeRest) -> None:
    """The start of a campaign that cannot be scheduled, or only in the past, is left as it is."""
    rest.on("GET", "/campaigns/camp_1", campaign(), campaign(status="running", allowed_moves=["pause"]))
    rest.on("POST", "/campaigns/camp_1/schedule", problem(409, "conflict", "it is running"))
    code, _out, err = run("campaigns", "schedule", "camp_1", "--at", "2020-05-02 09:30")
    assert (code, "in the past" in err) == (2, True)
    code, _out, err = run("campaigns", "schedule", "camp_1", "--at", "2030-05-02 09:30")
    assert (code, "it is running" in err) == (1, True)
    assert not rest.of("PATCH", "/campaigns/camp_1")


def test_errors_cannot_steer_the_terminal(rest: FakeRest) -> None:
    """What the API refuses may quote the contents of a file."""
    rest.on("GET", "/agents", problem(422, "invalid", "no column \x1b[2J"))
    assert "no column ·[2J" in run("agents", "list")[2]


def test_calls_are_made_as_the_one_who_asks(rest: FakeRest) -> None:
    """`voxbus token` uses the server and the API key of the other commands, not the admin of a stack that runs here."""
    answer = {"token": "eyJ", "agent_id": "front-desk", "expires_at": TIME, "voice_url": None}
    rest.on("POST", "/auth/call-tokens", answer)
    assert run("token", "--agent", "front-desk") == (0, "eyJ\n", "")
    assert rest.seen[0].headers["authorization"] == "Bearer vxk_good"


def test_no_help_loses_words_in_brackets() -> None:
    """Help is read as markup, which takes `[words]` for a style and does not show them."""
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    commands = [root]
    for command in commands:
        commands.extend(getattr(command, "commands", {}).values())
        for parameter in command.params:
            text = getattr(parameter, "help", None) or ""
            assert Text.from_markup(text).plain == text, f"{command.name} {parameter.name}"
