"""`voxbus streams`: the streams of the bus."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from voxbus.local.cli.common import JsonOption, StateDirOption, out, print_plain, reports_errors, run, state_dir
from voxbus.local.state import DEFAULT_STATE_DIR

app = typer.Typer(name="streams", help="The streams of the bus.", no_args_is_help=True)


@app.callback()
def streams() -> None:
    """The streams of the bus."""


@app.command("apply")
@reports_errors
def apply(
    nats_url: Annotated[
        str | None,
        typer.Option(
            "--nats-url", envvar="VOXBUS_NATS_URL", help="The bus; without it the running stack's.", show_default=False
        ),
    ] = None,
    replicas: Annotated[
        int, typer.Option("--replicas", help="Servers that keep each message; 3 in a cluster.", min=1, max=5)
    ] = 1,
    path: StateDirOption = DEFAULT_STATE_DIR,
    as_json: JsonOption = False,
) -> None:
    """Create the streams that are missing and correct those that differ. Needed once per NATS cluster, and after an update.

    `voxbus up` does this by itself.
    """
    from voxbus.local.streams import apply_streams  # noqa: PLC0415 - the client of NATS takes a while to import

    changes = run(apply_streams(nats_url or state_dir(path).read().nats_url, replicas=replicas))
    if as_json:
        print_plain(json.dumps([asdict(change) for change in changes], indent=2))
        return
    for change in changes:
        fields = f": {', '.join(change.fields)}" if change.fields else ""
        out.print(f"{change.stream} {change.action}{fields}", markup=False, soft_wrap=True)
