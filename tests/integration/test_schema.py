"""The running API against its own OpenAPI document, by generated requests (schemathesis)."""

from __future__ import annotations

import re
import subprocess
import sysconfig
from pathlib import Path

import pytest
from control_plane import ControlPlane

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

EXAMPLES = 12
"""Generated requests of each operation in the fuzzing phase; the coverage phase adds the corners of every schema."""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "use_after_free",
    "ensure_resource_availability",
    "ignored_auth",
)


LOGOUT = "/auth/logout"
"""Ends the session that the other requests are sent with, so it comes last."""
ONLY_WITH_SECRETS = {"POST /auth/login", "POST /auth/password", "POST /auth/refresh"}
"""Nobody guesses what these need."""


def test_no_generated_request_breaks_the_document(plane: ControlPlane, tmp_path: Path) -> None:
    """Over every operation, with valid and invalid data, there is no 5xx, no undocumented answer, and no bad data accepted."""
    output = _fuzz(plane, tmp_path, "--exclude-path", LOGOUT)
    assert _unauthenticated(output) <= ONLY_WITH_SECRETS, output[-6000:]
    _fuzz(plane, tmp_path, "--include-path", LOGOUT)


def test_no_generated_request_breaks_a_record_that_exists(plane: ControlPlane, tmp_path: Path) -> None:
    """The same with the ids of an agent, a campaign and a contact, so that generated data meet what services do with records."""
    with plane.log_in() as admin:
        agent = admin.post("/agents", json={"name": "Fuzzed"}).json()["id"]
        admin.post(f"/agents/{agent}/publish", json={}).raise_for_status()
        campaign = admin.post("/campaigns", json={"name": "Fuzzed", "agent_id": agent}).json()["id"]
        contacts = f"/campaigns/{campaign}/contacts"
        admin.post(contacts, json={"contacts": [{"phone_number": "+14155550123"}]}).raise_for_status()
        contact = admin.get(contacts).json()["items"][0]["id"]
    ids = {"agent_id": agent, "campaign_id": campaign, "contact_id": contact}
    settings = "".join(f'"path.{name}" = "{value}"\n' for name, value in ids.items())
    (tmp_path / "schemathesis.toml").write_text(f"[parameters]\n{settings}")
    records = ("--include-path-regex", "^/(agents|campaigns)/", "--exclude-method", "DELETE")
    _fuzz(plane, tmp_path, *records, "--phases", "examples,coverage,fuzzing")


def _fuzz(plane: ControlPlane, directory: Path, *options: str) -> str:
    with plane.log_in() as admin:
        authorization = admin.headers["authorization"]
    command = [f"{sysconfig.get_path('scripts')}/st", "run", f"{plane.url}/openapi.json", *options]
    command += ["--header", f"Authorization: {authorization}", "--checks", ",".join(CHECKS)]
    command += ["--max-examples", str(EXAMPLES), "--seed", "3", "--request-timeout", "20"]
    command += ["--continue-on-failure", "--suppress-health-check", "all"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=directory, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-4000:]
    assert "generated" in done.stdout
    return done.stdout


def _unauthenticated(output: str) -> set[str]:
    """The operations that were met without good credentials alone, as schemathesis lists them."""
    found = re.search(r"^40[13] \w+ \(\d+ operations?\):\n((?:\s+- .+\n)+)", output, re.MULTILINE)
    return {line.strip().removeprefix("- ") for line in found[1].splitlines()} if found else set()
