"""The running API against its own OpenAPI document, by generated requests (schemathesis)."""

from __future__ import annotations

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


def test_no_generated_request_breaks_the_document(plane: ControlPlane, tmp_path: Path) -> None:
    """Over every operation, with valid and invalid data, there is no 5xx, no undocumented answer, and no bad data accepted."""
    with plane.log_in() as admin:
        authorization = admin.headers["authorization"]
    command = [
        f"{sysconfig.get_path('scripts')}/st",
        "run",
        f"{plane.url}/openapi.json",
        "--header",
        f"Authorization: {authorization}",
        "--checks",
        ",".join(CHECKS),
        "--max-examples",
        str(EXAMPLES),
        "--seed",
        "3",
        "--continue-on-failure",
        "--suppress-health-check",
        "all",
        "--request-timeout",
        "20",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-4000:]
