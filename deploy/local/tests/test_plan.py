"""What is to run: counts, ports, environments."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxbus.local import mongo_server
from voxbus.local.errors import CommandError, UsageError
from voxbus.local.plan import StackOptions, StackPlan, build_plan, parse_processes
from voxbus.local.plan.rank import Rank
from voxbus.local.ports import PortPlan
from voxbus.local.process import ProcessSpec
from voxbus.local.state import StateDir

pytestmark = pytest.mark.unit


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    state = StateDir(tmp_path)
    state.create()
    return state


def plan_of(state: StateDir, options: StackOptions) -> StackPlan:
    with PortPlan() as ports:
        return build_plan(options, ports=ports, state=state)


def specs_of(plan: StackPlan, service: str) -> list[ProcessSpec]:
    return [spec for spec in plan.specs if spec.service == service]


def test_counts_are_parsed() -> None:
    """Stages, services and numbers, in any order, with spaces."""
    assert parse_processes("stt=2, tts=0,rest-gateway=3") == {"stt": 2, "tts": 0, "rest-gateway": 3}
    assert parse_processes("") == {}


@pytest.mark.parametrize("text", ["stt", "stt=", "stt=x", "ears=1", "stt=-1", "stt=99", "auth=0", "voice-gateway=2"])
def test_what_are_no_counts(text: str) -> None:
    """Anything else is a wrong usage, with an example; only stages can be left out."""
    with pytest.raises(UsageError) as error:
        parse_processes(text)
    assert "--processes stt=2" in error.value.hint


def test_several_processes_are_numbered_and_each_has_ports_of_its_own(
    state: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers come first; workers of a stage share what must be prepared; every service knows the same bus."""
    monkeypatch.setenv("VOXBUS_MODEL_CACHE", str(state.path / "no weights here"))
    plan = plan_of(state, StackOptions(processes={"stt": 2, "llm": 0, "agents": 2}))
    assert [spec.name for spec in plan.specs] == [
        "nats", "mongodb", "stt-worker-1", "stt-worker-2", "tts-worker", "voice-gateway",
        "auth", "agents-1", "agents-2", "campaigns", "rest-gateway",
    ]  # fmt: skip
    ports = [port for spec in plan.specs for port in spec.ports.values()]
    assert len(ports) == len(set(ports))
    services = [spec for spec in plan.specs if spec.rank is Rank.SERVICES]
    assert {spec.env["VOXBUS_NATS_URL"] for spec in services} == {plan.nats_url}
    assert all(spec.env["VOXBUS_HTTP_PORT"] == str(spec.ports["http"]) for spec in services)
    assert services[0].preparation == services[1].preparation is not None


def test_only_the_services_that_store_know_the_store_and_only_auth_the_password(state: StateDir) -> None:
    """The processes of calls get neither, and start without waiting for MongoDB."""
    plan = plan_of(state, StackOptions())
    storing = {spec.service for spec in plan.specs if "VOXBUS_MONGO_URL" in spec.env}
    assert storing == {"auth", "agents", "campaigns"}
    knowing = {spec.service for spec in plan.specs if "VOXBUS_ADMIN_PASSWORD_FILE" in spec.env}
    assert knowing == {"auth"}
    (mongodb,) = specs_of(plan, "mongodb")
    assert not mongodb.gate
    assert plan.mongo_url == mongodb.ready_url == specs_of(plan, "auth")[0].env["VOXBUS_MONGO_URL"]


def test_clients_are_told_where_the_first_rest_gateway_and_the_voice_gateway_are(state: StateDir) -> None:
    """Each REST gateway has a port of its own and hands out the voice address; /health misses no stage that is left out."""
    plan = plan_of(state, StackOptions(processes={"rest-gateway": 2, "tts": 0}))
    gateways = specs_of(plan, "rest-gateway")
    assert [spec.env["VOXBUS_REST_PORT"] for spec in gateways] == [str(spec.ports["rest"]) for spec in gateways]
    assert plan.rest_url.endswith(f":{gateways[0].ports['rest']}")
    assert {spec.env["VOXBUS_VOICE_URL"] for spec in gateways} == {f"{plan.voice_url}/v1/voice"}
    assert gateways[0].env["VOXBUS_EXPECTED_SERVICES"].split(",")[3:] == ["voice-gateway", "stt-worker", "llm-worker"]


def test_a_mongodb_that_runs_already_is_used_and_its_password_is_not_shown(state: StateDir) -> None:
    """With --mongo-url none is started, the services get the URL, and what is written down has no credentials."""
    url = "mongodb://someone:secret@db.example:27018/?tls=true"
    plan = plan_of(state, StackOptions(mongo_url=url))
    assert not specs_of(plan, "mongodb")
    assert specs_of(plan, "agents")[0].env["VOXBUS_MONGO_URL"] == url
    assert plan.mongo_url == "mongodb://db.example:27018/?tls=true"


def test_a_missing_store_says_how_to_get_one(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the optional package the start ends with both ways out."""
    monkeypatch.setattr(mongo_server.sysconfig, "get_path", lambda _name: str(state.path))
    with pytest.raises(CommandError, match="secantusdb is missing") as error:
        mongo_server.mongo_command(state.mongo, host="127.0.0.1", port=1)
    assert "--extra embedded-store" in error.value.hint
    assert "--mongo-url" in error.value.hint
